"""Where objects lie in a data folder, and the keys of a run's logs. Reads symbolic links and writes nothing."""

from __future__ import annotations

import re
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import InvalidKey, check_key, object_path

__all__ = ["bare_path", "console_log_key", "event_log_key", "find", "find_entry", "jvm_log_key", "log_key"]


def bare_path(path: str) -> str:
    """Return ``bucket/key`` of a path with or without a scheme: scripts write ``s3a://bucket/key``."""
    return re.sub(r"^s3[an]?://", "", path)


def find(objects: Path, path: str) -> Path:
    """Return where the object or folder of a path lies, with or without a scheme; it need not exist.

    Raises
    ------
    ConfigError
        The path leads out of `objects`, also by symbolic links, or no file can have its name.
    """
    try:
        return object_path(objects, bare_path(path))
    except InvalidKey as error:
        raise ConfigError(str(error)) from None


def find_entry(objects: Path, path: str) -> Path:
    """Return where an object, a folder or a symbolic link itself lies, which may lead out of `objects`.

    Raises
    ------
    ConfigError
        The folder above leads out of `objects`, or no file can have the name.
    """
    bare = bare_path(path).removesuffix("/")
    try:
        check_key(bare)
    except InvalidKey as error:
        raise ConfigError(str(error)) from None
    above, _, name = bare.rpartition("/")
    return (find(objects, above) if above else objects) / name


def console_log_key(log_path: str, run_id: str) -> str:
    """Return the object key of what the script printed, standard output and error as they came."""
    return log_key(log_path, run_id, "console.log")


def jvm_log_key(log_path: str, run_id: str) -> str:
    """Return the object key of what Spark's JVM printed, prints of Python UDFs included."""
    return log_key(log_path, run_id, "jvm.log")


def event_log_key(log_path: str, run_id: str) -> str:
    """Return the key, with a trailing slash, of the folder that holds Spark's event log."""
    return log_key(log_path, run_id, "events/")


def log_key(log_path: str, run_id: str, name: str) -> str:
    """Return the object key of one of a run's logs."""
    return f"{log_path.rstrip('/')}/{run_id}/{name}"
