"""Where a run's log is looked for, which name is taken, and what is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow_magic.client.objects import FolderObjects
from dataflow_magic.session.logs.search import Place, choose, find_log

pytestmark = pytest.mark.anyio

RUN = "run000000001"


def objects(folder: Path, *names: str) -> FolderObjects:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return FolderObjects(folder)


@pytest.mark.parametrize(
    ("names", "console", "stderr"),
    [
        (["l/r/console.log", "l/r/jvm.log"], "l/r/console.log", "l/r/jvm.log"),
        (["l/r/driver/stderr", "l/r/driver/stdout"], "l/r/driver/stdout", "l/r/driver/stderr"),
        (["l/r/container_02/stdout", "l/r/container_01/stdout"], "l/r/container_01/stdout", None),
        (["l/r/executor-1/stdout", "l/r/zdriver/stdout"], "l/r/zdriver/stdout", None),
        (["l/r/spark-7.log", "l/r/driver.log"], "l/r/driver.log", None),
        (["l/r/stderr.log", "l/r/jvm.log"], None, "l/r/stderr.log"),
        (["l/r/application_1"], "l/r/application_1", None),
        (["l/r/events_1_local-1", "l/r/events/console.log", "l/r/appstatus_local-1", "l/r/local-1.inprogress"], None, None),
        (["l/r/eventlog_v2_local-1/events_1_local-1.zstd", "l/r/.console.log.crc", "l/r/console.log.gz"], None, None),
        (["l/r/part-0000.snappy.parquet", "l/r/_SUCCESS", "l/r/job.py", "l/r/conf.json"], None, None),
        ([], None, None),
    ],
)  # fmt: skip
def test_the_likeliest_log_of_the_driver_is_chosen(names, console, stderr):
    assert choose(names) == console
    assert choose(names, "stderr") == stderr


async def test_a_log_that_the_service_names_is_taken_without_a_search(tmp_path):
    storage = objects(tmp_path, f"b/logs/{RUN}/stdout", "b/elsewhere/x")

    found = await find_log(storage, Place(RUN, "b/elsewhere/x", "b/logs/"))

    assert (found.path, found.looked) == ("b/elsewhere/x", ("s3a://b/elsewhere/x (1)",))


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Place(RUN, f"b/logs/{RUN}/", "b/logs/"), f"b/logs/{RUN}/stdout"),
        (Place(RUN, f"b/logs/{RUN}/gone.log"), f"b/logs/{RUN}/stdout"),
        (Place(RUN, "", "b/logs/"), f"b/logs/{RUN}/stdout"),
        (Place(RUN, "", "s3a://b/logs"), f"b/logs/{RUN}/stdout"),
        (Place(RUN, "b/other/folder", ""), "b/other/folder/console.txt"),
        (Place(RUN, "", "b/dated/"), f"b/dated/2026/11/{RUN}-driver.log"),
        (Place(RUN, "", "b/marked/dataflow-run-k2345678/"), "b/marked/dataflow-run-k2345678/app/stdout"),
    ],
    ids=["a folder", "beside it", "the id", "a scheme", "a folder without the id", "deep", "a marker"],
)
async def test_a_log_is_found_wherever_a_service_puts_it(tmp_path, place, path):
    storage = objects(
        tmp_path, f"b/logs/{RUN}/stdout", "b/logs/run000000002/stdout", "b/other/folder/console.txt",
        f"b/dated/2026/11/{RUN}-driver.log", "b/dated/2026/11/run000000002-driver.log",
        "b/marked/dataflow-run-k2345678/app/stdout", "b/marked/dataflow-run-k2345679/app/stdout",
    )  # fmt: skip

    assert (await find_log(storage, place)).path == path


async def test_a_file_with_the_id_is_found_among_thousands(tmp_path):
    storage = objects(tmp_path, *(f"b/logs/run{number:09}-x.log" for number in range(3000)))

    found = await find_log(storage, Place("run000002500", "", "b/logs/"))

    assert found.path == "b/logs/run000002500-x.log"


async def test_what_was_looked_at_is_reported(tmp_path):
    storage = objects(tmp_path, "b/logs/run000000002/stdout", "b/logs/events_1")

    found = await find_log(storage, Place(RUN, f"b/logs/{RUN}/console.log", "b/logs/"))
    assert found.path is None
    assert found.in_words == (
        f"s3a://b/logs/{RUN}/console.log (0), s3a://b/logs/{RUN}/ (0), s3a://b/logs/ (2)"
    )
    nowhere = await find_log(storage, Place(RUN))
    assert nowhere.in_words == "nothing, for the service names neither a console log nor a log path"


async def test_the_log_of_another_run_is_never_taken(tmp_path):
    storage = objects(tmp_path, "b/logs/run000000002/stdout", "b/logs/run0000000012/stdout")

    assert (await find_log(storage, Place(RUN, "", "b/logs/"))).path is None
