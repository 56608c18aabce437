"""Which of the vendor's pages the local service follows. One value, chosen at its start; no imports that cost."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from dataflow_magic.errors import ConfigError

__all__ = ["CONTRACT_VARIABLE", "Contract", "contract_of"]

CONTRACT_VARIABLE = "DATAFLOW_LOCAL_CONTRACT"


class Contract(StrEnum):
    """How a run is started; all else is as the newest pages have it, under either."""

    EXECUTE_JOB = "executejob"
    """The executeJob page: every run brings its whole job condition."""
    OCTOBER_2026 = "2026-10"
    """The pages of October 2026: what a run brings is laid over the condition its job stores."""


def contract_of(environment: Mapping[str, str]) -> Contract:
    """Return the contract the environment names, else that of the executeJob page.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    name = environment.get(CONTRACT_VARIABLE) or Contract.EXECUTE_JOB
    try:
        return Contract(name)
    except ValueError:
        raise ConfigError(f"{CONTRACT_VARIABLE} is {name!r}; set it to {' or '.join(Contract)}") from None
