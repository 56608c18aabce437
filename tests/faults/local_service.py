"""The real local service in a process of its own, to be killed or sent anything.

Its runs write down that they begin, and complete at once or never.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.keys import Keys
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.server import serve
from tests.faults.fake import ACCESS_KEY, SECRET_KEY

__all__ = ["a_service"]

ENDING_SECONDS = 0.05
"""As long as processes take to end: a cancel is answered before its run has ended."""


@contextmanager
def a_service(folder: Path, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Give the port and the process of a service of a data folder; kill it in the end.

    Parameters
    ----------
    arguments
        ``endless`` for runs that end by a cancel only.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.local_service", str(folder), *arguments],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            yield urlsplit(process.stdout.readline().decode().strip()).port or 0, process
        finally:
            process.kill()


def main(folder: Path, *, is_endless: bool) -> None:
    """Serve a data folder until killed."""

    async def run_script(
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],  # noqa: ARG001 - the engine's protocol
        started: Callable[[], Awaitable[None]],
    ) -> Outcome:
        await started()
        with (folder / "begun").open("a") as file:
            file.write(f"{spec.run_id}\n")
        if is_endless:
            await cancel.wait()
            await asyncio.sleep(ENDING_SECONDS)
            return Outcome("CANCELED", "canceled on request")
        return Outcome("COMPLETED")

    serve(
        DataFolder(folder),
        Keys(ACCESS_KEY, SECRET_KEY),
        nullcontext(run_script),
        ready=lambda address: print(address, flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_endless=sys.argv[2:] == ["endless"])
