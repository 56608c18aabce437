"""A local service to be killed, in its own process: its runs complete at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.http.app import Keys
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.server import serve
from tests.helpers import ACCESS_KEY, SECRET_KEY


async def complete(
    spec: RunSpec,  # noqa: ARG001 - the engine's protocol
    *,
    cancel: asyncio.Event,  # noqa: ARG001
    waiting: Callable[[str], None],  # noqa: ARG001
    started: Callable[[], None],
) -> Outcome:
    started()
    return Outcome("COMPLETED")


if __name__ == "__main__":
    serve(
        DataFolder(Path(sys.argv[1])),
        Keys(ACCESS_KEY, SECRET_KEY),
        nullcontext(complete),
        ready=lambda address: print(address, flush=True),  # noqa: T201
    )
