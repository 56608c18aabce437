"""How a local service carries out runs, as whoever starts it says. Pure: an environment is handed in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from dataflow_magic.errors import ConfigError

__all__ = ["Options", "read_conf", "read_memory"]

OWN = frozenset({"spark.master", "spark.app.name", "spark.eventLog.dir", "spark.eventLog.enabled"})
"""Spark settings that make a run what it is here."""


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for all runs of a service.

    Parameters
    ----------
    warm
        Keep one JVM ready for the next run; it holds some 400 MB.
    memory
        Most memory of a run's Java heap, as Java writes it: ``2g``, ``800m``. Empty: Java's own rule, a quarter of the
        machine's or the container's.
    master
        Where runs go: empty is this machine, anything ``spark-submit --master`` takes an existing cluster.
    conf
        Spark settings of every run; they win over those the service makes.
    """

    warm: bool = True
    memory: str = ""
    master: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Read ``DATAFLOW_LOCAL_WARM``, ``_MEMORY``, ``_MASTER`` and ``_CONF``, the last split as a shell would.

        Raises
        ------
        ConfigError
            One of them cannot be meant so.
        """
        warm = env.get("DATAFLOW_LOCAL_WARM", "").strip().lower()
        if warm not in {"", "0", "1", "true", "false", "on", "off"}:
            raise ConfigError(f"DATAFLOW_LOCAL_WARM={warm} is neither on nor off; write one of them")
        memory = env.get("DATAFLOW_LOCAL_MEMORY", "").strip()
        try:
            words = shlex.split(env.get("DATAFLOW_LOCAL_CONF", ""))
        except ValueError as error:
            raise ConfigError(f"DATAFLOW_LOCAL_CONF cannot be split into words ({error})") from None
        return cls(
            warm=warm not in {"0", "false", "off"},
            memory=read_memory(memory, "DATAFLOW_LOCAL_MEMORY=") if memory else "",
            master=env.get("DATAFLOW_LOCAL_MASTER", "").strip(),
            conf=read_conf(words, "DATAFLOW_LOCAL_CONF: "),
        )


def read_memory(text: str, where: str = "") -> str:
    """Return an amount of memory as Java writes it.

    Raises
    ------
    ConfigError
        It is none; the message begins with ``where``.
    """
    if not re.fullmatch(r"[1-9][0-9]*[kmg]", text, re.IGNORECASE):
        raise ConfigError(f"{where}{text} is no amount of memory; write it as 2g or 800m")
    return text


def read_conf(words: Iterable[str], where: str = "") -> dict[str, str]:
    """Return Spark settings written as ``spark.name=value``.

    Raises
    ------
    ConfigError
        One is written otherwise, or is the service's own to set; the message begins with ``where``.
    """
    conf = {}
    for word in words:
        name, is_one, value = word.partition("=")
        if not (is_one and re.fullmatch(r"spark\.[A-Za-z0-9._-]+", name)):
            raise ConfigError(f"{where}{name!r} is no Spark setting; write spark.name=value")
        if name in OWN:
            raise ConfigError(f"{where}{name} is set by the service for each run; leave it out")
        conf[name] = value
    return conf
