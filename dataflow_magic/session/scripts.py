"""The script of a job: writes it with its job, and reads it. Starts no run."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dataflow_magic.cell.script import object_key
from dataflow_magic.client.objects import Objects
from dataflow_magic.errors import CellError, NotFound
from dataflow_magic.models.request import JobRef, ScriptRequest
from dataflow_magic.models.wire import Job, JobCondition
from dataflow_magic.session.jobs import JobReader, find_job

__all__ = ["JobWriter", "Published", "StoredScript", "publish", "read_script"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,99}")
"""A job's name, by the createJob page."""
MOST_DIFF_LINES = 40
"""Lines of a difference that a refusal shows."""
MOST_COMPARED = 1 << 17
"""Bytes of two scripts that are compared line by line: with more, a comparison may take seconds."""


class JobWriter(JobReader, Protocol):
    """What `publish` needs of a client."""

    async def create_job(self, name: str, *, condition: JobCondition) -> Job:
        """Store a job."""

    async def update_job(self, job_id: str, *, type: str, condition: JobCondition) -> Job:  # noqa: A002
        """Lay a condition over that of a job."""


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
        place = f"s3a://{self.key}"
        script = (
            f"wrote {self.size:,} bytes to {place}"
            if self.is_written
            else f"{place} is unchanged ({self.size:,} bytes)"
        )
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
        By key, a digest of the script that this notebook last wrote or read there; updated here.
    defaults
        The condition of a new job, below what the request sets.

    Raises
    ------
    CellError
        Nothing was written: the job is VISUAL, a new job lacks part of its condition or has a bad name, or the storage
        has a script that this notebook neither wrote nor read; the message shows the difference.
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


# Reading


@dataclass(frozen=True, slots=True)
class StoredScript:
    """The script of a job, as the storage has it.

    Parameters
    ----------
    key
        ``bucket/key`` of the script.
    text
        The script without its last line end.
    """

    job: Job
    key: str
    text: str


async def read_script(
    client: JobReader, objects: Objects, ref: JobRef, *, seen: MutableMapping[str, str]
) -> StoredScript:
    """Return the script of a job.

    Parameters
    ----------
    seen
        As of `publish`; the script counts as read here.

    Raises
    ------
    NotFound
        No such job.
    CellError
        The job has no script that is text.
    DataflowError
        The script cannot be read.
    """
    job = await find_job(client, ref)
    _check_kind(job)
    if not job.condition.script_path:
        raise CellError(f"job {job.name} stores no script path, so it has no script")
    key = object_key(job.condition.script_path, job.name)
    content = await objects.read(key)
    if content is None:
        raise CellError(f"job {job.name} has no script: there is no object s3a://{key}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise CellError(
            f"s3a://{key} is not text in UTF-8 (byte {error.start}), so it is not shown"
        ) from None
    seen[key] = _digest(content)
    return StoredScript(job, key, text.removesuffix("\n"))


# Work


async def _find(client: JobReader, request: ScriptRequest) -> Job | None:
    try:
        return await find_job(client, request.job)
    except NotFound:
        if request.job.kind == "id":
            raise
        return None


def _check(request: ScriptRequest, job: Job | None, condition: JobCondition) -> None:
    name = request.job.text
    if job is not None:
        _check_kind(job)
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


def _check_kind(job: Job) -> None:
    if job.type == "VISUAL":
        raise CellError(f"job {job.name} is a VISUAL job and has no script; choose another job")


async def _write(
    objects: Objects, key: str, request: ScriptRequest, seen: MutableMapping[str, str], *, force: bool = False
) -> bool:
    """Write the script unless the storage has it; return whether it was written."""
    there = await objects.read(key)
    if there != request.content:
        if there is not None and seen.get(key) != _digest(there) and not (request.force or force):
            raise CellError(
                f"s3a://{key} holds another script, which this notebook neither wrote nor read; nothing was written. "
                f"%dataflow_script {request.job.text} --edit puts it into a cell, --force overwrites it:\n"
                + _difference(there, request.content)
            )
        await objects.put(key, request.content)
    seen[key] = _digest(request.content)
    return there != request.content


def _difference(there: bytes, here: bytes) -> str:
    """Return what the cell would change in a stored script, as a unified diff."""
    if len(there) + len(here) > MOST_COMPARED:
        return f"it has {len(there):,} bytes, the cell has {len(here):,}"
    before, after = (script.decode("utf-8", "replace").splitlines() for script in (there, here))
    lines = list(difflib.unified_diff(before, after, "stored", "this cell", n=1, lineterm=""))
    if not lines:
        return "the two differ only in their line ends"
    more = [f"... {len(lines) - MOST_DIFF_LINES} lines more"] if len(lines) > MOST_DIFF_LINES else []
    return "\n".join([*(line.expandtabs(4) for line in lines[:MOST_DIFF_LINES]), *more])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fields(condition: JobCondition) -> dict[str, Any]:
    return {name: value for name, value in condition.to_wire().items() if value is not None}
