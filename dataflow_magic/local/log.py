"""The local service's own log: one JSON object a line, in files of bounded size.

It has events and ids only: bodies, keys, parameters and the output of scripts may be private.
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
MAX_LOG_BYTES = 5_000_000
ROTATED_FILES = 3


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: Korean time, level, event, then what the event is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line break."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, KST).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage().strip(),
            **getattr(record, "about", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = _error_text(record.exc_info[1])
            line["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=False)


def _error_text(error: BaseException) -> str:
    # Most messages may quote a private value; those of the system and the database name files and tables only.
    is_public = isinstance(error, OSError) or type(error).__module__ == "sqlite3"
    return f"{type(error).__name__}: {error}" if is_public else type(error).__name__


def event(logger: logging.Logger, name: str, **about: str | int | None) -> None:
    """Log an event and the ids it is about: ``runId``, ``jobId``, ``state``; None is left out."""
    logger.info(name, extra={"about": {key: value for key, value in about.items() if value is not None}})


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write what the service logs inside the block to this file, which is rotated."""
    handler = RotatingFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=ROTATED_FILES, encoding="utf-8")
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
