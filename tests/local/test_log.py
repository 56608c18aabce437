import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.local import log
from dataflow_magic.local.log import JsonLines, event, logged_to

logger = logging.getLogger("dataflow_magic.local.test")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fail(error: Exception) -> None:
    raise error


def test_an_event_is_a_line_with_its_ids(tmp_path):
    with logged_to(tmp_path / "service.log"):
        event(logger, "a run has ended", runId="RUN000000001", jobId=None, state="FAILED")

    (line,) = lines(tmp_path / "service.log")
    time = line.pop("time")
    assert line == {
        "level": "INFO",
        "event": "a run has ended",
        "runId": "RUN000000001",
        "state": "FAILED",
    }
    assert (len(time), time[-6:]) == (29, "+09:00")


def test_a_line_has_korean_time():
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s 매출\n", ("a\nb",), None)
    record.created = 1_793_520_000.9

    assert JsonLines().format(record) == (
        '{"time": "2026-11-01T17:00:00.900+09:00", "level": "WARNING", "event": "a\\nb 매출"}'
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a private value"), "ValueError"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (sqlite3.OperationalError("disk is full"), "OperationalError: disk is full"),
    ],
    ids=["may quote a value", "system", "database"],
)
def test_an_error_is_logged_with_kind_and_place_and_only_a_public_message(tmp_path, error, words):
    with logged_to(tmp_path / "service.log"):
        try:
            fail(error)
        except Exception:
            logger.exception("taking READY runs")

    (line,) = lines(tmp_path / "service.log")
    assert (line["level"], line["event"], line["error"]) == ("ERROR", "taking READY runs", words)
    assert [frame.split()[-1] for frame in line["frames"]] == [
        "test_an_error_is_logged_with_kind_and_place_and_only_a_public_message",
        "fail",
    ]
    assert "test_log.py:" in line["frames"][1]


def test_a_record_without_an_exception_has_no_error():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "odd", (), (None, None, None))

    assert set(json.loads(JsonLines().format(record))) == {"time", "level", "event"}


def test_warnings_of_uvicorn_and_asyncio_are_logged_and_their_news_is_not(tmp_path):
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)  # a server in another test may have set it
    with logged_to(tmp_path / "service.log"):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").info("Started server process")
        logging.getLogger("asyncio").error("Task exception was never retrieved")
        logging.getLogger("elsewhere").error("of another library")

    assert [line["event"] for line in lines(tmp_path / "service.log")] == [
        "Invalid HTTP request received.",
        "Task exception was never retrieved",
    ]


def test_after_the_block_nothing_is_logged_and_levels_are_restored(tmp_path):
    before = logging.getLogger("dataflow_magic.local").level
    with logged_to(tmp_path / "service.log"):
        pass
    event(logger, "too late")

    assert (tmp_path / "service.log").read_text() == ""
    assert logging.getLogger("dataflow_magic.local").level == before


def test_files_are_rotated_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "MAX_LOG_BYTES", 200)
    with logged_to(tmp_path / "service.log"):
        for number in range(20):
            event(logger, "a run was accepted", number=number)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "service.log",
        "service.log.1",
        "service.log.2",
        "service.log.3",
    ]
    assert all(path.stat().st_size <= 200 for path in tmp_path.iterdir())
    assert lines(tmp_path / "service.log")[-1]["number"] == 19
