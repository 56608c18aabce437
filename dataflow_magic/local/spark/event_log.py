"""Reads the event logs of runs while Spark writes them, a bounded piece at a time. Usable from any thread."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dataflow_magic.local.spark.progress import Application, Progress

__all__ = ["EventLogReader", "ProgressReader"]

MOST_BYTES_PER_READ = 8 << 20
"""Takes some 0.1 s."""
LONGEST_LINE = 4 << 20
"""Bytes. A longer line is skipped; Spark writes a query plan or a list of stages in one line."""
MOST_RUNS = 256


class EventLogReader:
    """Reads the event logs of one run: one log per Spark application that the run starts.

    Parameters
    ----------
    folder
        See `event_log_key`; it need not exist yet.
    most_bytes, longest_line
        Limits, in bytes, of one read and of one line. Between two reads less than one line is kept.
    """

    def __init__(
        self, folder: Path, *, most_bytes: int = MOST_BYTES_PER_READ, longest_line: int = LONGEST_LINE
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._longest_line = longest_line
        self._logs: dict[str, _Log] = {}
        self._last = Progress()

    def read(self, *, is_final: bool = False) -> Progress:
        """Read what Spark has written since the last read, and return the run's progress so far.

        Parameters
        ----------
        is_final
            The run's processes have ended. Once everything they wrote is read, the progress is over and no stage runs.
        """
        if self._last.is_over:
            return self._last
        left = self._most_bytes
        for folder in sorted(self._folder.glob("eventlog_v2_*")):
            log = self._logs.setdefault(folder.name, _Log(self._longest_line))
            with suppress(OSError):  # the user may remove logs at any time
                left -= log.read(folder, left)
        progress = sum((log.application.progress() for log in self._logs.values()), Progress())
        if is_final and left:
            progress = replace(progress, running=(), is_over=True)
            self._logs.clear()
        self._last = progress
        return progress


class ProgressReader:
    """Returns the progress of any run, and keeps an `EventLogReader` for each of the `most` runs read last.

    The log of a run beyond these is read from its start again. Reads take turns: each keeps one core busy.
    """

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._most = most
        self._readers: OrderedDict[str, EventLogReader] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, run_id: str, folder: Path, *, is_final: bool) -> Progress:
        """Return the progress of the run whose event logs are in the folder; see `EventLogReader.read`."""
        with self._lock:
            reader = self._readers.setdefault(run_id, EventLogReader(folder))
            self._readers.move_to_end(run_id)
            if len(self._readers) > self._most:
                self._readers.popitem(last=False)
            return reader.read(is_final=is_final)


class _Log:
    """The log of one application: numbered files, of which only the last grows."""

    def __init__(self, longest_line: int) -> None:
        self.application = Application()
        self._longest_line = longest_line
        self._number = 0
        self._offset = 0
        self._rest = b""
        self._is_skipping = False

    def read(self, folder: Path, most: int) -> int:
        """Fold up to `most` bytes more into the application; return how many were read."""
        read = 0
        # Listed before they are read: Spark closes a file before it makes the next.
        for number, file in sorted(_files(folder)):
            if self.application.is_ended or read == most:
                break
            if number < self._number:
                continue
            if number > self._number:
                self._number, self._offset, self._rest, self._is_skipping = number, 0, b"", False
            with file.open("rb") as log:
                log.seek(self._offset)
                data = log.read(most - read)
            self._offset += len(data)
            read += len(data)
            self._fold(data)
        return read

    def _fold(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._is_skipping:
            del lines[0]
            self._is_skipping = False
        for line in lines:
            if len(line) <= self._longest_line:
                self.application.fold(line)
        if len(self._rest) > self._longest_line:
            self._rest, self._is_skipping = b"", True


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    for file in folder.iterdir():
        if match := re.fullmatch(r"events_([0-9]{1,9})_.*", file.name):
            yield int(match[1]), file
