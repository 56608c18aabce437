"""How a local service carries out runs, as whoever starts it says. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dataflow_magic.errors import ConfigError

__all__ = ["Options"]


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
    """

    warm: bool = True
    memory: str = ""
    master: str = ""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Read ``DATAFLOW_LOCAL_WARM``, ``DATAFLOW_LOCAL_MEMORY`` and ``DATAFLOW_LOCAL_MASTER``.

        Raises
        ------
        ConfigError
            One of them cannot be meant so.
        """
        warm = env.get("DATAFLOW_LOCAL_WARM", "").strip().lower()
        if warm not in {"", "0", "1", "true", "false", "on", "off"}:
            raise ConfigError(f"DATAFLOW_LOCAL_WARM={warm} is neither on nor off; write one of them")
        memory = env.get("DATAFLOW_LOCAL_MEMORY", "").strip()
        if memory and not re.fullmatch(r"[1-9][0-9]*[kmg]", memory, re.IGNORECASE):
            raise ConfigError(
                f"DATAFLOW_LOCAL_MEMORY={memory} is no amount of memory; write it as 2g or 800m"
            )
        return cls(
            warm=warm not in {"0", "false", "off"},
            memory=memory,
            master=env.get("DATAFLOW_LOCAL_MASTER", "").strip(),
        )
