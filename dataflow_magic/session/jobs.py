"""The job behind a name: finds it, finds the job of a run, and writes a job with its script. Starts no run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dataflow_magic.cell.script import object_key
from dataflow_magic.client.objects import Objects
from dataflow_magic.errors import BadParameter, CellError, NotFound, suggestion
from dataflow_magic.models.request import JobRef, ScriptRequest
from dataflow_magic.models.wire import Job, JobCondition, JobExecution, Page

__all__ = ["JobReader", "JobWriter", "Published", "find_job", "find_run_on", "publish"]

PAGES_OF_JOBS = 20
"""Of the jobs that a service lists for one name."""
LIMIT = 1000
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,99}")
"""A job's name, by the createJob page."""


class JobReader(Protocol):
    """What `find_job` needs of a client."""

    async def get_job(self, job_id: str) -> Job:
        """Return one job."""

    async def list_jobs(self, *, name: str | None = None, page: int = 0, limit: int = 1000) -> Page[Job]:
        """Return one page of jobs."""


class RunFinder(JobReader, Protocol):
    """What `find_run_on` needs of a client."""

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        """Return one run."""


class JobWriter(JobReader, Protocol):
    """What `publish` needs of a client."""

    async def create_job(self, name: str, *, condition: JobCondition) -> Job:
        """Store a job."""

    async def update_job(self, job_id: str, *, type: str, condition: JobCondition) -> Job:  # noqa: A002
        """Lay a condition over that of a job."""


async def find_job(client: JobReader, ref: JobRef) -> Job:
    """Return the job with this id, or else with exactly this name.

    Raises
    ------
    NotFound
        No job has it; the message suggests the nearest name.
    CellError
        Several jobs have the name; the message lists their ids.
    """
    if ref.may_be_id:
        try:
            return await client.get_job(ref.text)
        except NotFound:
            if ref.kind == "id":
                raise
    named = await _named(client, ref.text)
    if len(named) == 1:
        # The list may leave out fields, so the condition is read from the job itself.
        return await client.get_job(named[0].job_id)
    if named:
        ids = ", ".join(job.job_id for job in named)
        raise CellError(f"{len(named)} jobs are named {ref.text!r}; choose one by id:... ({ids})")
    known = [job.name for job in (await client.list_jobs()).items]
    near = suggestion(ref.text, known)
    raise NotFound(f"no job is named {ref.text!r}{near}; %dataflow_jobs lists them", status=404)


async def find_run_on(client: RunFinder, run_id: str, ref: JobRef | None = None) -> tuple[JobExecution, Job]:
    """Return a run that the service knows, and its job.

    Parameters
    ----------
    ref
        The run's job; without it each of the target's jobs is asked, since no call finds a run by its id alone.

    Raises
    ------
    NotFound
        The job, or none of the first 1,000 jobs, has the run.
    """
    jobs = (await client.list_jobs()).items if ref is None else [await find_job(client, ref)]
    for job in jobs:
        try:
            return await client.get_execution(job.job_id, run_id), job
        except (NotFound, BadParameter):  # the pages do not say how a service refuses a malformed id
            continue
    where = f"job {ref.text!r}" if ref else f"any of {len(jobs)} jobs; name the run's job with --job JOB"
    raise NotFound(f"no run {run_id!r} in {where}", status=404)


async def _named(client: JobReader, name: str) -> list[Job]:
    """Return the jobs with exactly this name; the pages do not say how a service narrows its list by name."""
    found: list[Job] = []
    for number in range(PAGES_OF_JOBS):
        page = await client.list_jobs(name=name, page=number, limit=LIMIT)
        found += [job for job in page.items if job.name == name]
        if page.is_last(LIMIT):
            break
    return found


# Writing


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` did.

    Parameters
    ----------
    key
        ``bucket/key`` of the script.
    size
        Bytes of the script.
    is_written
        False where the storage had the same bytes already.
    change
        What happened to the job.
    """

    job: Job
    key: str
    size: int
    is_written: bool
    change: Literal["created", "updated", "unchanged"]

    def in_words(self, target: str) -> str:
        """Return it as one line."""
        place, size = f"s3a://{self.key}", f"{self.size:,} bytes"
        script = f"wrote {size} to {place}" if self.is_written else f"{place} is unchanged ({size})"
        return f"{script}; job {self.job.name} ({self.job.job_id}) {self.change} on {target}"


async def publish(
    client: JobWriter,
    objects: Objects,
    request: ScriptRequest,
    *,
    seen: MutableMapping[str, str],
    defaults: JobCondition,
) -> Published:
    """Write a job's script, then create the job or change its condition to what the request asks for.

    Parameters
    ----------
    seen
        By key, a digest of the script this process last wrote or found there; updated here.
    defaults
        The condition of a new job, below what the request sets.

    Raises
    ------
    CellError
        Nothing was written: the job is VISUAL, a new job lacks part of its condition or has a bad name, or the storage
        has a script that this process neither wrote nor saw.
    DataflowError
        The script cannot be written; or it is written, and the service refused the job.
    """
    job = await _find(client, request)
    condition = request.condition.over(job.condition if job else defaults)
    name = job.name if job else request.job.text
    _check(request, job, condition)
    key = object_key(condition.script_path or "", name)
    is_written = await _write(objects, key, request, seen)
    change: Literal["created", "updated", "unchanged"] = "unchanged"
    if job is None:
        job, change = await client.create_job(name, condition=condition), "created"
    elif _fields(condition) != _fields(job.condition):
        await client.update_job(job.job_id, type=job.type or "SCRIPT", condition=condition)
        change = "updated"
        if condition.script_path != job.condition.script_path:
            # By the vendor's pages the service moves the job's former script to the new path, over this one.
            is_written |= await _write(objects, key, request, seen, force=True)
    return Published(job, key, len(request.content), is_written, change)


async def _find(client: JobReader, request: ScriptRequest) -> Job | None:
    try:
        return await find_job(client, request.job)
    except NotFound:
        if request.job.kind == "id":
            raise
        return None


def _check(request: ScriptRequest, job: Job | None, condition: JobCondition) -> None:
    name = request.job.text
    if job is not None and job.type == "VISUAL":
        raise CellError(f"job {job.name} is a VISUAL job and has no script; choose another name")
    if job is None and not NAME.fullmatch(name):
        raise CellError(
            f"no job is named {name!r}, and a new one cannot be: a job name has 3 to 100 letters, digits, '-' or '_', and "
            "starts with a letter or '_'"
        )
    required = {"--script-path": condition.script_path}
    if job is None:
        required |= {"--log-path": condition.log_path, "--nrn": condition.nrn}
    missing = [option for option, value in required.items() if not value]
    if missing:
        why = (
            f"job {job.name} stores none"
            if job
            else f"no job is named {name!r} yet, and a new one needs them"
        )
        raise CellError(f"{', '.join(missing)}: {why}; add to the line")


async def _write(
    objects: Objects, key: str, request: ScriptRequest, seen: MutableMapping[str, str], *, force: bool = False
) -> bool:
    """Write the script unless the storage has it; return whether it was written."""
    there = await objects.read(key)
    if there != request.content:
        if there is not None and seen.get(key) != _digest(there) and not (request.force or force):
            raise CellError(
                f"s3a://{key} holds another script, which this kernel neither wrote nor saw; nothing was written "
                "(--force overwrites it)"
            )
        await objects.put(key, request.content)
    seen[key] = _digest(request.content)
    return there != request.content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fields(condition: JobCondition) -> dict[str, Any]:
    return {name: value for name, value in condition.to_wire().items() if value is not None}
