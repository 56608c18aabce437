"""A kernel to be killed: starts one run, prints ``there`` at the given point, and stands still."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import NoReturn

import httpx

from dataflow_magic.cell.run import make_request
from dataflow_magic.session.session import Session
from tests.faults.world import KEYS, no_local_service

LONG_SECONDS = 60.0


class StandingStill(httpx.AsyncHTTPTransport):
    """Stands still before it sends a start, or after it has the response."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_start = request.method == "POST"
        if is_start and self._where == "before it leaves":
            await self._stand()
        response = await super().handle_async_request(request)
        await response.aread()
        if is_start and self._where == "before its answer is written down":
            await self._stand()
        return response

    async def _stand(self) -> None:
        print("there", flush=True)  # noqa: T201
        await asyncio.sleep(LONG_SECONDS)


def main(home: str, address: str, job_id: str, where: str) -> NoReturn:
    """Start the run and wait to be killed."""
    environment = {
        "DATAFLOW_MAGIC_HOME": home,
        "DATAFLOW_TARGET": address,
        **KEYS,
    }
    session = Session(environment, Path(home) / "configure", no_local_service, transport=StandingStill(where))
    session.start(make_request(f"id:{job_id}", {"a": 1}), session.target())
    print("there", flush=True)  # noqa: T201
    time.sleep(LONG_SECONDS)
    sys.exit("this kernel was not killed")


if __name__ == "__main__":
    main(*sys.argv[1:])
