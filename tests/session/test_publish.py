"""What `publish` does in which order and what it refuses, against a service and a storage that record changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from dataflow_magic.cell.line import parse_job_ref
from dataflow_magic.errors import CellError, DataflowError, NotFound, ServiceBroken
from dataflow_magic.models.request import JobRef, ScriptRequest
from dataflow_magic.models.wire import Job, JobCondition, Page
from dataflow_magic.session.scripts import Published, publish, read_script
from tests.client.test_objects import SECRET, cloud, storage

pytestmark = pytest.mark.anyio

STORED = JobCondition(num_worker=2, timeout=30, nrn="n", script_path="b/s/", log_path="b/l/")
OLD, NEW = b"print('old')\n", b"print('new')\n"


@dataclass
class World:
    """A service and its storage; ``done`` is what changed them, in order."""

    jobs: list[Job] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    moves_scripts: bool = False
    is_broken: bool = False

    async def get_job(self, job_id: str) -> Job:
        for job in self.jobs:
            if job.job_id == job_id:
                return job
        raise NotFound("no such job", status=404)

    async def list_jobs(self, *, name: str | None = None, page: int = 0, limit: int = 1000) -> Page[Job]:
        return Page(list=[job for job in self.jobs if name in (None, job.name)], page=page, limit=limit)

    async def create_job(self, name: str, *, condition: JobCondition) -> Job:
        if self.is_broken:
            raise ServiceBroken("it failed", status=500)
        self.done.append(f"create {name} {condition.to_wire()}")
        self.jobs.append(Job(job_id="new000000001", name=name, type="SCRIPT", run_condition=condition))
        return self.jobs[-1]

    async def update_job(self, job_id: str, *, type: str, condition: JobCondition) -> Job:  # noqa: A002
        self.done.append(f"update {job_id} {type} {condition.to_wire()}")
        if self.moves_scripts:
            self.objects[condition.script_path or ""] = self.objects["b/s/job.py"]
        return await self.get_job(job_id)

    async def tail(self, path: str, most: int) -> bytes:
        return self.objects[path][-most:]

    async def read(self, path: str) -> bytes | None:
        return self.objects.get(path)

    async def put(self, path: str, content: bytes) -> None:
        self.done.append(f"put {path}")
        self.objects[path] = content

    async def publish(
        self,
        content: bytes = NEW,
        *,
        job: str = "job",
        force: bool = False,
        defaults: JobCondition | None = None,
        **condition: object,
    ) -> Published:
        request = ScriptRequest(
            parse_job_ref(job), content, JobCondition.model_validate(condition), force=force
        )
        return await publish(self, self, request, seen=self.seen, defaults=defaults or JobCondition())


def with_job(kind: str | None = "SCRIPT", condition: JobCondition = STORED, **objects: bytes) -> World:
    job = Job(job_id="job000000001", name="job", type=kind, run_condition=condition)
    return World([job], {f"b/s/{name}.py": content for name, content in objects.items()})


async def refused(world: World, content: bytes = NEW, **options: object) -> str:
    objects = dict(world.objects)
    with pytest.raises(CellError) as caught:
        await world.publish(content, **options)  # type: ignore[arg-type]
    assert (world.done, world.objects) == ([], objects), "nothing was done"
    return str(caught.value)


async def test_a_new_job_is_created_after_its_script_was_written():
    world = World()
    published = await world.publish(defaults=STORED, num_worker=4)

    assert world.done == [
        "put b/s/job.py",
        "create job {'numWorker': 4, 'timeout': 30, 'nrn': 'n', 'scriptPath': 'b/s/', 'logPath': 'b/l/'}",
    ]
    assert published.in_words("local") == (
        "wrote 13 bytes to s3a://b/s/job.py; job job (new000000001) created on local"
    )


async def test_after_a_refused_job_the_cell_can_be_run_again():
    world = World(is_broken=True)
    with pytest.raises(DataflowError, match="it failed"):
        await world.publish(defaults=STORED)
    world.is_broken = False
    published = await world.publish(defaults=STORED)

    assert (published.is_written, published.change) == (False, "created")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "--script-path, --log-path, --nrn: no job is named 'job' yet, and a new one needs them; add to the line"),
        ({"script_path": "b/s/", "nrn": "n"}, "--log-path: no job is named 'job' yet, and a new one needs them; add to the line"),
        ({"job": "my-first job"}, "no job is named 'my-first job', and a new one cannot be: a job name has 3 to 100 letters, digits, '-' or '_', and starts with a letter or '_'"),
    ],
    ids=["without anything", "without one", "with a bad name"],
)  # fmt: skip
async def test_a_new_job_needs_a_name_and_its_whole_condition(given, said):
    assert await refused(World(), **given) == said


async def test_an_unknown_id_creates_no_job():
    with pytest.raises(NotFound, match="no such job"):
        await World().publish(job="id:abc", defaults=STORED)


async def test_of_several_jobs_of_the_name_none_is_guessed():
    world = World([Job(job_id="a", name="job"), Job(job_id="b", name="job")])

    assert await refused(world) == "2 jobs are named 'job'; choose one by id:... (a, b)"


async def test_a_changed_script_alone_does_not_update_the_job():
    world = with_job()
    first = await world.publish(OLD)
    again = await world.publish(OLD, timeout=30)
    second = await world.publish(NEW, job="id:job000000001")

    assert world.done == ["put b/s/job.py", "put b/s/job.py"]
    assert [(each.is_written, each.change) for each in (first, again, second)] == [
        (True, "unchanged"),
        (False, "unchanged"),
        (True, "unchanged"),
    ]
    assert again.in_words("cloud") == (
        "s3a://b/s/job.py is unchanged (13 bytes); job job (job000000001) unchanged on cloud"
    )


async def test_a_changed_condition_is_laid_over_the_stored_one_after_the_script_was_written():
    world = with_job(kind=None, condition=STORED.model_copy(update={"worker_type": None}))
    published = await world.publish(num_worker=8)

    assert world.done == [
        "put b/s/job.py",
        "update job000000001 SCRIPT {'numWorker': 8, 'timeout': 30, 'nrn': 'n', 'scriptPath': 'b/s/', 'logPath': 'b/l/'}",
    ]
    assert published.change == "updated"


@pytest.mark.parametrize("moves", [True, False], ids=["moves scripts", "leaves scripts"])
async def test_the_script_is_at_its_new_path_even_if_the_service_moves_the_old_one(moves):
    world = with_job(job=OLD)
    world.moves_scripts = moves
    published = await world.publish(NEW, script_path="b/other/main.py")

    assert world.objects == {"b/s/job.py": OLD, "b/other/main.py": NEW}
    assert (published.key, published.is_written, published.change) == ("b/other/main.py", True, "updated")


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (with_job(kind="VISUAL"), "job job is a VISUAL job and has no script; choose another job"),
        (with_job(condition=JobCondition()), "--script-path: job job stores none; add to the line"),
        (
            with_job(job=OLD),
            "s3a://b/s/job.py holds another script, which this notebook neither wrote nor read; nothing was written. "
            "%dataflow_script job --edit puts it into a cell, --force overwrites it:\n"
            "--- stored\n+++ this cell\n@@ -1 +1 @@\n-print('old')\n+print('new')",
        ),
    ],
    ids=["a visual job", "no place", "another program's script"],
)
async def test_a_script_that_is_refused_changes_nothing(world, said):
    assert await refused(world) == said


async def test_a_script_of_another_program_is_overwritten_only_by_force():
    world = with_job()
    await world.publish(OLD)
    world.objects["b/s/job.py"] = b"theirs"
    world.done.clear()

    assert "holds another script" in await refused(world)
    assert (await world.publish(NEW, force=True)).is_written
    assert (await world.publish(OLD)).is_written, "it is ours again"


@pytest.mark.parametrize(
    ("stored", "end"),
    [
        (b"x = 1\r\n" + NEW, "-x = 1\n print('new')"),
        (NEW.replace(b"\n", b"\r\n"), "the two differ only in their line ends"),
        (b"\x07\tx\n\xff\n", "-␇  x\n-�\n+print('new')"),
        (b"#\n" * 100, "-#\n" * 37 + "... 64 lines more"),
        (b"#" * 200_000, "it has 200,000 bytes, the cell has 13"),
    ],
    ids=["lines", "line ends", "hostile", "many lines", "many bytes"],
)
async def test_a_refusal_shows_the_difference_in_few_printable_lines(stored, end):
    assert (await refused(with_job(job=stored))).endswith(end)


async def test_a_script_that_this_notebook_read_is_overwritten():
    world = with_job(job=OLD)
    script = await read_script(world, world, JobRef("job"), seen=world.seen)

    assert (script.key, script.text) == ("b/s/job.py", "print('old')")
    assert (await world.publish(NEW)).is_written


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (with_job(), "job job has no script: there is no object s3a://b/s/job.py"),
        (with_job(kind="VISUAL"), "job job is a VISUAL job and has no script; choose another job"),
        (with_job(condition=JobCondition()), "job job stores no script path, so it has no script"),
        (with_job(job=b"x\xff"), "s3a://b/s/job.py is not text in UTF-8 (byte 1), so it is not shown"),
    ],
    ids=["no object", "a visual job", "no path", "no text"],
)
async def test_a_script_that_cannot_be_shown_is_an_error_with_the_reason(world, said):
    with pytest.raises(CellError) as refused:
        await read_script(world, world, JobRef("job"), seen=world.seen)

    assert (str(refused.value), world.seen) == (said, {})


async def test_a_script_that_this_notebook_found_is_overwritten():
    world = with_job(job=OLD)

    assert not (await world.publish(OLD)).is_written
    assert (await world.publish(NEW)).is_written


async def test_a_script_goes_to_cloud_storage_before_its_job_and_no_error_contains_the_secret():
    with storage() as server:
        world = with_job(condition=STORED.model_copy(update={"script_path": "bucket/logs/"}))
        request = ScriptRequest(JobRef("job"), NEW, JobCondition(num_worker=3))
        published = await publish(world, cloud(server), request, seen={}, defaults=JobCondition())

        assert server.objects == {"/bucket/logs/job.py": NEW}
        assert [each.split()[0] for each in world.done] == ["update"]
        assert published.is_written

        server.objects["/bucket/logs/job.py"] = 403
        with pytest.raises(DataflowError) as refused:
            await publish(world, cloud(server), request, seen={}, defaults=JobCondition())
        assert SECRET not in str(refused.value)
        assert len(world.done) == 1
