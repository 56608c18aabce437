"""Options of a local service: how it runs scripts, and which vendor pages it follows. Pure; imports no web framework."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from dataflow_magic.errors import ConfigError

__all__ = ["CONTRACT_VARIABLE", "Contract", "Options", "contract_of", "read_conf", "read_memory"]

CONTRACT_VARIABLE = "DATAFLOW_LOCAL_CONTRACT"
SET_BY_THE_SERVICE = frozenset(
    {"spark.master", "spark.app.name", "spark.eventLog.dir", "spark.eventLog.enabled"}
)
"""Spark settings the service sets for each run."""


class Contract(StrEnum):
    """Pages that rule how a run is started; all else follows the newest pages under either."""

    EXECUTE_JOB = "executejob"
    """The executeJob page: every run brings its whole job condition."""
    OCTOBER_2026 = "2026-10"
    """The pages of October 2026: what a run brings is laid over the condition its job stores."""


def contract_of(environment: Mapping[str, str]) -> Contract:
    """Return the contract that ``DATAFLOW_LOCAL_CONTRACT`` names; without it, that of the executeJob page.

    Raises
    ------
    ConfigError
        No contract has that name.
    """
    name = environment.get(CONTRACT_VARIABLE) or Contract.EXECUTE_JOB
    try:
        return Contract(name)
    except ValueError:
        raise ConfigError(f"{CONTRACT_VARIABLE} is {name!r}; set it to {' or '.join(Contract)}") from None


@dataclass(frozen=True, slots=True)
class Options:
    """How a service runs all its scripts.

    Parameters
    ----------
    warm
        Keep one JVM ready for the next run; it takes about 400 MB.
    memory
        Limit of a run's Java heap, as Java writes it: ``2g``, ``800m``. Empty means Java's default, a quarter of the
        memory of the machine or container.
    master
        Cluster that takes the runs, as ``spark-submit --master`` takes it; empty is this machine.
    conf
        Spark settings of every run; they win over those the service sets itself.
    """

    warm: bool = True
    memory: str = ""
    master: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Return the options that ``DATAFLOW_LOCAL_WARM``, ``_MEMORY``, ``_MASTER`` and ``_CONF`` give.

        ``_CONF`` is split into words as a shell does it.

        Raises
        ------
        ConfigError
            A value is not valid; the message names the variable.
        """
        warm = env.get("DATAFLOW_LOCAL_WARM", "").strip().lower()
        if warm not in {"", "0", "1", "true", "false", "on", "off"}:
            raise ConfigError(f"DATAFLOW_LOCAL_WARM is {warm!r}; set it to on or off")
        memory = env.get("DATAFLOW_LOCAL_MEMORY", "").strip()
        try:
            words = shlex.split(env.get("DATAFLOW_LOCAL_CONF", ""))
        except ValueError as error:
            raise ConfigError(
                f"DATAFLOW_LOCAL_CONF cannot be split into words ({error}); check its quotes"
            ) from None
        return cls(
            warm=warm not in {"0", "false", "off"},
            memory=read_memory(memory, "DATAFLOW_LOCAL_MEMORY=") if memory else "",
            master=env.get("DATAFLOW_LOCAL_MASTER", "").strip(),
            conf=read_conf(words, "DATAFLOW_LOCAL_CONF: "),
        )


def read_memory(text: str, where: str = "") -> str:
    """Return ``text`` if it is an amount of memory as Java writes it.

    Raises
    ------
    ConfigError
        It is not one; the message begins with ``where``.
    """
    if not re.fullmatch(r"[1-9][0-9]*[kmg]", text, re.IGNORECASE):
        raise ConfigError(f"{where}{text} is not an amount of memory; write it like 2g or 800m")
    return text


def read_conf(words: Iterable[str], where: str = "") -> dict[str, str]:
    """Return the Spark settings, name to value, of words like ``spark.name=value``.

    Raises
    ------
    ConfigError
        A word has another form, or the service sets that setting itself; the message begins with ``where``.
    """
    conf = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not (separator and re.fullmatch(r"spark\.[A-Za-z0-9._-]+", name)):
            raise ConfigError(f"{where}{name!r} is not a Spark setting; write spark.name=value")
        if name in SET_BY_THE_SERVICE:
            raise ConfigError(f"{where}the service sets {name} for each run; leave it out")
        conf[name] = value
    return conf
