"""A local service to be killed, in its own process: its runs write down that they begin, and complete at once or never."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.http.app import Keys
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.server import serve
from tests.helpers import ACCESS_KEY, SECRET_KEY

FOLDER = Path(sys.argv[1])
ENDING_SECONDS = 0.05
"""As long as processes take to end: a cancel is answered before its run has ended."""
IS_ENDLESS = sys.argv[2:] == ["endless"]


async def run_script(
    spec: RunSpec,
    *,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],  # noqa: ARG001 - the engine's protocol
    started: Callable[[], Awaitable[None]],
) -> Outcome:
    await started()
    with (FOLDER / "begun").open("a") as file:
        file.write(f"{spec.run_id}\n")
    if IS_ENDLESS:
        await cancel.wait()
        await asyncio.sleep(ENDING_SECONDS)
        return Outcome("CANCELED", "canceled on request")
    return Outcome("COMPLETED")


if __name__ == "__main__":
    serve(
        DataFolder(FOLDER),
        Keys(ACCESS_KEY, SECRET_KEY),
        nullcontext(run_script),
        ready=lambda address: print(address, flush=True),  # noqa: T201
    )
