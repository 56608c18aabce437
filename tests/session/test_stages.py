"""The stages of a run, read from its event log: in storage, and by a session with a service."""

import asyncio
import io
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow_magic.errors import DataflowError
from dataflow_magic.ledger.stages import STAGE_COLUMNS, stages_frame
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.stages import Hotspots, StageReport
from dataflow_magic.models.view import KST
from dataflow_magic.models.wire import JobCondition, JobExecution
from dataflow_magic.session import run as run_module
from dataflow_magic.session import stages
from dataflow_magic.session.event_log import CannotUnpack, EventLogs, folder_of, unpacked
from dataflow_magic.session.stages import RunStages
from tests.helpers import Scene, eventually, open_notebook
from tests.reasons.stages.test_fold import completed, line, report_of, skewed, submitted, task
from tests.session.test_diagnosis import Storage
from tests.views import run_view

FOLDER = "b/logs/r1"
NAME = f"{FOLDER}/events/eventlog_v2_local-1/events_1_local-1"
LOG = b"".join(each + b"\n" for each in skewed())
MOST = 1 << 30


class Ranges(Storage):
    """Storage that reads ranges."""

    async def size(self, path: str) -> int:
        return len(self.objects[path])

    async def part(self, path: str, start: int, stop: int) -> bytes:
        return self.objects[path][start:stop]


async def read(storage: Storage, logs: EventLogs | None = None, **asked: Any) -> StageReport | None:
    return await (logs or EventLogs(FOLDER)).read(storage, **{"is_over": True, "most": MOST} | asked)


@pytest.mark.anyio
async def test_a_log_in_one_file_is_read():
    assert await read(Ranges(**{NAME: LOG})) == report_of(skewed())


@pytest.mark.anyio
async def test_the_files_of_a_rolling_log_are_read_in_their_order():
    cut = LOG.index(b"\n", 300_000) + 1
    tenth = NAME.replace("events_1_", "events_10_")

    assert await read(Ranges(**{tenth: LOG[cut:], NAME: LOG[:cut]})) == report_of(skewed())


@pytest.mark.anyio
async def test_a_log_that_spark_packed_is_read_when_its_files_are_whole():
    cut = LOG.index(b"\n", 300_000) + 1
    first, second = (pa.Codec("zstd").compress(part, asbytes=True) for part in (LOG[:cut], LOG[cut:]))
    second_name = NAME.replace("events_1_", "events_2_")
    storage, logs = Ranges(**{f"{NAME}.zstd": first, f"{second_name}.zstd": second}), EventLogs(FOLDER)

    part = await read(storage, logs, is_over=False)
    whole = await read(storage, logs)

    assert part == report_of(LOG[:cut].splitlines())
    assert whole == report_of(skewed())


@pytest.mark.anyio
async def test_a_log_that_grows_is_read_on_from_where_it_ended_also_within_a_line():
    logs = EventLogs(FOLDER)
    place = f"{NAME}.inprogress"

    first = await read(Ranges(**{place: LOG[:200_007]}), logs, is_over=False)
    again = await read(Ranges(**{place: LOG[:400_000]}), logs, is_over=False)
    last = await read(Ranges(**{NAME: LOG}), logs)

    assert first == report_of(LOG[:200_007].splitlines())
    assert again == report_of(LOG[:400_000].splitlines())
    assert last == report_of(skewed())


@pytest.mark.anyio
async def test_a_read_ends_after_the_bytes_it_may_take_and_the_next_goes_on():
    logs = EventLogs(FOLDER)

    part = await read(Ranges(**{NAME: LOG}), logs, most=100_000)
    is_whole = logs.is_whole
    whole = await read(Ranges(**{NAME: LOG}), logs)

    assert part == report_of(LOG[:100_000].splitlines())
    assert (is_whole, logs.is_whole) == (False, True)
    assert whole == report_of(skewed())


@pytest.mark.anyio
async def test_a_packed_file_that_is_larger_than_asked_is_left_out():
    packed = pa.Codec("zstd").compress(LOG, asbytes=True)

    assert await read(Ranges(**{f"{NAME}.zstd": packed}), most=1000) == StageReport(applications=("local-1",))


@pytest.mark.anyio
async def test_the_logs_of_two_applications_are_read():
    other = NAME.replace("local-1", "local-2")
    report = await read(Ranges(**{NAME: LOG, other: submitted(0, 0) + b"\n"}))

    assert report is not None
    assert [each.application for each in report.stages] == ["local-1"] * 8 + ["local-2"]


@pytest.mark.anyio
async def test_without_a_log_there_are_no_stages():
    assert await read(Ranges(**{f"{FOLDER}/console.log": LOG})) is None


@pytest.mark.parametrize("codec", ["lz4", "lzf", "snappy"])
def test_a_codec_that_is_not_known_is_named(codec):
    with pytest.raises(
        CannotUnpack, match=rf"compressed with {codec}, .* spark.eventLog.compression.codec to zstd"
    ):
        list(unpacked(io.BytesIO(b"x"), codec))


def test_a_packed_file_that_was_cut_off_is_read_to_there():
    packed = pa.Codec("zstd").compress(LOG, asbytes=True)

    assert LOG.startswith(b"".join(unpacked(io.BytesIO(packed[: len(packed) // 2]), "zstd")))


@pytest.mark.parametrize(
    ("log_path", "folder"),
    [("b/logs/", "b/logs/r1"), ("s3a://b/logs", "b/logs/r1"), (None, ""), ("", "")],
)
def test_the_folder_is_that_of_the_run_alone(log_path, folder):
    assert folder_of(log_path, "r1") == folder


# The table


def test_no_stages_have_the_same_columns_and_dtypes():
    none, some = stages_frame(StageReport()), stages_frame(report_of(skewed()))

    assert len(none) == 0
    assert {name: str(dtype) for name, dtype in none.dtypes.items()} == {
        name: dtype for name, (dtype, _) in STAGE_COLUMNS.items()
    }
    assert list(none.dtypes) == list(some.dtypes)


def test_a_row_has_times_with_their_zone_and_lengths():
    join = stages_frame(report_of(skewed())).iloc[2]

    assert join["submitted"].isoformat(timespec="milliseconds") == "2026-11-27T18:36:01.609+09:00"
    assert join["took"].total_seconds() == 26.297
    assert join["task_slowest"].total_seconds() == 18.001
    assert join["finding"].endswith("skewed on `origin`?")


def test_a_stage_that_runs_has_no_end():
    row = stages_frame(report_of([submitted(3, 1_000, tasks=2), task(3, 1_000, 1_500)])).iloc[0]

    assert str(row["completed"]) == "NaT"
    assert (row["state"], row["tasks_done"], row["file"], row["line"]) == ("RUNNING", 1, "etl/daily.py", 7)


# By a session


def write_log(scene: Scene, run_id: str, log: bytes) -> Path:
    folder = scene.service.folder / "objects" / "bucket" / "logs" / run_id / "events" / "eventlog_v2_local-1"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "events_1_local-1"
    file.write_bytes(log)
    return file


def running(scene: Scene) -> Any:
    run = scene.start("slow")
    eventually(lambda: run.status == "RUNNING", "the run is active")
    return run


def test_the_stages_of_a_run_are_a_table(scene):
    run = scene.start("daily_sales")
    run.wait(60)
    write_log(scene, run.run_id, LOG)

    table = run.handle.stages()

    assert table["stage"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert run.handle.stages().equals(table)


def test_a_run_that_is_over_and_has_no_event_log_says_where_was_looked(scene):
    run = scene.start("daily_sales")
    run.wait(60)

    with pytest.raises(DataflowError) as caught:
        run.handle.stages()

    assert str(caught.value) == (
        f"no event log of run {run.run_id}; looked below s3a://bucket/logs/{run.run_id}/: it ended before it had a Spark "
        "session, or spark.eventLog.dir is elsewhere"
    )


def test_a_live_run_without_an_event_log_has_no_stages_yet(scene):
    run = running(scene)

    assert run.handle.stages().empty
    scene.service.finish.set()


def test_stages_are_followed_until_the_run_is_over(scene):
    run = running(scene)
    file = write_log(scene, run.run_id, submitted(0, 0) + b"\n")
    states = []
    for table in run.handle.stages(follow=True):
        states.append(table["state"].tolist())
        if len(states) == 1:
            with file.open("ab") as log:
                log.write(completed(0, 9) + b"\n" + line("ApplicationEnd", Timestamp=10) + b"\n")
            scene.service.finish.set()

    assert states[0] == ["RUNNING"]
    assert states[-1] == ["COMPLETED"]


@pytest.mark.anyio
async def test_stages_are_followed_without_blocking_the_loop(scene):
    run = await asyncio.to_thread(running, scene)
    write_log(scene, run.run_id, submitted(0, 0) + b"\n" + completed(0, 9) + b"\n")
    states = []
    async for table in run.handle.stages(follow=True):
        states.append(table["state"].tolist())
        scene.service.finish.set()

    assert states[-1] == ["COMPLETED"]


def test_a_secret_in_the_name_of_a_stage_is_masked(scene):
    run = scene.start("daily_sales", {"token": Secret.of("s3cret-origin")})
    run.wait(60)
    write_log(scene, run.run_id, submitted(0, 0, name="s3cret-origin at a.py:1") + b"\n")

    assert run.handle.stages()["name"].tolist() == ["••••••"]


# On the card


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a busy machine take its time."""
    monkeypatch.setattr(stages, "CARD_SECONDS", 60.0)
    monkeypatch.setattr(run_module, "HOTSPOT_SECONDS", 60.0)


def test_the_card_of_an_ended_run_shows_where_its_time_went(scene):
    with open_notebook(scene.folder, stdin=True):
        run = running(scene)
        run.show()
        write_log(scene, run.run_id, LOG)
        scene.service.finish.set()
        eventually(lambda: run.view.hotspots is not None, "the stages are read")

    spots = run.card_state().hotspots
    assert [(each.name, each.place, each.took) for each in spots] == [
        ("stage 2: parquet", "", "26 s"),
        ("stage 1: parquet", "", "20 s"),
        ("stage 7: sum", "skewed.py, line 27", "13 s"),
    ]
    assert [each.finding.partition(":")[0] for each in spots] == [
        "one of 16 tasks took 68 % of the time",
        "",
        "its 400 tasks are tiny, the median 57 ms",
    ]


def test_a_cell_that_waits_ends_with_a_card_that_has_the_stages(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        write_log(scene, run.run_id, LOG)
        scene.service.finish.set()
        run.show_and_wait(60)

    assert "Where the time went" in notebook.shown[-1].data["text/html"]


def test_a_run_of_an_earlier_kernel_shows_its_stages_too(scene):
    run = scene.start("daily_sales")
    run.wait(60)
    write_log(scene, run.run_id, LOG)
    with open_notebook(scene.folder, stdin=True) as notebook:
        run.show()
        eventually(lambda: "stage 7: sum" in notebook.shown[-1].data["text/html"], "it is painted")


class Known:
    """A run that ended, and its service."""

    def __init__(self, storage: Storage) -> None:
        condition = JobCondition(log_path="b/logs/")
        ended = JobExecution(job_execution_id="r1", status="COMPLETED", job_condition=condition)
        self.view = replace(run_view(datetime.now(KST)), execution=ended)
        self.is_over = True
        self._storage = storage

    async def objects(self) -> Storage:
        return self._storage


async def hotspots(storage: Storage) -> Hotspots | None:
    known = Known(storage)
    return await RunStages(known, known, asyncio.ensure_future).hotspots()  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_of_a_log_too_large_for_a_card_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(stages, "CARD_BYTES", len(LOG))
    assert await hotspots(Ranges(**{NAME: LOG})) is None
    monkeypatch.setattr(stages, "CARD_BYTES", len(LOG) + 1)
    assert await hotspots(Ranges(**{NAME: LOG})) is not None


@pytest.mark.anyio
async def test_without_an_event_log_nothing_is_shown():
    assert await hotspots(Ranges()) is None


@pytest.mark.anyio
async def test_stages_that_take_less_than_a_second_are_not_shown():
    log = [submitted(0, 0), completed(0, 999), submitted(1, 1_000), completed(1, 2_000)]
    found = await hotspots(Ranges(**{NAME: b"".join(each + b"\n" for each in log)}))

    assert found is not None
    assert [each.number for each in found.stages] == [1]
