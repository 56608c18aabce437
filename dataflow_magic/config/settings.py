"""Resolves settings: the target of runs with its keys, whether cells wait, markers, the language. Reads one file and no network.

The nearest layer with a value wins: an option of the cell > ``%config DataflowMagic`` > the environment (``DATAFLOW_TARGET``,
``DATAFLOW_PROFILE``, ``DATAFLOW_WAIT``, ``DATAFLOW_MARKER``, ``DATAFLOW_LANGUAGE``) > the default. Target and profile are one
setting: a layer that names either decides both. The default target is ``cloud`` where there are credentials, else ``local``;
a named cloud or profile never falls back to ``local``. Only keys are read from ``~/.ncloud/configure``: its
``ncloud_api_url`` is the address of another service.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataflow_magic.config.credentials import (
    BOTH_VARIABLES,
    check_profile,
    checked_pair,
    find_keys,
    with_tilde,
)
from dataflow_magic.errors import ConfigError
from dataflow_magic.models.marker import MARKERS, Marker

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
    "language",
    "locale_variable",
    "marker",
    "place_of",
    "resolve_target",
    "waits",
]

CLOUD_ENDPOINT = "https://dataflow.apigw.ntruss.com"

WAITS = ("auto", "yes", "no")
LANGUAGES = ("auto", "en", "ko", "ja")
Language = Literal["en", "ko", "ja"]

LOCAL_VARIABLES = "DATAFLOW_LOCAL_ACCESS_KEY", "DATAFLOW_LOCAL_SECRET_KEY"


# The target


class Place(NamedTuple):
    """The target and profile that one layer of settings names; None where it names none."""

    target: str | None = None
    profile: str | None = None

    @classmethod
    def of(cls, target: str | None, profile: str | None) -> Place:
        """Return the place of an option or a variable: without white space around it, ``cloud`` and ``local`` in any case."""
        target = (target or "").strip()
        word = target.lower()
        return cls((word if word in {"cloud", "local"} else target) or None, (profile or "").strip() or None)

    @classmethod
    def of_layer(cls, target: str, profile: str) -> Place:
        """Return the place of a layer that holds for many cells, where ``local`` ignores the profile."""
        place = cls.of(target, profile)
        return place if place.target != "local" else cls(place.target)

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
    is_own
        Whether it is the local service of this user's default data folder, where nobody else starts runs.
    """

    name: str
    kind: Literal["local", "cloud", "address"]
    endpoint: str
    access_key: str
    secret_key: SecretStr
    source: str
    profile: str | None = None
    is_own: bool = False


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
    wanted, profile = Place.of(choice, profile).over(place_of(environment))
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
    profile = profile and check_profile(profile, configure_file)
    keys = find_keys(profile, environment, configure_file)
    if keys:
        address = environment.get("DATAFLOW_ENDPOINT", "").strip() or CLOUD_ENDPOINT
        return Target(profile or "cloud", "cloud", _checked_endpoint(address, "DATAFLOW_ENDPOINT"), *keys)
    if wanted == "cloud":
        raise ConfigError(
            f"no credentials for the cloud: set {BOTH_VARIABLES}, or write them to {with_tilde(configure_file)}; "
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
    place = Place.of(*place)
    if place.target and "://" in place.target:
        _checked_endpoint(place.target, "target")
    elif place.target not in {None, "", "cloud", "local"}:
        check_profile(str(place.target), configure_file)
    if place.profile:
        check_profile(place.profile, configure_file)


def is_loopback(endpoint: str) -> bool:
    """Return whether an address leads to this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: DNS may lead 127.example.com anywhere
        return False


def _local(source: str) -> Target:
    return Target("local", "local", "", "", SecretStr(""), source, is_own=True)


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
        found = find_local(endpoint)
        keys_here = _local_keys(endpoint, environment, found)
        return Target(endpoint, "address", *keys_here, is_own=found is not None)
    profile = profile and check_profile(profile, configure_file)
    keys = find_keys(profile, environment, configure_file)
    if keys is None:
        raise ConfigError(f"no credentials for {endpoint}: set {BOTH_VARIABLES}")
    return Target(endpoint, "address", endpoint, *keys, profile)


def _local_keys(
    endpoint: str, environment: Mapping[str, str], found: LocalAddress | None
) -> tuple[str, str, SecretStr, str]:
    """Return the URL of a service on this machine, its keys and their source."""
    if pair := checked_pair(LOCAL_VARIABLES, environment):
        access_key, secret_key = pair
        return endpoint, access_key, SecretStr(secret_key), "keys of the local service"
    if found is None:
        raise ConfigError(
            f"no keys for {endpoint}: no service of the default data folder listens there; start it with "
            f"dataflow-magic local, or set {' and '.join(LOCAL_VARIABLES)} to the keys in its keys.env"
        )
    return found.endpoint, found.access_key, SecretStr(found.secret_key), "keys of the local service"


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


# Waiting, the marker and the language


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


def marker(choice: str, environment: Mapping[str, str], *, job: str, target: str) -> Marker:
    """Return where the marker of a job's runs is sent, by the first layer that sets anything.

    A layer is a list with commas of rules ``JOB@TARGET=WORD``, ``JOB=WORD``, ``@TARGET=WORD`` and ``WORD``. The first of
    these that names the job and the target decides, wherever it stands; without one the marker is off.

    Parameters
    ----------
    choice
        The rules of ``%config``; empty leaves it to ``DATAFLOW_MARKER``.
    job
        As the cell names it, without ``id:`` and ``name:``.
    target
        `Target.name`.

    Raises
    ------
    ConfigError
        A rule of any layer has another word, names nothing, or names what another rule of its layer names.
    """
    layers = [
        _marker_rules(text, layer)
        for text, layer in ((choice, "%config"), (environment.get("DATAFLOW_MARKER", ""), "DATAFLOW_MARKER"))
    ]
    rules = layers[0] or layers[1]
    places = ((job, target), (job, ""), ("", target), ("", ""))
    return next((rules[place] for place in places if place in rules), "off")


def _marker_rules(text: str, layer: str) -> dict[tuple[str, str], Marker]:
    """Return the marker of each job and target that a layer names; an empty name stands for all."""
    rules: dict[tuple[str, str], Marker] = {}
    for rule in filter(None, map(str.strip, text.split(","))):
        named, equals, said = (part.strip() for part in rule.rpartition("="))
        word = next((word for word in MARKERS if word == said.lower()), None)
        if word is None:
            raise ConfigError(f"{layer} says {said!r}, which is none of {', '.join(MARKERS)}")
        job, _, target = (part.strip() for part in named.partition("@"))
        if equals and not (job or target):
            raise ConfigError(
                f"{layer} says {rule!r}, which names no job: write JOB={word} or @TARGET={word}"
            )
        if (job, target) in rules:
            raise ConfigError(f"{layer} has two words for {named or 'all jobs'}; remove one")
        rules[job, target] = word
    return rules


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
