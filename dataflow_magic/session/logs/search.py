"""Finds a run's log where the service does not name it: by the run's id below its log path. Reads names, and no log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.models.marker import bare, is_marked

__all__ = ["Place", "Search", "Stream", "choose", "find_log"]

Stream = Literal["console", "stderr"]
MOST_OF_RUN: Final = 1_000
"""Names that are looked at below what has the run's id."""
MOST_BESIDE: Final = 1_000
"""Names of a log path that are searched for the run's id."""
_CONSOLE: Final = ("console", "stdout", "driver", "output", "")
"""Parts of a log's name, the likeliest first."""
_STDERR: Final = ("stderr", "jvm.log", "log4j")
_NO_LOG: Final = re.compile(
    r"(?:^|/)(?:\.[^/]*|_SUCCESS|appstatus[^/]*|events?(?:_|/)[^/]*|eventlog[^/]*)(?:/|$)"
    r"|\.(?:inprogress|zstd|zst|lz4|lzf|snappy|gz|crc|parquet|json|py|jar)$"
)
"""Names of other things that lie beside a log: Spark's event log, checksums, what is compressed."""
_A_LOG: Final = re.compile(r"\.(?:log|out|err|txt)(?:\.\d+)?$|/[^./]*$")


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where a run's logs lie.

    Parameters
    ----------
    run_id
        The service's id of the run.
    console
        ``bucket/key`` of the console log, as the service says; empty where it does not.
    log_path
        ``bucket/prefix/`` of the run's job condition; empty where it has none.
    """

    run_id: str
    console: str = ""
    log_path: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """The outcome of a search.

    Parameters
    ----------
    path
        ``bucket/key`` of the log; None where none was found.
    looked
        What was looked at, in order, in words.
    """

    path: str | None
    looked: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """What was looked at, in one line, with the number of objects there."""
        return ", ".join(self.looked) or "nothing, for the service names neither a console log nor a log path"


async def find_log(objects: RangedObjects, place: Place, stream: Stream = "console") -> Search:
    """Look for a run's log: where the service says, below what has the run's id, and then among all of its log path.

    Raises
    ------
    Unreachable
        The storage does not answer.
    DataflowError
        There is no such bucket, or the key pair may not read it.
    """
    looked: list[str] = []
    console, log_path = bare(place.console), bare(place.log_path)
    if console and stream == "console":
        try:
            await objects.size(console)
        except NoObject:
            looked.append(f"s3a://{console} (0)")
        else:
            return Search(console, (f"s3a://{console} (1)",))
    own = f"{log_path}/{place.run_id}"
    # A folder of the run's own holds no other run's log.
    for folder in dict.fromkeys([_own_folder(console, place.run_id), own if log_path else ""]):
        if not folder:
            continue
        names = await objects.names(folder, MOST_OF_RUN)
        looked.append(f"s3a://{folder}/ ({_number(names, MOST_OF_RUN)})")
        if path := choose(names, stream):
            return Search(path, tuple(looked))
    if not log_path:
        return Search(None, tuple(looked))
    # In the order of names: first those that begin with the id, wherever they are among many others.
    near = await objects.names(log_path, MOST_BESIDE, after=own[:-1])
    first = await objects.names(log_path, MOST_BESIDE)
    looked.append(f"s3a://{log_path}/ ({_number(first, MOST_BESIDE)})")
    is_own = is_marked(log_path)
    names = [name for name in dict.fromkeys([*near, *first]) if is_own or _place_of(place.run_id, name)]
    return Search(choose(names, stream), tuple(looked))


def _own_folder(path: str, run_id: str) -> str:
    """Return a path up to the part that has the run's id; the path where none has it."""
    found = _place_of(run_id, path)
    end = path.find("/", found.end()) if found else -1
    return path if end < 0 else path[:end]


def _place_of(run_id: str, path: str) -> re.Match[str] | None:
    """Return where a path has a run's id, and not only as a part of another one."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(run_id)}(?![A-Za-z0-9])", path)


def choose(names: Sequence[str], stream: Stream = "console") -> str | None:
    """Return the likeliest log of the driver among names of objects; None where none is like a log.

    Standard error is what has ``stderr`` in its name, or what the local service keeps of Spark's JVM.
    """
    words = _CONSOLE if stream == "console" else _STDERR
    ranked = []
    for name in names:
        bare = name.lower()
        if _NO_LOG.search(name) or not _A_LOG.search(bare):
            continue
        file = bare.rpartition("/")[2]
        rank = next((rank for rank, word in enumerate(words) if word in file), None)
        if rank is None:
            continue
        # The console log may come later: another log must not be followed in its place.
        if stream == "stderr" or not any(word in file for word in _STDERR):
            ranked.append(("executor" in bare, rank, name))
    return min(ranked)[-1] if ranked else None


def _number(names: Sequence[str], most: int) -> str:
    return f"{len(names):,}{'+' if len(names) >= most else ''}"
