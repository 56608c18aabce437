"""Why a run failed, as read from storage: the event log beside the console log, and the script."""

from collections.abc import Awaitable

import pyarrow as pa
import pytest

from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.session import diagnosis
from tests.reasons.test_event_log import QUERY, ended, started

CRASHED = """\
Traceback (most recent call last):
  File "/run/script/daily.py", line 5, in <module>
    df.show()
pyspark.errors.exceptions.captured.SparkException: Python worker exited unexpectedly (crashed)
"""
SCRIPT = "@udf\ndef crash(x):\n    exit()\n\ndf.show()\n"
JOB = (
    QUERY.replace(b", tidy(cast(id#0L as string))#2", b"")
    + b"\n"
    + started(0, "collect at daily.py:5")
    + b"\n"
)
EVENTS = JOB + ended(0, "Job aborted: Python worker exited unexpectedly (crashed)") + b"\n"
FOLDER = "b/logs/r1/events/eventlog_v2_local-1"

pytestmark = pytest.mark.anyio


class Storage:
    """RangedObjects in memory; a path that is an error raises it."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.asked: list[str] = []

    async def names(self, folder: str, most: int, *, after: str = "") -> list[str]:
        assert not after
        self.asked.append(folder)
        return [name for name in self.objects if name.startswith(f"{folder}/")][:most]

    async def size(self, path: str) -> int:
        raise NotImplementedError

    async def part(self, path: str, start: int, stop: int) -> bytes:
        raise NotImplementedError

    async def tail(self, path: str, most: int) -> bytes:
        return self.objects[path][-most:]

    async def read(self, path: str) -> bytes | None:
        return self.objects.get(path)

    async def put(self, path: str, content: bytes) -> None:
        raise NotImplementedError


async def there(storage: RangedObjects) -> RangedObjects:
    return storage


async def why(
    objects: Awaitable[RangedObjects], log: str = "", detail: str = "", script: str = "b/s/daily.py"
) -> Failure:
    return await diagnosis.explain(
        objects, log=log, folder="b/logs/r1", script_path=script, detail=detail, status="FAILED"
    )


async def test_a_worker_that_crashed_leads_to_the_function_that_it_ran():
    storage = Storage(**{f"{FOLDER}/events_1_local-1": EVENTS, "b/s/daily.py": SCRIPT.encode()})

    failure = await why(there(storage), CRASHED)

    assert failure.reason == "a Python worker of Spark crashed"
    assert failure.place == Place("daily.py", 2, "crash", "def crash(x):")


async def test_a_job_that_still_ran_is_where_a_timeout_is_placed():
    storage = Storage(**{f"{FOLDER}/events_1_local-1": JOB, "b/s/daily.py": SCRIPT.encode()})

    failure = await why(there(storage), detail="timed out after 60 min")

    assert failure.place == Place("daily.py", 5, "", "df.show()")


async def test_the_event_log_alone_tells_why_where_there_is_no_console_log():
    failed = ended(0, "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012")
    storage = Storage(**{f"{FOLDER}/events_1_local-1": failed})

    failure = await why(there(storage))

    assert (failure.reason, failure.error_class) == ("division by zero", "DIVIDE_BY_ZERO")


async def test_a_rolling_log_that_zstd_packed_is_read_also_where_its_last_file_is_torn():
    first, last = (pa.Codec("zstd").compress(part, asbytes=True) for part in (JOB, EVENTS[len(JOB) :]))
    storage = Storage(
        **{f"{FOLDER}/events_1_local-1.zstd": first, f"{FOLDER}/events_2_local-1.zstd": last + last[:9]}
    )

    assert (await why(there(storage), CRASHED)).functions == ("crash",)


@pytest.mark.parametrize("codec", ["lz4", "snappy", "lzf"])
async def test_a_log_of_another_codec_is_not_read(codec):
    storage = Storage(**{f"{FOLDER}/events_1_local-1.{codec}": EVENTS})

    assert (await why(there(storage), CRASHED)).functions == ()


async def test_without_a_folder_of_the_run_s_own_no_event_log_is_looked_for():
    storage = Storage(**{"b/events_1_local-1": EVENTS})
    await diagnosis.explain(there(storage), log="", folder="", script_path="", detail="", status="FAILED")

    assert storage.asked == []


async def test_storage_that_cannot_be_reached_costs_only_what_it_has():
    async def gone() -> RangedObjects:
        raise NoObject("no storage")

    assert (await why(gone(), CRASHED)).reason == "a Python worker of Spark crashed"


async def test_a_list_that_fails_costs_only_the_event_log():
    class Broken(Storage):
        async def names(self, folder: str, most: int, *, after: str = "") -> list[str]:
            raise NoObject(f"{most} below {folder} after {after}")

    storage = Broken(**{"b/s/daily.py": SCRIPT.encode()})
    log = CRASHED.replace("    df.show()\n", "")

    assert (await why(there(storage), log)).place == Place("daily.py", 5, "", "df.show()")
