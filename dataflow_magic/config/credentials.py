"""Finds the cloud's keys: in the environment, then in a profile of ``~/.ncloud/configure``. Reads one file and no network.

The names and the reading follow the vendor's own programs, which differ among each other; what any of them reads is read
here, and what none of them can mean is refused with its place and never quoted.

Sources (read 2026-11): ``ncloud-sdk-go-v2`` (``ncloud/credentials/``: both names of each variable; every ``name = value``
line of the file, whatever its section), ``ncloud-sdk-python`` (``ncloud_apikey/credentials.py``: the same lines),
``ncp-iam-authenticator`` (``pkg/credentials/credential.go``: the file as INI, with a profile per section, quoted values and
comments), ``terraform-provider-ncloud`` (``NCLOUD_ACCESS_KEY`` and ``NCLOUD_SECRET_KEY``).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from dataflow_magic.errors import ConfigError, suggestion
from dataflow_magic.signing import key_fault

__all__ = [
    "BOTH_VARIABLES",
    "Keys",
    "check_profile",
    "checked_pair",
    "find_keys",
    "key_sources",
    "mask",
    "profiles",
    "with_tilde",
]

ACCESS_VARIABLES = "NCLOUD_ACCESS_KEY", "NCLOUD_ACCESS_KEY_ID"
SECRET_VARIABLES = "NCLOUD_SECRET_KEY", "NCLOUD_SECRET_ACCESS_KEY"
BOTH_VARIABLES = f"{ACCESS_VARIABLES[0]} and {SECRET_VARIABLES[0]}"
ACCESS_FIELDS = "ncloud_access_key_id", "ncloud_access_key"
SECRET_FIELDS = "ncloud_secret_access_key", "ncloud_secret_key"
DEFAULT = "DEFAULT"

ENDS = re.compile(r"\A[\s\ufeff\u200b-\u200d\u2060]+|[\s\ufeff\u200b-\u200d\u2060]+\Z")
"""White space, and what editors and web pages leave of it that `str.strip` keeps."""
SECTION = re.compile(r"\[([^\]]*)\]\s*(?:[#;].*)?")
ENTRY = re.compile(r"(?:export\s+)?([^\s=:]+)\s*[=:]\s*(.*)", re.IGNORECASE)
QUOTED = re.compile(r"(['\"])(.*?)\1\s*(?:[#;].*)?")

Sections = dict[str, dict[str, str]]
"""Values by lower-case name, by profile, in the order of the file."""


class Keys(NamedTuple):
    """A key pair and where it comes from, for display."""

    access_key: str
    secret_key: SecretStr
    source: str


def find_keys(profile: str | None, environment: Mapping[str, str], configure_file: Path) -> Keys | None:
    """Return the keys of a profile; without one those of the environment, else of the profile DEFAULT.

    Returns
    -------
    Keys or None
        None where no profile is named, no variable is set, and there is no file.

    Raises
    ------
    ConfigError
        A pair is incomplete or ambiguous, a key holds a character that no key has, the profile does not exist, or the file
        cannot be read or has no keys.
    """
    if profile is None:
        if keys := _of_environment(environment):
            return keys
        if (sections := _read(configure_file)) is None:
            return None
        profile = DEFAULT
        if not any(sections.get(DEFAULT, {}).get(field) for field in (*ACCESS_FIELDS, *SECRET_FIELDS)):
            # Without a word, runs would go to the local service although this user has an account.
            raise ConfigError(
                f"{with_tilde(configure_file)} has no keys in its profile 'DEFAULT' (profiles: "
                f"{', '.join(sections) or 'none'}); add {ACCESS_FIELDS[0]} and {SECRET_FIELDS[0]}, choose a profile "
                "with --profile, or write --target local"
            )
    else:
        profile = check_profile(profile, configure_file)
        sections = _read(configure_file) or {}
    return _of_profile(profile, sections.get(profile, {}), configure_file)


def checked_pair(names: tuple[str, str], environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the keys of two variables, without the white space around them; None where neither is set.

    Raises
    ------
    ConfigError
        One is not set, or a key holds a character that no key has.
    """
    keys = {name: _stripped(environment.get(name, "")) for name in names}
    _check_both((names[0],), (names[1],), *keys.values())
    for name, key in keys.items():
        _check_key(key, name)
    access_key, secret_key = keys.values()
    return (access_key, secret_key) if access_key else None


def key_sources(environment: Mapping[str, str], configure_file: Path) -> list[str]:
    """Return where keys for the cloud are found without a named profile; the first is the one in use."""
    found = []
    try:
        if keys := _of_environment(environment):
            found.append(keys.source)
    except ConfigError:
        pass  # reported where the keys are used
    if DEFAULT in profiles(configure_file):
        found.append(f"profile 'DEFAULT' of {with_tilde(configure_file)}")
    return found


def profiles(configure_file: Path) -> list[str]:
    """Return the names of the configure file's profiles, none where it cannot be read."""
    try:
        return list(_read(configure_file) or ())
    except ConfigError:
        return []


def check_profile(name: str, configure_file: Path) -> str:
    """Return the name of a profile as the file writes it; capitals may differ where that leaves one profile.

    Raises
    ------
    ConfigError
        The file has no such profile.
    """
    known = list(_read(configure_file) or ())
    if name in known:
        return name
    alike = [each for each in known if each.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise ConfigError(
        f"no profile {name!r} in {with_tilde(configure_file)} (profiles: {', '.join(known) or 'none'})"
        + suggestion(name, [*known, "cloud", "local"])
    )


def mask(key: str) -> str:
    """Return an access key for display: its first four characters."""
    return f"{key[:4]}****" if len(key) > 8 else "****"


# The environment


def _of_environment(environment: Mapping[str, str]) -> Keys | None:
    access_name, access_key = _variable(ACCESS_VARIABLES, environment)
    secret_name, secret_key = _variable(SECRET_VARIABLES, environment)
    _check_both(
        (access_name,) if access_key else ACCESS_VARIABLES,
        (secret_name,) if secret_key else SECRET_VARIABLES,
        access_key,
        secret_key,
    )
    if not access_key:
        return None
    _check_key(access_key, access_name)
    _check_key(secret_key, secret_name)
    return Keys(access_key, SecretStr(secret_key), f"{access_name} and {secret_name}")


def _variable(names: tuple[str, str], environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the first name that is set, with its key; the first name and an empty key where none is."""
    found = [(name, key) for name in names if (key := _stripped(environment.get(name, "")))]
    if len({key for _, key in found}) > 1:
        # The vendor's programs disagree on which one counts, and the other may be of another account.
        raise ConfigError(f"{' and '.join(names)} hold different keys; unset one of them")
    return found[0] if found else (names[0], "")


def _stripped(key: str) -> str:
    # A key that was pasted or read from a file often ends in a line break.
    return ENDS.sub("", key)


def _check_both(
    access_names: tuple[str, ...], secret_names: tuple[str, ...], access_key: str, secret_key: str
) -> None:
    if bool(access_key) != bool(secret_key):
        present, missing = (access_names, secret_names)[:: 1 if access_key else -1]
        if len(missing) == 1:
            raise ConfigError(f"{present[0]} is set and {missing[0]} is not; set both or neither")
        raise ConfigError(f"{present[0]} is set and neither {' nor '.join(missing)} is; set both or neither")


def _check_key(key: str, name: str) -> None:
    if fault := key_fault(key):
        raise ConfigError(f"{name} holds {fault}; copy the key again without it")


# The file


def _of_profile(profile: str, values: Mapping[str, str], file: Path) -> Keys:
    source = f"profile {profile!r} of {with_tilde(file)}"
    keys = []
    for names in (ACCESS_FIELDS, SECRET_FIELDS):
        name = next((name for name in names if values.get(name)), names[0])
        if not (key := values.get(name, "")):
            raise ConfigError(f"{source} has no {name}")
        _check_key(key, f"{name} in {source}")
        keys.append(key)
    return Keys(keys[0], SecretStr(keys[1]), source)


def _read(file: Path) -> Sections | None:
    """Return the values of a configure file; None where there is none."""
    try:
        text = _decoded(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"{with_tilde(file)} cannot be read ({type(error).__name__}); make it readable, or set {BOTH_VARIABLES}; "
            "--target local needs no keys"
        ) from None
    sections: Sections = {}
    profile = DEFAULT
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = _stripped(line)
        if line.startswith("["):
            header = SECTION.fullmatch(line)
            profile = header[1].strip().strip("\"'").strip() if header else ""
            if not profile:
                raise ConfigError(
                    f"{with_tilde(file)}, line {number}: a line that begins with [ must be a profile's name in brackets"
                )
            profile = DEFAULT if profile.upper() == DEFAULT else profile
            sections.setdefault(profile, {})
        elif line and line[0] not in "#;" and (entry := ENTRY.fullmatch(line)):
            sections.setdefault(profile, {})[entry[1].strip("\"'").lower()] = _value(entry[2])
    return sections


def _decoded(content: bytes) -> str:
    """Return the text of a file in any encoding that an editor offers for it; keys are ASCII in all of them."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if b"\0" in content:
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be", "replace")
    for encoding in ("utf-8", "cp949"):  # the second is that of a Korean Windows
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _value(text: str) -> str:
    """Return a value without its quotes and the comment behind it."""
    if quoted := QUOTED.fullmatch(text):
        return _stripped(quoted[2])
    return _stripped(re.split(r"(?:^|\s)[#;]", text, maxsplit=1)[0])


def with_tilde(path: Path) -> str:
    """Return a path for display: below the home folder it begins with ``~``."""
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry of the user in passwd
        return str(path)
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
