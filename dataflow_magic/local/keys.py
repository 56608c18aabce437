"""The key pair of a local service: from the environment, else from a private file of the data folder. Knows no HTTP."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import create_private
from dataflow_magic.signing import key_fault

__all__ = ["ACCESS_VARIABLE", "SECRET_VARIABLE", "Keys", "given_keys", "kept_keys"]

ACCESS_VARIABLE, SECRET_VARIABLE = "DATAFLOW_LOCAL_ACCESS_KEY", "DATAFLOW_LOCAL_SECRET_KEY"
FILE = re.compile(rf"{ACCESS_VARIABLE}=([\w-]+)\n{SECRET_VARIABLE}=([\w-]+)\n", re.ASCII)
"""Lines that a shell reads with ``.`` and a container with ``--env-file``."""
MAX_FILE_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Keys:
    """The key pair the service takes."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return "Keys(...)"


def given_keys(environment: Mapping[str, str]) -> Keys | None:
    """Return the keys that the environment gives; None without any.

    Raises
    ------
    ConfigError
        Only one of the two is set, or one holds a character that no key has.
    """
    # As a client reads them: a key that was pasted or read from a file often ends in a line break.
    access_key, secret_key = (
        environment.get(name, "").strip() for name in (ACCESS_VARIABLE, SECRET_VARIABLE)
    )
    if bool(access_key) != bool(secret_key):
        present, missing = (ACCESS_VARIABLE, SECRET_VARIABLE)[:: 1 if access_key else -1]
        raise ConfigError(f"{present} is set and {missing} is not; set both or neither")
    for name, key in ((ACCESS_VARIABLE, access_key), (SECRET_VARIABLE, secret_key)):
        if fault := key_fault(key):
            raise ConfigError(f"{name} holds {fault}; copy the key again without it")
    return Keys(access_key, secret_key) if access_key else None


def kept_keys(path: Path) -> Keys:
    """Return the keys of a file; without one, make random keys and keep them there, for this user only.

    Call it as the owner of the data folder: two processes may not make keys at once.

    Raises
    ------
    ConfigError
        Another user owns, reads or writes the file, or it holds no key pair.
    """
    if not os.path.lexists(path):
        keys = Keys("local-" + secrets.token_hex(8), secrets.token_urlsafe(32))
        create_private(path, f"{ACCESS_VARIABLE}={keys.access_key}\n{SECRET_VARIABLE}={keys.secret_key}\n")
        return keys
    advice = f"delete {path}, and the next start makes new keys"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found, text = os.fstat(file.fileno()), file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(
            f"the keys of the local service cannot be read ({error.strerror}); {advice}"
        ) from None
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(f"other users may know the keys of the local service (mode or owner); {advice}")
    match = FILE.fullmatch(text.decode("ascii", errors="replace"))
    if not match:
        raise ConfigError(f"the file of the local service's keys is damaged; {advice}")
    return Keys(*match.groups())
