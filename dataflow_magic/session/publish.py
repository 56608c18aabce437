"""Writes a job's script and makes the job, or changes its condition. Starts no run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dataflow_magic.cell.script import object_key
from dataflow_magic.client.objects import Objects
from dataflow_magic.errors import CellError, NotFound
from dataflow_magic.models.request import ScriptRequest
from dataflow_magic.models.wire import Job, JobCondition
from dataflow_magic.session.jobs import JobReader, find_job

__all__ = ["JobWriter", "Published", "publish"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,99}")
"""Of a job; the createJob page."""


class JobWriter(JobReader, Protocol):
    """What of a client is needed."""

    async def create_job(self, name: str, *, condition: JobCondition) -> Job:
        """Store a job."""

    async def update_job(self, job_id: str, *, type: str, condition: JobCondition) -> Job:  # noqa: A002
        """Lay a condition over that of a job."""


@dataclass(frozen=True, slots=True)
class Published:
    """What was done.

    Parameters
    ----------
    key
        ``bucket/key`` of the script.
    is_written
        False where it was there already, word for word.
    job_is
        What became of the job.
    """

    job: Job
    key: str
    size: int
    is_written: bool
    job_is: Literal["created", "updated", "unchanged"]

    def in_words(self, target: str) -> str:
        """Return it as one line."""
        place, size = f"s3a://{self.key}", f"{self.size:,} bytes"
        script = f"wrote {size} to {place}" if self.is_written else f"{place} is unchanged ({size})"
        return f"{script}; job {self.job.name} ({self.job.job_id}) {self.job_is} on {target}"


async def publish(
    client: JobWriter,
    objects: Objects,
    request: ScriptRequest,
    *,
    seen: MutableMapping[str, str],
    defaults: JobCondition,
) -> Published:
    """Write the script first and bring its job to what the request asks for then.

    Parameters
    ----------
    seen
        By key, a digest of what this process last wrote or found there; kept up here.
    defaults
        The job condition of a new job, under what the request sets.

    Raises
    ------
    CellError
        Nothing was written: the job has no script, a new one lacks part of its condition, or somebody else wrote the
        object.
    DataflowError
        The object cannot be written; or it is, and the service did not take the job.
    """
    job = await _find(client, request)
    condition = request.condition.over(job.condition if job else defaults)
    name = job.name if job else request.job.text
    _check(request, job, condition)
    key = object_key(condition.script_path or "", name)
    is_written = await _write(objects, key, request, seen)
    what: Literal["created", "updated", "unchanged"] = "unchanged"
    if job is None:
        job, what = await client.create_job(name, condition=condition), "created"
    elif _fields(condition) != _fields(job.condition):
        await client.update_job(job.job_id, type=job.type or "SCRIPT", condition=condition)
        what = "updated"
        if condition.script_path != job.condition.script_path:
            # The vendor's pages have the service move the script it had to the new place, over this one.
            is_written |= await _write(objects, key, request, seen, force=True)
    return Published(job, key, len(request.content), is_written, what)


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
        raise CellError(f"job {job.name} is a VISUAL job, which has no script; take another name")
    if job is None and not NAME.fullmatch(name):
        raise CellError(
            f"there is no job {name!r}, and none can be named so: 3 to 100 of A-Z a-z 0-9 _ -, the first a letter or _"
        )
    needed = {"--script-path": condition.script_path}
    if job is None:
        needed |= {"--log-path": condition.log_path, "--nrn": condition.nrn}
    missing = [option for option, value in needed.items() if not value]
    if missing:
        who = (
            f"job {job.name} stores none"
            if job
            else f"there is no job {name!r} yet, and a new one needs them"
        )
        raise CellError(f"{', '.join(missing)}: {who}; add to the line")


async def _write(
    objects: Objects, key: str, request: ScriptRequest, seen: MutableMapping[str, str], *, force: bool = False
) -> bool:
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
