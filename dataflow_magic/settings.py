"""What the layers of settings come to, above all which service runs go to. Reads one file it is handed; no network.

The nearest layer that says something counts: an option of the cell > ``%config DataflowMagic`` > the environment
(``DATAFLOW_TARGET``, ``DATAFLOW_PROFILE``, ``DATAFLOW_WAIT``, ``DATAFLOW_LANGUAGE``) > the default. Target and profile are one
setting: the layer that names either decides both. The default target is ``cloud`` when credentials are found, else ``local``;
whoever names the cloud or a profile never gets the local service instead. Credentials come from ``NCLOUD_ACCESS_KEY`` and
``NCLOUD_SECRET_KEY``, then from a profile of ``~/.ncloud/configure``. Nothing but its keys is read there: the
``ncloud_api_url`` of the vendor's CLI is another service's address.

Sources: the variables of the vendor's Terraform provider; the file of its CLI and Python SDK
(``NaverCloudPlatform/ncloud-sdk-python``, README), with or without a ``[DEFAULT]`` line.
"""

from __future__ import annotations

import configparser
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataflow_magic.errors import ConfigError, suggestion

__all__ = [
    "CLOUD_ENDPOINT",
    "LANGUAGES",
    "LOCAL_ACCESS_KEY",
    "LOCAL_SECRET_KEY",
    "WAITS",
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

LOCAL_ACCESS_KEY = "LOCAL-ACCESS-KEY"
LOCAL_SECRET_KEY = "LOCAL-SECRET-KEY"  # noqa: S105 - documented, and only a service on loopback takes it
"""The keys of ``dataflow-magic local`` when its environment names none."""


WAITS = ("auto", "yes", "no")
LANGUAGES = ("auto", "en", "ko", "ja")
Language = Literal["en", "ko", "ja"]


class Place(NamedTuple):
    """What one layer of settings says about where runs go; None where it says nothing."""

    target: str | None = None
    profile: str | None = None

    @classmethod
    def standing(cls, target: str, profile: str) -> Place:
        """Return the place of settings that stand for many cells: the local service just needs no profile then."""
        return cls(target or None, profile or None) if target != "local" else cls(target)

    def over(self, lower: Place) -> Place:
        """Return what counts of two layers: a target or a profile that is named here replaces both."""
        return self if self.target or self.profile else lower


@dataclass(frozen=True, slots=True)
class Target:
    """Where runs go.

    Parameters
    ----------
    name
        ``local``, ``cloud``, a profile's name or the address: what is shown.
    kind
        ``local`` is the service this package starts; ``cloud`` and ``address`` have an endpoint and keys.
    endpoint
        Base address without a path; empty for ``local``, which is asked when it runs.
    access_key, secret_key
        Empty for ``local``.
    source
        Where the keys and the choice came from, in words.
    profile
        The profile an address takes its keys from, where one was asked for.
    """

    name: str
    kind: Literal["local", "cloud", "address"]
    endpoint: str
    access_key: str
    secret_key: SecretStr
    source: str
    profile: str | None = None


def resolve_target(
    choice: str | None,
    profile: str | None,
    environment: Mapping[str, str],
    configure_file: Path,
) -> Target:
    """Choose the target.

    Parameters
    ----------
    choice
        ``cloud``, ``local``, a profile's name or a URL; None and no profile let the environment and the credentials
        decide.
    profile
        A profile of the configure file; names the cloud by itself.
    configure_file
        ``~/.ncloud/configure``, which need not exist.

    Raises
    ------
    ConfigError
        For half a key pair, a profile that is not there, or an address that is not http(s).
    """
    wanted, profile = Place(choice or None, profile or None).over(place_of(environment))
    if wanted == "local":
        if profile:
            raise ConfigError(f"--target local takes no --profile ({profile!r}); leave one of them out")
        return _local("asked for")
    if wanted and "://" in wanted:
        return _address(wanted, profile, environment, configure_file)
    if wanted and wanted != "cloud":
        if profile and profile != wanted:
            raise ConfigError(
                f"--target {wanted!r} and --profile {profile!r} name two profiles; leave one of them out"
            )
        profile = wanted
    keys = _credentials(profile, environment, configure_file)
    if keys is None:
        if wanted == "cloud":
            raise ConfigError(
                "no credentials for the cloud: set NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY, "
                f"or write them to {_tilde(configure_file)}; --target local needs none"
            )
        return _local("no credentials found")
    access_key, secret_key, source = keys
    endpoint = _checked_endpoint(environment.get("DATAFLOW_ENDPOINT") or CLOUD_ENDPOINT, "DATAFLOW_ENDPOINT")
    return Target(profile or "cloud", "cloud", endpoint, access_key, secret_key, source)


def place_of(environment: Mapping[str, str]) -> Place:
    """Return where the environment says runs go."""
    return Place.standing(environment.get("DATAFLOW_TARGET", ""), environment.get("DATAFLOW_PROFILE", ""))


def check_place(place: Place, configure_file: Path) -> None:
    """Refuse a target or a profile that cannot be one, whatever credentials there are by now.

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


def profiles(configure_file: Path) -> list[str]:
    """Return the names of the configure file's profiles, none where it cannot be read."""
    try:
        return list(_read_configure(configure_file))
    except ConfigError:
        return []


def waits(choice: str, environment: Mapping[str, str]) -> bool | None:
    """Say whether cells wait for their runs; None where nobody decided, so that it depends on whether somebody watches.

    Parameters
    ----------
    choice
        ``auto``, ``yes`` or ``no``, of ``%config``; ``auto`` leaves it to ``DATAFLOW_WAIT``.

    Raises
    ------
    ConfigError
        It is none of these.
    """
    word = _one_of(WAITS, choice, "DATAFLOW_WAIT", environment)
    return None if word == "auto" else word == "yes"


def language(choice: str, environment: Mapping[str, str]) -> Language:
    """Return the language of what people read.

    Parameters
    ----------
    choice
        ``auto``, ``en``, ``ko`` or ``ja``, of ``%config``; ``auto`` leaves it to ``DATAFLOW_LANGUAGE``, and that to the
        locale: the first of ``LC_ALL``, ``LC_MESSAGES`` and ``LANG`` that is set, as POSIX has it. English where
        that names another language.

    Raises
    ------
    ConfigError
        It is none of these.
    """
    word = _one_of(LANGUAGES, choice, "DATAFLOW_LANGUAGE", environment)
    if word == "auto":
        locale = environment.get(locale_variable(environment), "")
        word = re.split(r"[_.@-]", locale)[0].lower()
    return "ko" if word == "ko" else "ja" if word == "ja" else "en"


def locale_variable(environment: Mapping[str, str]) -> str:
    """Return the name of the variable that says what people read, empty where none does."""
    return next((name for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")


def key_sources(environment: Mapping[str, str], configure_file: Path) -> list[str]:
    """Return where keys for the cloud are found when no profile is asked for, the first being the one that counts."""
    found = []
    if all(environment.get(name, "").strip() for name in ("NCLOUD_ACCESS_KEY", "NCLOUD_SECRET_KEY")):
        found.append("NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY")
    if "DEFAULT" in profiles(configure_file):
        found.append(f"profile 'DEFAULT' of {_tilde(configure_file)}")
    return found


def _one_of(words: tuple[str, ...], choice: str, variable: str, environment: Mapping[str, str]) -> str:
    said = environment.get(variable, "").strip().lower()
    for word, where in ((choice, "%config"), (said, variable)):
        if word and word not in words:
            raise ConfigError(f"{where} says {word!r}, which is none of {', '.join(words)}")
    return choice if choice not in {"", "auto"} else said or "auto"


def mask(key: str) -> str:
    """Return an access key fit to be shown: its first four characters."""
    return f"{key[:4]}****" if len(key) > 8 else "****"


def is_loopback(endpoint: str) -> bool:
    """Whether an address leads to this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; 127.example.com is anybody's
        return False


def _local(why: str) -> Target:
    return Target("local", "local", "", "", SecretStr(""), why)


def _address(url: str, profile: str | None, environment: Mapping[str, str], configure_file: Path) -> Target:
    endpoint = _checked_endpoint(url, "--target")
    loopback = is_loopback(endpoint)
    if loopback and not profile:
        # The cloud's keys are not sent to whatever listens on this machine; the local service has its own.
        access_key = environment.get("DATAFLOW_LOCAL_ACCESS_KEY") or LOCAL_ACCESS_KEY
        secret_key = environment.get("DATAFLOW_LOCAL_SECRET_KEY") or LOCAL_SECRET_KEY
        return Target(
            endpoint, "address", endpoint, access_key, SecretStr(secret_key), "keys of the local service"
        )
    keys = _credentials(profile, environment, configure_file)
    if keys is None:
        raise ConfigError(f"no credentials for {endpoint}: set NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY")
    access_key, secret, source = keys
    return Target(endpoint, "address", endpoint, access_key, secret, source, profile)


def _checked_endpoint(url: str, what: str) -> str:
    if "@" in url:  # before any message that quotes it
        raise ConfigError(
            f"{what} holds a user name or password; keys come from the environment or a profile"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{what} {url!r} is not an address: {error}") from None
    if parts.scheme not in {"http", "https"} or not re.fullmatch(r"[A-Za-z0-9.:_-]+", host or ""):
        raise ConfigError(f"{what} {url!r} is not an http or https address")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{what} {url!r} has a path; give only scheme, host and port")
    if parts.scheme == "http" and not is_loopback(url):
        raise ConfigError(f"{what} {url!r} is plain http to another machine; use https")
    return f"{parts.scheme}://{parts.netloc}"


def _credentials(
    profile: str | None, environment: Mapping[str, str], configure_file: Path
) -> tuple[str, SecretStr, str] | None:
    if profile is None:
        # Stripped: a key is often pasted or read from a file with its line's end.
        access_key, secret_key = (
            environment.get(name, "").strip() for name in ("NCLOUD_ACCESS_KEY", "NCLOUD_SECRET_KEY")
        )
        if access_key and secret_key:
            return access_key, SecretStr(secret_key), "NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY"
        if access_key or secret_key:
            there, missing = ("ACCESS", "SECRET") if access_key else ("SECRET", "ACCESS")
            raise ConfigError(
                f"NCLOUD_{there}_KEY is set and NCLOUD_{missing}_KEY is not; set both or neither"
            )
    name = profile or "DEFAULT"
    if profile is not None:
        _check_known(profile, configure_file)
    values = _read_configure(configure_file).get(name, {})
    access_key, secret_key = (
        values.get(name, "") for name in ("ncloud_access_key_id", "ncloud_secret_access_key")
    )
    if not access_key and not secret_key and profile is None:
        return None
    if not access_key or not secret_key:
        missing = "ncloud_secret_access_key" if access_key else "ncloud_access_key_id"
        raise ConfigError(f"profile {name!r} of {_tilde(configure_file)} has no {missing}")
    return access_key, SecretStr(secret_key), f"profile {name!r} of {_tilde(configure_file)}"


def _check_known(profile: str, configure_file: Path) -> None:
    sections = list(_read_configure(configure_file))
    if profile not in sections:
        known = ", ".join(sections) or "none"
        hint = suggestion(profile, [*sections, "cloud", "local"])
        raise ConfigError(f"no profile {profile!r} in {_tilde(configure_file)} (profiles: {known}){hint}")


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
        # Its message quotes the line, which may be a key.
        raise ConfigError(
            f"{_tilde(file)} is not readable as a configure file ({type(error).__name__})"
        ) from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _tilde(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
