"""Locks that last as long as the process that took them, however it ends: the system drops them with it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["is_locked", "try_lock"]


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take a lock that lasts as long as the returned descriptor is open; None when it is held.

    The descriptor is not inherited by programs this process starts.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether somebody holds the file's lock whole; makes no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
