"""Joins engine and Spark: finds a Java for each run and has the run carried out with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.java import find_java
from dataflow_magic.local.spark import Outcome, run_application
from dataflow_magic.local.sparkconf import RunSpec
from dataflow_magic.models import RunState

__all__ = ["carry_out"]


async def carry_out(
    spec: RunSpec, *, cancel: asyncio.Event, waiting: Callable[[str], None], started: Callable[[], None]
) -> Outcome:
    """Carry out one run as a Spark application on this machine."""
    try:
        # On a thread: where no release file tells the version, Java itself is asked.
        java = await asyncio.to_thread(find_java, os.environ)
    except ConfigError as error:
        # Whoever changes a variable now would wait in vain: what counts is what the service was started with.
        reason = f"{error} (the local service was started with that; it starts anew once nobody uses it)"
        return Outcome(RunState.FAILED, reason)
    return await run_application(spec, java=java, cancel=cancel, waiting=waiting, started=started)
