"""Resolves settings: the target of runs with its keys, whether cells wait, the language. Reads one file and no network.

The nearest layer with a value wins: an option of the cell > ``%config DataflowMagic`` > the environment (``DATAFLOW_TARGET``,
``DATAFLOW_PROFILE``, ``DATAFLOW_WAIT``, ``DATAFLOW_LANGUAGE``) > the default. Target and profile are one setting: a layer that
names either decides both. The default target is ``cloud`` where there are credentials, else ``local``; a named cloud or profile
never falls back to ``local``. Credentials come from ``NCLOUD_ACCESS_KEY`` and ``NCLOUD_SECRET_KEY``, then from a profile of
``~/.ncloud/configure``. Only keys are read from that file: its ``ncloud_api_url`` is the address of another service.

Sources: the variables of the vendor's Terraform provider; the file of its CLI and Python SDK
(``NaverCloudPlatform/ncloud-sdk-python``, README), with or without a ``[DEFAULT]`` line.
"""

from __future__ import annotations

import configparser
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataflow_magic.errors import ConfigError, suggestion

__all__ = [
    "CLOUD_ENDPOINT",
    "LANGUAGES",
    "WAITS",
    "FindLocal",
    "LocalAddress",
    "Place",
    "Target",
    "check_place",
    "is_loopback",
    "key_sources",
    "language",
    "locale_variable",
    "mask",
    "place_of",
    "profiles",
    "resolve_target",
    "waits",
]

CLOUD_ENDPOINT = "https://dataflow.apigw.ntruss.com"

WAITS = ("auto", "yes", "no")
LANGUAGES = ("auto", "en", "ko", "ja")
Language = Literal["en", "ko", "ja"]

ACCESS_VARIABLE, SECRET_VARIABLE = "NCLOUD_ACCESS_KEY", "NCLOUD_SECRET_KEY"
LOCAL_VARIABLES = "DATAFLOW_LOCAL_ACCESS_KEY", "DATAFLOW_LOCAL_SECRET_KEY"
BOTH_VARIABLES = f"{ACCESS_VARIABLE} and {SECRET_VARIABLE}"


# The target


class Place(NamedTuple):
    """The target and profile that one layer of settings names; None where it names none."""

    target: str | None = None
    profile: str | None = None

    @classmethod
    def of_layer(cls, target: str, profile: str) -> Place:
        """Return the place of a layer that holds for many cells, where ``local`` ignores the profile."""
        return cls(target or None, profile or None) if target != "local" else cls(target)

    def over(self, lower: Place) -> Place:
        """Return this place if it names a target or a profile, else the lower one."""
        return self if self.target or self.profile else lower


@dataclass(frozen=True, slots=True)
class Target:
    """Where runs go.

    Parameters
    ----------
    name
        ``local``, ``cloud``, a profile's name or the address, for display.
    kind
        ``local`` is the service this package starts; ``cloud`` and ``address`` have an endpoint and keys.
    endpoint
        Base address without a path; empty for ``local``, whose service knows its own.
    access_key, secret_key
        Empty for ``local``.
    source
        The origin of the keys or of the choice, for display.
    profile
        The profile that the keys of an address come from, None for any other origin.
    """

    name: str
    kind: Literal["local", "cloud", "address"]
    endpoint: str
    access_key: str
    secret_key: SecretStr
    source: str
    profile: str | None = None


class LocalAddress(Protocol):
    """The URL of a local service of this user, and its keys."""

    @property
    def endpoint(self) -> str:
        """Base address without a path."""

    @property
    def access_key(self) -> str:
        """The key that requests name."""

    @property
    def secret_key(self) -> str:
        """The key that signs requests."""


FindLocal = Callable[[str], LocalAddress | None]


def resolve_target(
    choice: str | None,
    profile: str | None,
    environment: Mapping[str, str],
    configure_file: Path,
    *,
    find_local: FindLocal = lambda _: None,
) -> Target:
    """Return the target that the layers of settings choose.

    Parameters
    ----------
    choice
        ``cloud``, ``local``, a profile's name or a URL. If it and `profile` are None, the environment decides, and
        otherwise whether there are credentials.
    profile
        A profile of the configure file; alone it chooses the cloud.
    configure_file
        ``~/.ncloud/configure``, which need not exist.
    find_local
        Returns the local service of this user that listens at a URL, if there is one.

    Raises
    ------
    ConfigError
        A key pair is incomplete, a profile or its keys do not exist, or an address is not http(s).
    """
    wanted, profile = Place(choice or None, profile or None).over(place_of(environment))
    if wanted == "local":
        if profile:
            raise ConfigError(f"--target local takes no --profile ({profile!r}); leave one of them out")
        return _local("chosen")
    if wanted and "://" in wanted:
        return _address(wanted, profile, environment, configure_file, find_local)
    if wanted and wanted != "cloud":
        if profile and profile != wanted:
            raise ConfigError(
                f"--target {wanted!r} and --profile {profile!r} name two profiles; leave one of them out"
            )
        profile = wanted
    keys = _keys(profile, environment, configure_file)
    if keys:
        address = environment.get("DATAFLOW_ENDPOINT") or CLOUD_ENDPOINT
        return Target(profile or "cloud", "cloud", _checked_endpoint(address, "DATAFLOW_ENDPOINT"), *keys)
    if wanted == "cloud":
        raise ConfigError(
            f"no credentials for the cloud: set {BOTH_VARIABLES}, or write them to {_tilde(configure_file)}; "
            "--target local needs none"
        )
    return _local("no credentials found")


def place_of(environment: Mapping[str, str]) -> Place:
    """Return the place that the environment names."""
    return Place.of_layer(environment.get("DATAFLOW_TARGET", ""), environment.get("DATAFLOW_PROFILE", ""))


def check_place(place: Place, configure_file: Path) -> None:
    """Refuse an invalid address and an unknown profile, without a look at credentials.

    Raises
    ------
    ConfigError
        As `resolve_target`.
    """
    if place.target and "://" in place.target:
        _checked_endpoint(place.target, "target")
    elif place.target not in {None, "", "cloud", "local"}:
        _check_known(str(place.target), configure_file)
    if place.profile:
        _check_known(place.profile, configure_file)


def is_loopback(endpoint: str) -> bool:
    """Return whether an address leads to this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: DNS may lead 127.example.com anywhere
        return False


def _local(source: str) -> Target:
    return Target("local", "local", "", "", SecretStr(""), source)


def _address(
    url: str,
    profile: str | None,
    environment: Mapping[str, str],
    configure_file: Path,
    find_local: FindLocal,
) -> Target:
    endpoint = _checked_endpoint(url, "--target")
    if is_loopback(endpoint) and not profile:
        # Any program may listen on this machine, so it does not get the cloud's keys.
        return Target(endpoint, "address", *_local_keys(endpoint, environment, find_local))
    keys = _keys(profile, environment, configure_file)
    if keys is None:
        raise ConfigError(f"no credentials for {endpoint}: set {BOTH_VARIABLES}")
    return Target(endpoint, "address", endpoint, *keys, profile)


def _local_keys(
    endpoint: str, environment: Mapping[str, str], find_local: FindLocal
) -> tuple[str, str, SecretStr, str]:
    """Return the URL of a service on this machine, its keys and their source."""
    access_key, secret_key = (environment.get(name, "") for name in LOCAL_VARIABLES)
    _check_both(LOCAL_VARIABLES, access_key, secret_key)
    if access_key:
        return endpoint, access_key, SecretStr(secret_key), "keys of the local service"
    found = find_local(endpoint)
    if found is None:
        raise ConfigError(
            f"no keys for {endpoint}: no service of the default data folder listens there; start it with "
            f"dataflow-magic local, or set {' and '.join(LOCAL_VARIABLES)} to the keys in its keys.env"
        )
    return found.endpoint, found.access_key, SecretStr(found.secret_key), "keys of the local service"


def _check_both(names: tuple[str, str], access_key: str, secret_key: str) -> None:
    if bool(access_key) != bool(secret_key):
        present, missing = names if access_key else reversed(names)
        raise ConfigError(f"{present} is set and {missing} is not; set both or neither")


def _checked_endpoint(url: str, name: str) -> str:
    if "@" in url:  # before any message quotes the address
        raise ConfigError(
            f"{name} holds a user name or password; keys come from the environment or a profile"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{name} {url!r} is not an address: {error}") from None
    if parts.scheme not in {"http", "https"} or not re.fullmatch(r"[A-Za-z0-9.:_-]+", host or ""):
        raise ConfigError(f"{name} {url!r} is not an http or https address")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{name} {url!r} has a path; give only scheme, host and port")
    if parts.scheme == "http" and not is_loopback(url):
        raise ConfigError(f"{name} {url!r} is plain http to another machine; use https")
    return f"{parts.scheme}://{parts.netloc}"


# Keys


class _Keys(NamedTuple):
    access_key: str
    secret_key: SecretStr
    source: str


def key_sources(environment: Mapping[str, str], configure_file: Path) -> list[str]:
    """Return where keys for the cloud are found without a named profile; the first is the one in use."""
    found = []
    if all(_environment_keys(environment)):
        found.append(BOTH_VARIABLES)
    if "DEFAULT" in profiles(configure_file):
        found.append(f"profile 'DEFAULT' of {_tilde(configure_file)}")
    return found


def profiles(configure_file: Path) -> list[str]:
    """Return the names of the configure file's profiles, none where it cannot be read."""
    try:
        return list(_read_configure(configure_file))
    except ConfigError:
        return []


def mask(key: str) -> str:
    """Return an access key for display: its first four characters."""
    return f"{key[:4]}****" if len(key) > 8 else "****"


def _keys(profile: str | None, environment: Mapping[str, str], configure_file: Path) -> _Keys | None:
    """Return the keys of a profile; without one those of the environment, else of the profile DEFAULT, else None."""
    if profile is not None:
        _check_known(profile, configure_file)
    else:
        access_key, secret_key = _environment_keys(environment)
        if access_key and secret_key:
            return _Keys(access_key, SecretStr(secret_key), BOTH_VARIABLES)
        _check_both((ACCESS_VARIABLE, SECRET_VARIABLE), access_key, secret_key)
    name = profile or "DEFAULT"
    values = _read_configure(configure_file).get(name, {})
    keys = {field: values.get(field, "") for field in ("ncloud_access_key_id", "ncloud_secret_access_key")}
    if profile is None and not any(keys.values()):
        return None
    for field, key in keys.items():
        if not key:
            raise ConfigError(f"profile {name!r} of {_tilde(configure_file)} has no {field}")
    access_key, secret_key = keys.values()
    return _Keys(access_key, SecretStr(secret_key), f"profile {name!r} of {_tilde(configure_file)}")


def _environment_keys(environment: Mapping[str, str]) -> tuple[str, str]:
    # A key that was pasted or read from a file often ends in a line break.
    return environment.get(ACCESS_VARIABLE, "").strip(), environment.get(SECRET_VARIABLE, "").strip()


def _check_known(profile: str, configure_file: Path) -> None:
    known = list(_read_configure(configure_file))
    if profile not in known:
        raise ConfigError(
            f"no profile {profile!r} in {_tilde(configure_file)} (profiles: {', '.join(known) or 'none'})"
            + suggestion(profile, [*known, "cloud", "local"])
        )


def _read_configure(file: Path) -> dict[str, dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{_tilde(file)} cannot be read: {type(error).__name__}") from None
    parser = configparser.ConfigParser(default_section="\0", interpolation=None, strict=False)
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    try:
        # The SDK's example has no section line, the CLI writes [DEFAULT].
        parser.read_string(text if first.startswith("[") else f"[DEFAULT]\n{text}")
    except configparser.Error as error:
        # The parser's message quotes the line, which may be a key.
        raise ConfigError(
            f"{_tilde(file)} is not readable as a configure file ({type(error).__name__})"
        ) from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _tilde(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


# Waiting and language


def waits(choice: str, environment: Mapping[str, str]) -> bool | None:
    """Return whether cells wait for their runs; None where no layer decides.

    Parameters
    ----------
    choice
        ``auto``, ``yes`` or ``no``, of ``%config``; ``auto`` leaves it to ``DATAFLOW_WAIT``.

    Raises
    ------
    ConfigError
        A layer has another word.
    """
    word = _nearest(WAITS, choice, "DATAFLOW_WAIT", environment)
    return None if word == "auto" else word == "yes"


def language(choice: str, environment: Mapping[str, str]) -> Language:
    """Return the language of cards and messages.

    Parameters
    ----------
    choice
        ``auto``, ``en``, ``ko`` or ``ja``, of ``%config``. ``auto`` leaves it to ``DATAFLOW_LANGUAGE``, and that to the
        locale, where every other language gives English.

    Raises
    ------
    ConfigError
        A layer has another word.
    """
    word = _nearest(LANGUAGES, choice, "DATAFLOW_LANGUAGE", environment)
    if word == "auto":
        locale = environment.get(locale_variable(environment), "")
        word = re.split(r"[_.@-]", locale)[0].lower()
    return "ko" if word == "ko" else "ja" if word == "ja" else "en"


def locale_variable(environment: Mapping[str, str]) -> str:
    """Return the variable that names the language of messages, empty where none does; the order is POSIX's."""
    return next((name for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")


def _nearest(words: tuple[str, ...], choice: str, variable: str, environment: Mapping[str, str]) -> str:
    value = environment.get(variable, "").strip().lower()
    for word, layer in ((choice, "%config"), (value, variable)):
        if word and word not in words:
            raise ConfigError(f"{layer} says {word!r}, which is none of {', '.join(words)}")
    return choice if choice not in {"", "auto"} else value or "auto"
