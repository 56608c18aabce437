"""Options of a local service: how it runs scripts, and which vendor pages it follows. Pure; imports no web framework."""

from __future__ import annotations

import os
import re
import shlex
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from dataflow_magic.errors import ConfigError

__all__ = ["CONTRACT_VARIABLE", "Contract", "Options", "contract_of", "read_conf", "read_jars", "read_memory"]

CONTRACT_VARIABLE = "DATAFLOW_LOCAL_CONTRACT"
SET_BY_THE_SERVICE = frozenset(
    {"spark.master", "spark.app.name", "spark.eventLog.dir", "spark.eventLog.enabled"}
)
"""Spark settings the service sets for each run."""
REFUSED = {
    "spark.jars.packages": "it downloads at each start; download the jars once and give them with --jars",
    "spark.jars.repositories": "it serves spark.jars.packages, which is refused; give jars with --jars",
    "spark.jars.excludes": "it serves spark.jars.packages, which is refused; give jars with --jars",
    "spark.jars.ivy": "it serves spark.jars.packages, which is refused; give jars with --jars",
    "spark.jars.ivySettings": "it serves spark.jars.packages, which is refused; give jars with --jars",
    "spark.driver.extraClassPath": "give jars with --jars",
    "spark.driver.extraLibraryPath": "write -Djava.library.path=... in spark.driver.extraJavaOptions",
    "spark.driver.userClassPathFirst": "Spark's jars come first here",
    "spark.submit.deployMode": "each driver is a process of the service",
    "spark.pyspark.python": "scripts run with the service's own Python",
    "spark.pyspark.driver.python": "scripts run with the service's own Python",
    "spark.remote": "Spark Connect is not supported; leave it out",
    "spark.api.mode": "Spark Connect is not supported; leave it out",
}
"""Settings that only spark-submit reads, or that a run here cannot follow, and why."""
JAVA_OPTIONS = ("spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions")
LEAST_MEMORY_MB = 466
"""Of a heap: Spark refuses one below 471,859,200 bytes (UnifiedMemoryManager), and Java's serial collector keeps a 30th
of it for itself. Found with Java 17 and 25."""


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
    reuse
        Let the next run of the same script use the JVM of a run that has completed; without `warm`, none does.
    memory
        Limit of a run's Java heap, as Java writes it: ``2g``, ``800m``. Empty means Java's default, a quarter of the
        memory of the machine or container.
    master
        Cluster that takes the runs, as ``spark-submit --master`` takes it; empty is this machine.
    conf
        Spark settings of every run; they win over those the service sets itself.
    jars
        Jars on the class path of every run, after Spark's own.
    java
        Options of every run's Java.
    """

    warm: bool = True
    reuse: bool = True
    memory: str = ""
    master: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)
    jars: tuple[Path, ...] = ()
    java: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Return the options that ``DATAFLOW_LOCAL_WARM``, ``_REUSE``, ``_MEMORY``, ``_MASTER``, ``_CONF`` and ``_JARS`` give.

        ``_CONF`` is split into words as a shell does it, ``_JARS`` at commas.

        Raises
        ------
        ConfigError
            A value is not valid; the message names the variable.
        """
        memory = env.get("DATAFLOW_LOCAL_MEMORY", "").strip()
        try:
            words = shlex.split(env.get("DATAFLOW_LOCAL_CONF", ""))
        except ValueError as error:
            raise ConfigError(
                f"DATAFLOW_LOCAL_CONF cannot be split into words ({error}); check its quotes"
            ) from None
        return cls(
            warm=_is_on(env, "DATAFLOW_LOCAL_WARM"),
            reuse=_is_on(env, "DATAFLOW_LOCAL_REUSE"),
            memory=read_memory(memory, "DATAFLOW_LOCAL_MEMORY=") if memory else "",
            master=env.get("DATAFLOW_LOCAL_MASTER", "").strip(),
            conf=read_conf(words, "DATAFLOW_LOCAL_CONF: "),
            jars=read_jars(env.get("DATAFLOW_LOCAL_JARS", ""), "DATAFLOW_LOCAL_JARS: "),
        ).checked()

    def checked(self) -> Self:
        """Return the options with those settings of `conf` in their places that Java must know when it starts.

        Raises
        ------
        ConfigError
            A setting cannot take effect, two contradict each other, or the master is none that runs go to.
        """
        conf = dict(self.conf)
        for name in conf:
            if reason := REFUSED.get(name):
                raise ConfigError(f"{name} has no effect on the local service: {reason}")
        if self.master and not re.match(r"(spark://|k8s://|yarn$|local($|\[|-cluster\[))", self.master):
            raise ConfigError(
                f"runs cannot go to the master {self.master}: "
                + (
                    "Spark Connect is not supported"
                    if self.master.startswith("sc://")
                    else "it is none of Spark's"
                )
                + "; give spark://host:port, yarn, k8s://host:port, or none for this machine"
            )
        memory = self.memory
        if wanted := conf.pop("spark.driver.memory", ""):
            memory = read_memory(_java_memory(wanted), "spark.driver.memory=")
            if self.memory and _megabytes(self.memory) != _megabytes(memory):
                raise ConfigError(
                    f"spark.driver.memory is {wanted} and the memory of a run {self.memory}: give one"
                )
        java = tuple(word for name in JAVA_OPTIONS for word in _words(name, conf.pop(name, "")))
        if heap := next((word for word in java if re.match("-Xm[xs]", word)), ""):
            raise ConfigError(f"spark.driver.extraJavaOptions has {heap}: give the heap with --memory")
        jars = read_jars(conf.pop("spark.jars", ""), "spark.jars: ")
        return replace(
            self,
            memory=memory,
            conf=conf,
            jars=tuple(dict.fromkeys((*self.jars, *jars))),
            java=tuple(dict.fromkeys((*self.java, *java))),
        )


def _is_on(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower()
    if text not in {"", "0", "1", "true", "false", "on", "off"}:
        raise ConfigError(f"{name} is {text!r}; set it to on or off")
    return text not in {"0", "false", "off"}


def _words(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be split into words ({error}); check its quotes") from None


def _java_memory(text: str) -> str:
    """Return an amount of memory of Spark as Java writes it: Spark also takes ``2gb``, and ``512`` as megabytes."""
    found = re.fullmatch(r"([0-9]+)(?:([kmgt])b?)?", text.strip(), re.IGNORECASE)
    return text if found is None else f"{found[1]}{(found[2] or 'm').lower()}"


def _megabytes(memory: str) -> float:
    return int(memory[:-1]) * 1024.0 ** ("kmgt".index(memory[-1].lower()) - 1)


def read_jars(text: str, where: str = "") -> tuple[Path, ...]:
    """Return the absolute paths of jars, given with commas between them.

    Raises
    ------
    ConfigError
        One is no jar on this machine, or Java cannot take its path; the message begins with ``where``.
    """
    jars = []
    for word in filter(None, map(str.strip, text.split(","))):
        jar = Path(word.removeprefix("file://")).expanduser().absolute()
        if not jar.is_file() or not zipfile.is_zipfile(jar):
            raise ConfigError(f"{where}{word} is no jar on this machine; give the path of one")
        if os.pathsep in str(jar):
            raise ConfigError(
                f"{where}Java cannot read {jar}, because of {os.pathsep!r} in its path; move the jar"
            )
        jars.append(jar)
    return tuple(jars)


def read_memory(text: str, where: str = "") -> str:
    """Return ``text`` if it is an amount of memory as Java writes it.

    Raises
    ------
    ConfigError
        It is not one, or less than Spark needs; the message begins with ``where``.
    """
    if not re.fullmatch(r"[1-9][0-9]*[kmgt]", text, re.IGNORECASE):
        raise ConfigError(f"{where}{text} is not an amount of memory; write it like 2g or 800m")
    if _megabytes(text) < LEAST_MEMORY_MB:
        raise ConfigError(f"{where}{text} is too little: Spark needs a heap of at least {LEAST_MEMORY_MB}m")
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
