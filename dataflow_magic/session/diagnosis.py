"""Why a run failed: reads from object storage what the rules of `dataflow_magic.reasons` need. Never raises for what it cannot read."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable

from dataflow_magic.client.objects import RangedObjects
from dataflow_magic.models.failure import Failure
from dataflow_magic.reasons.diagnosis import diagnose, with_source
from dataflow_magic.reasons.event_log import SparkEnd, how_it_ended, lines_of, log_files
from dataflow_magic.session.event_log import unpacked

__all__ = ["explain"]

logger = logging.getLogger(__name__)

SECONDS = 10.0
"""Limit of each read."""
EVENT_BYTES = 4 << 20
"""Of an event log's end; a compressed file is read whole, and not at all where it is larger."""
MOST_UNPACKED = 64 << 20
MOST_NAMES = 1000


async def explain(
    objects: Awaitable[RangedObjects], *, log: str, folder: str, script_path: str, detail: str, status: str
) -> Failure:
    """Return why a run failed.

    Parameters
    ----------
    log
        The end of the console log; may be empty.
    folder
        ``bucket/prefix`` of the logs of this run alone, where its event log is looked for; empty where there is none.
    script_path
        Of the job condition: a script or a folder; may be empty.
    detail, status
        See `dataflow_magic.reasons.diagnosis.diagnose`.
    """
    try:
        storage = await objects
    except Exception:  # what the log and the service say is enough
        logger.debug("no object storage", exc_info=True)
        return diagnose(log, detail, status)
    failure = diagnose(log, detail, status, await _spark_end(storage, folder))
    return await _with_source(storage, failure, script_path)


async def _spark_end(objects: RangedObjects, folder: str) -> SparkEnd:
    if not folder:
        return SparkEnd()
    try:
        async with asyncio.timeout(SECONDS):
            chunks: list[bytes] = []
            left = EVENT_BYTES
            for name, codec in reversed(log_files(await objects.names(folder, MOST_NAMES))):
                data = await objects.tail(name, left + bool(codec))
                if left <= 0 or (codec and len(data) > left):
                    break
                left -= len(data)
                chunks.insert(0, await asyncio.to_thread(_plain, data, codec))
            return await asyncio.to_thread(how_it_ended, lines_of(chunks))
    except Exception:  # the log alone explains most failures
        logger.debug("no event log below %r", folder, exc_info=True)
        return SparkEnd()


def _plain(data: bytes, codec: str) -> bytes:
    """Return a file's bytes unpacked."""
    return b"".join(unpacked(io.BytesIO(data), codec, MOST_UNPACKED)) if codec else data


async def _with_source(objects: RangedObjects, failure: Failure, script_path: str) -> Failure:
    """Read the text of the own line from the script, where Spark recorded only its number or the name of a function."""
    if failure.place is None or not script_path or (failure.place.source and not failure.functions):
        return failure
    folder = script_path.rpartition("/")[0] if script_path.endswith(".py") else script_path.removesuffix("/")
    try:
        async with asyncio.timeout(SECONDS):
            text = await objects.read(f"{folder}/{failure.place.file}")
    except Exception:  # the number alone helps too
        logger.debug("no script at %r", script_path, exc_info=True)
        return failure
    return with_source(failure, (text or b"").decode("utf-8", "replace"))
