"""The job behind a name, and the job of a run. Changes nothing and starts no run."""

from __future__ import annotations

from typing import Protocol

from dataflow_magic.errors import BadParameter, CellError, NotFound, suggestion
from dataflow_magic.models.request import JobRef
from dataflow_magic.models.wire import Job, JobExecution, Page

__all__ = ["JobReader", "find_job", "find_run_on"]

PAGES_OF_JOBS = 20
"""Of the jobs that a service lists for one name."""
LIMIT = 1000


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
    if ref:
        raise NotFound(f"no run {run_id!r} in job {ref.text!r}", status=404)
    raise NotFound(
        f"no run {run_id!r} in any of {len(jobs)} jobs; %dataflow_attach {run_id} JOB asks one job",
        status=404,
    )


async def _named(client: JobReader, name: str) -> list[Job]:
    """Return the jobs with exactly this name; the pages do not say how a service narrows its list by name."""
    found: list[Job] = []
    for number in range(PAGES_OF_JOBS):
        page = await client.list_jobs(name=name, page=number, limit=LIMIT)
        found += [job for job in page.items if job.name == name]
        if page.is_last(LIMIT):
            break
    return found
