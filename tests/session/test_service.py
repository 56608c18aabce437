import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from dataflow_magic.client import Client
from dataflow_magic.client.objects import CloudObjects, FolderObjects
from dataflow_magic.config.settings import Target
from dataflow_magic.errors import ConfigError, DataflowError
from dataflow_magic.files import try_lock
from dataflow_magic.models.view import Progress
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.service import Service, ServiceAddress, ServicePool
from dataflow_magic.session.watch import Pace
from tests.helpers import is_ready

pytestmark = pytest.mark.anyio

SECRET = "hunter2hunter2hunter2"


class Heard:
    """A listener that records reports, and sets an event when its run is over."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.over = asyncio.Event()

    def seen(self, execution: JobExecution) -> None:
        self.said.append(execution.status)
        if execution.is_final:
            self.over.set()

    def blind(self, reason: str) -> None:
        self.said.append(reason)


def service(
    answer: Callable[[httpx.Request], httpx.Response], endpoint: str, objects: Path | None = None
) -> Service:
    return Service(
        "name",
        ServiceAddress(endpoint, "access", SecretStr(SECRET), objects),
        pace=Pace(0.001, 0.001),
        new_client=partial(Client, transport=httpx.MockTransport(answer)),
    )


def completed(request: httpx.Request) -> httpx.Response:
    path = request.url.path.split("/")
    if path[-1] == "executions":
        runs = [{"jobExecutionId": name, "status": "COMPLETED"} for name in "abc"]
        return httpx.Response(200, json={"list": runs})
    return httpx.Response(200, json={"jobExecutionId": path[-1], "status": "COMPLETED"})


async def test_runs_of_a_job_share_a_watch_and_each_is_reported():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return completed(request)

    made, heard = service(answer, "https://gw.example.com"), {name: Heard() for name in "abc"}
    for name, listener in heard.items():
        made.follow("job", name, listener)
    async with asyncio.timeout(10):
        await asyncio.gather(*(listener.over.wait() for listener in heard.values()))

    assert asked == ["/api/v1/jobs/job/executions"]
    assert [listener.said for listener in heard.values()] == [["COMPLETED"]] * 3


async def test_each_job_has_a_watch_and_a_new_one_once_its_runs_are_over():
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return completed(request)

    made = service(answer, "https://gw.example.com")
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


async def test_a_run_after_a_cancelled_watch_gets_a_new_watch():
    hold = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await hold.wait()
        return completed(request)

    made, first, second = service(answer, "https://gw.example.com"), Heard(), Heard()  # type: ignore[arg-type]
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
    made, heard = service(lambda request: answer(request), "http://127.0.0.1:1"), Heard()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.port == 1:
            made.move(ServiceAddress("http://127.0.0.1:2", "other", SecretStr("other")))
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
async def test_objects_are_where_the_target_keeps_them(endpoint, folder, answer, kind, asked, tmp_path):
    requests: list[httpx.Request] = []
    (tmp_path / "objects").mkdir()
    (tmp_path / "service.json").write_text('{"endpoint": "http://127.0.0.1:1"}')
    lock = try_lock(tmp_path / "service.lock")
    assert lock is not None
    if "objects" in answer:
        answer = {"objects": str(tmp_path / "objects")}

    def answer_folder(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=answer)

    made = service(answer_folder, endpoint, objects=Path(folder) if folder else None)

    first, second = await made.objects(), await made.objects()
    os.close(lock)

    assert type(first) is kind
    assert first is second
    assert len(requests) == asked


async def test_a_folder_that_a_stranger_names_is_refused(tmp_path):
    made = service(lambda _: httpx.Response(200, json={"objects": str(tmp_path)}), "http://127.0.0.1:1")

    with pytest.raises(DataflowError, match=r"names .* as its object folder, but that is no object folder"):
        await made.objects()


async def test_the_repr_and_attributes_of_a_service_contain_no_secret():
    made = service(completed, "https://gw.example.com")

    assert SECRET not in f"{made!r} {vars(made)}"


async def test_progress_is_requested_ten_times_a_second_at_most():
    asked: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/local/v1/jobs/job000000001/executions/run000000001/progress"
        asked.append(asyncio.get_running_loop().time())
        fields = {"stagesDone": 1, "stagesTotal": 2, "tasksDone": 3, "tasksTotal": 4, "tasksFailed": 5}
        return httpx.Response(200, json=fields | {"running": [{"name": "count at daily.py:7"}]})

    local = service(answer, "http://127.0.0.1:1")
    progress = await asyncio.gather(*(local.progress("job000000001", "run000000001") for _ in range(4)))

    assert progress == [Progress(1, 2, 3, 4, 5, "count at daily.py:7")] * 4
    assert asked[-1] - asked[0] >= 0.29


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json={"stagesDone": None})])
async def test_progress_is_none_where_the_service_does_not_report_it(answer):
    local = service(lambda _: answer, "http://127.0.0.1:1")

    assert await local.progress("job000000001", "run000000001") is None


async def test_the_cloud_is_not_asked_for_progress():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    assert await service(refuse, "https://x").progress("job000000001", "run000000001") is None


# The pool


LOCAL = Target("local", "local", "", "", SecretStr(""), "asked for")


class Machine:
    """Resolves targets and attaches to a local service as a machine does whose keys and services change."""

    def __init__(self) -> None:
        self.key = "first"
        self.port = 1
        self.is_missing = False
        self._readers: list[int] = []

    def cloud(self) -> Target:
        return Target("cloud", "cloud", "https://gw.example.com", self.key, SecretStr(SECRET), "environment")

    def resolve(self, name: str | None, _profile: str | None) -> Target:
        if self.is_missing:
            raise ConfigError("no credentials")
        return LOCAL if name == "local" else self.cloud()

    def attach(self) -> ServiceAddress:
        reader, hold = os.pipe()
        self._readers.append(reader)
        return ServiceAddress(f"http://127.0.0.1:{self.port}", "key", SecretStr(SECRET), Path("/data"), hold)

    def held(self) -> list[bool]:
        """For each time the local service was attached to, whether it is still held."""
        return [not is_ready(reader) for reader in self._readers]

    def close(self) -> None:
        for reader in self._readers:
            os.close(reader)


@pytest.fixture
def machine():
    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture
def pool(machine):
    pool = ServicePool(machine.resolve, machine.attach)
    yield pool
    pool.release()


async def test_a_target_has_one_service_whatever_the_source_of_its_keys(pool, machine):
    service = pool.connect(machine.cloud())
    from_profile = Target("cloud", "cloud", "https://gw.example.com", "first", SecretStr(SECRET), "profile")

    assert pool.connect(from_profile) is service
    assert pool.connect(LOCAL) is not service
    assert pool.known(from_profile) is service


async def test_a_target_that_was_never_used_is_not_known(pool, machine):
    assert pool.known(machine.cloud()) is None
    assert pool.known(LOCAL) is None
    assert machine.held() == []


async def test_other_keys_of_a_target_give_its_service_another_client(pool, machine):
    service = pool.connect(machine.cloud())
    first = service.client
    assert pool.connect(machine.cloud()).client is first

    machine.key = "second"

    assert pool.connect(machine.cloud()) is service
    assert service.client is not first


async def test_each_use_of_the_local_service_takes_a_new_hold_and_releases_the_last(pool, machine):
    service = pool.connect(LOCAL)
    first = service.client
    assert pool.connect(LOCAL).client is first
    assert machine.held() == [False, True]

    machine.port = 2
    assert pool.connect(LOCAL).endpoint == "http://127.0.0.1:2"
    assert machine.held() == [False, False, True]

    pool.release()
    assert machine.held() == [False, False, False]


async def test_a_refresh_finds_a_local_service_that_moved(pool, machine):
    service = pool.connect(LOCAL)
    machine.port = 2

    service.refresh()
    async with asyncio.timeout(10):
        while service.endpoint != "http://127.0.0.1:2":  # noqa: ASYNC110 - a thread moves it
            await asyncio.sleep(0.001)


async def test_a_refresh_that_finds_nothing_is_tried_again_by_the_next(pool, machine):
    service = pool.connect(machine.cloud())
    first = service.client
    machine.is_missing = True
    service.refresh()
    await asyncio.sleep(0.05)
    assert service.client is first

    machine.is_missing, machine.key = False, "second"
    async with asyncio.timeout(10):
        while service.client is first:
            service.refresh()
            await asyncio.sleep(0.001)


async def test_a_closed_pool_connects_to_nothing(pool, machine):
    assert pool.close()
    assert not pool.close()

    with pytest.raises(DataflowError, match="the extension was unloaded; the run itself continues"):
        pool.connect(machine.cloud())
