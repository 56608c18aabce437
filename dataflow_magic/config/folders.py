"""The folders of this user: what is kept, what can be made again, and the home they are in by default."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import platformdirs

from dataflow_magic.errors import ConfigError

__all__ = ["configure_file", "user_folder"]

APP = "dataflow-magic"


def user_folder(kind: Literal["data", "state", "cache"], environment: Mapping[str, str]) -> Path:
    """Return an absolute folder of this user: that of ``DATAFLOW_MAGIC_HOME``, else the platform's of a kind.

    Raises
    ------
    ConfigError
        No variable names a folder, and this user has no home.
    """
    named = environment.get("DATAFLOW_MAGIC_HOME")
    try:
        if named:
            return _absolute(named)
        folders = {
            "data": platformdirs.user_data_path,
            "state": platformdirs.user_state_path,
            "cache": platformdirs.user_cache_path,
        }
        folder = folders[kind](APP, appauthor=False)
        if not folder.is_absolute():  # of "~", which platformdirs leaves where there is no home
            Path.home()
        return folder.resolve()
    except RuntimeError:
        raise ConfigError(
            f"this user (id {os.geteuid()}) has no home folder: HOME is not set, and no entry of the user database "
            "names one; set DATAFLOW_MAGIC_HOME to a folder"
        ) from None


@functools.cache
def _absolute(folder: str) -> Path:
    """Return a folder's absolute path by the working folder of its first use, from which a notebook may change later."""
    return Path(folder).expanduser().resolve()


def configure_file() -> Path:
    """Return the path of the vendor's configure file, which need not exist; one that cannot exist without a home."""
    try:
        return Path.home() / ".ncloud" / "configure"
    except RuntimeError:
        return Path(os.devnull, ".ncloud", "configure")
