"""The local service's own log: one JSON object a line, in files of bounded size.

Told are events and ids. Bodies, keys, parameters and a script's words never are: they may be private.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from traceback import extract_tb
from typing import Any

from dataflow_magic.models.wire import KST

__all__ = ["JsonLines", "event", "logged_to"]

LOGGERS = ("dataflow_magic.local", "uvicorn", "asyncio")
MAX_BYTES = 5_000_000
OLDER_FILES = 3


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON: time in Korea, level, event, then what the event is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, KST).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage().strip(),
            **getattr(record, "about", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = _in_words(record.exc_info[1])
            line["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=False)


def _in_words(error: BaseException) -> str:
    # What others say may quote a value; the system and the database name files and states at most.
    is_harmless = isinstance(error, OSError) or type(error).__module__ == "sqlite3"
    return f"{type(error).__name__}: {error}" if is_harmless else type(error).__name__


def event(logger: logging.Logger, name: str, **about: str | int | None) -> None:
    """Log that something happened, and to what: ``runId``, ``jobId``, ``state``; None is left out."""
    told = {key: value for key, value in about.items() if value is not None}
    logger.info(name, extra={"about": told})


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write to this file, and what it was rotated to, all the service logs inside the block."""
    handler = RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=OLDER_FILES, encoding="utf-8")
    handler.setFormatter(JsonLines())
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if logger.name.startswith("dataflow_magic") else logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
