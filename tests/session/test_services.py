import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dataflow_magic.client.objects import CloudObjects, FolderObjects
from dataflow_magic.models.view import Progress
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.connection import Connection
from dataflow_magic.session.watch import Pace

pytestmark = pytest.mark.anyio

SECRET = "hunter2hunter2hunter2"


class Heard:
    """A listener that remembers, and tells when its run is over."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.over = asyncio.Event()

    def seen(self, execution: JobExecution) -> None:
        self.said.append(execution.status)
        if execution.is_final:
            self.over.set()

    def blind(self, reason: str) -> None:
        self.said.append(reason)


def connection(
    answer: Callable[[httpx.Request], httpx.Response], endpoint: str, **options: Any
) -> Connection:
    return Connection(
        "name",
        endpoint,
        "access",
        SecretStr(SECRET),
        pace=Pace(0.001, 0.001),
        transport=httpx.MockTransport(answer),
        **options,
    )


def completed(request: httpx.Request) -> httpx.Response:
    path = request.url.path.split("/")
    if path[-1] == "executions":
        runs = [{"jobExecutionId": name, "status": "COMPLETED"} for name in "abc"]
        return httpx.Response(200, json={"list": runs})
    return httpx.Response(200, json={"jobExecutionId": path[-1], "status": "COMPLETED"})


async def test_runs_of_a_job_share_a_watch_and_each_is_told_of():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return completed(request)

    made, heard = connection(answer, "https://gw.example.com"), {name: Heard() for name in "abc"}
    for name, listener in heard.items():
        made.follow("job", name, listener)
    async with asyncio.timeout(10):
        await asyncio.gather(*(listener.over.wait() for listener in heard.values()))

    assert asked == ["/api/v1/jobs/job/executions"]
    assert [listener.said for listener in heard.values()] == [["COMPLETED"]] * 3


async def test_each_job_is_watched_by_itself_and_anew_once_its_runs_are_over():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return completed(request)

    made = connection(answer, "https://gw.example.com")
    async with asyncio.timeout(10):
        for job, run in (("one", "a"), ("two", "b"), ("one", "c")):
            heard = Heard()
            made.follow(job, run, heard)
            await heard.over.wait()

    assert asked == [
        "/api/v1/jobs/one/executions/a",
        "/api/v1/jobs/two/executions/b",
        "/api/v1/jobs/one/executions/c",
    ]


async def test_a_watch_that_was_ended_does_not_swallow_the_next_run():
    hold = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await hold.wait()
        return completed(request)

    made, first, second = connection(answer, "https://gw.example.com"), Heard(), Heard()  # type: ignore[arg-type]
    made.follow("job", "a", first)
    await asyncio.sleep(0)
    [watch] = [task for task in asyncio.all_tasks() if "follow" in repr(task.get_coro())]
    watch.cancel()
    await asyncio.wait({watch})
    hold.set()
    made.follow("job", "b", second)
    async with asyncio.timeout(10):
        await second.over.wait()

    assert (first.said, second.said) == ([], ["COMPLETED"])


async def test_a_watch_follows_a_service_that_moved():
    made, heard = connection(lambda request: answer(request), "http://127.0.0.1:1"), Heard()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.port == 1:
            made.move("http://127.0.0.1:2", "other", SecretStr("other"))
            return httpx.Response(404)
        assert request.headers["x-ncp-iam-access-key"] == "other"
        return completed(request)

    made.follow("job", "a", heard)
    async with asyncio.timeout(10):
        await heard.over.wait()

    assert made.endpoint == "http://127.0.0.1:2"
    assert heard.said == ["no such address at the gateway (404)", "COMPLETED"]


@pytest.mark.parametrize(
    ("endpoint", "folder", "answer", "kind", "asked"),
    [
        ("http://127.0.0.1:1", "/data", {}, FolderObjects, 0),
        ("http://127.0.0.1:1", None, {"objects": "/data"}, FolderObjects, 1),
        ("http://127.0.0.1:1", None, {}, CloudObjects, 1),
        ("https://gw.example.com", None, {"objects": "/data"}, CloudObjects, 0),
    ],
    ids=["a folder that is known", "a local service", "a stranger on this machine", "another machine"],
)
async def test_objects_are_where_the_target_keeps_them(endpoint, folder, answer, kind, asked):
    requests: list[httpx.Request] = []

    def tell(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=answer)

    made = connection(tell, endpoint, objects=Path(folder) if folder else None)

    first, second = await made.objects(), await made.objects()

    assert type(first) is kind
    assert first is second
    assert len(requests) == asked


async def test_its_text_holds_no_secret():
    made = connection(completed, "https://gw.example.com")

    assert SECRET not in f"{made!r} {vars(made)}"


async def test_however_many_runs_are_asked_about_it_is_ten_times_a_second_at_most():
    asked: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/local/v1/jobs/job000000001/executions/run000000001/progress"
        asked.append(asyncio.get_running_loop().time())
        told = {"stagesDone": 1, "stagesTotal": 2, "tasksDone": 3, "tasksTotal": 4, "tasksFailed": 5}
        return httpx.Response(200, json=told | {"running": [{"name": "count at daily.py:7"}]})

    local = connection(answer, "http://127.0.0.1:1")
    told = await asyncio.gather(*(local.progress("job000000001", "run000000001") for _ in range(4)))

    assert told == [Progress(1, 2, 3, 4, 5, "count at daily.py:7")] * 4
    assert asked[-1] - asked[0] >= 0.29


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json={"stagesDone": None})])
async def test_a_service_that_does_not_tell_how_far_a_run_is_is_no_trouble(answer):
    local = connection(lambda _: answer, "http://127.0.0.1:1")

    assert await local.progress("job000000001", "run000000001") is None


async def test_the_cloud_is_not_asked_how_far_a_run_is():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    assert await connection(refuse, "https://x").progress("job000000001", "run000000001") is None
