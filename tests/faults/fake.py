"""A Data Flow service in memory, written from the vendor's pages alone: bytes in, bytes out, and a record of who started what.

Shares no code with the package. `Rules` choose what the pages leave open: paging, order, lag, and what a run echoes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate
from random import Random
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

__all__ = ["ACCESS_KEY", "CONDITION", "SECRET_KEY", "FakeRun", "FakeService", "Rules", "signature"]

ACCESS_KEY = "FAKEACCESSKEY0000001"
SECRET_KEY = "fake-secret-key-of-the-fake-service-0001"
CONDITION = {
    "numWorker": 2,
    "timeout": 360,
    "nrn": "nrn:PUB:IAM::1:Role/1",
    "scriptPath": "bucket/scripts/",
    "logPath": "bucket/logs/",
}
DEFAULTS = {"numWorker": 2, "timeout": 360}
"""Of the page, for what a start leaves out."""
MOST_SKEW_SECONDS = 300.0
KOREA = timezone(timedelta(hours=9))
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


@dataclass(frozen=True)
class Rules:
    """How the service does what the pages leave open.

    Parameters
    ----------
    page_cap
        Most runs of a page, whatever is asked for; None for no cap.
    echo_limit
        The ``limit`` of a page: what was ``asked`` for, the ``cap`` that was used, or ``none``.
    count
        The ``count`` of a page: of the whole list (``total``), of the ``page``, ``missing``, or ``wrong``.
    order
        Of lists; ``unordered`` differs from request to request.
    parameters
        How a run echoes its parameters; ``empty`` is ``[]`` for ever.
    parameters_when
        ``at once``, or once the run is RUNNING; `[]` before.
    numbers
        Numbers among the parameters as they were ``sent``, all as ``text``, digits as a ``number``, or all that reads as a
        number as the ``short``est that equals it.
    names
        Names of parameters as they were ``sent``, or ``bare`` without their ``$``.
    shows_type, shows_trigger, shows_date
        Whether a run has its ``type``, its trigger and workflow, and a response its ``Date``.
    condition
        How a run echoes its condition: ``whole``, ``filled`` up with further fields, or ``missing``.
    slash
        ``logPath`` as it was ``sent``, with a slash at its ``end``, or with ``none``.
    zone
        Of dates: the offset of Korea, none, or UTC.
    ready_seconds, running_seconds
        How long a run is in these states.
    """

    page_cap: int | None = None
    echo_limit: Literal["asked", "cap", "none"] = "asked"
    count: Literal["total", "page", "missing", "wrong"] = "total"
    order: Literal["newest", "oldest", "unordered"] = "newest"
    parameters: Literal["object", "objects", "empty", "null", "missing"] = "object"
    parameters_when: Literal["at once", "running"] = "at once"
    numbers: Literal["sent", "text", "number", "short"] = "sent"
    names: Literal["sent", "bare"] = "sent"
    shows_type: bool = True
    shows_trigger: bool = True
    shows_date: bool = True
    condition: Literal["whole", "filled", "missing"] = "whole"
    slash: Literal["sent", "end", "none"] = "sent"
    zone: Literal["+09:00", "", "Z"] = "+09:00"
    ready_seconds: float = 2.0
    running_seconds: float = 30.0

    @property
    def shows_parameters(self) -> bool:
        """Whether a run shows its parameters at some time."""
        return self.parameters in {"object", "objects"}


@dataclass
class FakeRun:
    """One run.

    Parameters
    ----------
    source
        Who started it: the key of a start, or a word for somebody else.
    created
        By the service's clock, in seconds since the epoch.
    happened
        The right time of its creation.
    """

    run_id: str
    job_id: str
    source: str
    condition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    query: Mapping[str, str]
    created: float
    happened: float
    type: str = "JOB"
    canceled: float | None = None
    end: str = "COMPLETED"
    """The state it ends in, once its time has passed."""
    is_broken: bool = False
    """Whether it has failed before its time, since the service was restarted."""


@dataclass
class FakeService:
    """The service.

    Parameters
    ----------
    random
        Draws ids, orders and wrong counts.
    time
        The right time, in seconds since the epoch.
    lag_seconds
        Age at which a run shows in lists.
    moves
        Chance that an item of a list is repeated, or moved to another page, in one answer.
    ahead_seconds
        By how much the service's clock is ahead of the right time.
    collides
        Chance that a start is answered with the id of an earlier one.
    """

    random: Random
    time: Callable[[], float]
    rules: Rules = Rules()
    lag_seconds: float = 0.0
    moves: float = 0.0
    ahead_seconds: float = 0.0
    collides: float = 0.0
    runs: list[FakeRun] = field(default_factory=list)
    refused_signatures: int = 0
    collisions: set[str] = field(default_factory=set)
    """Starts that were answered with the id of another."""
    new_end: Callable[[], str] = lambda: "COMPLETED"
    """Draws the state that a new run ends in."""
    on_start: Callable[[FakeRun], None] = lambda _: None
    """Called with each run that a request has started."""
    returned: set[str] = field(default_factory=set)
    """Ids of runs that a cell knows: those of others look like a new one."""
    _jobs: dict[str, str] = field(default_factory=dict)

    def new_job(self, name: str) -> str:
        """Store a job, and return its id."""
        job_id = self._new_id()
        self._jobs[job_id] = name
        return job_id

    def clock(self) -> float:
        """Return the service's time, in seconds since the epoch."""
        return self.time() + self.ahead_seconds

    def add_run(
        self,
        job_id: str,
        source: str,
        condition: Mapping[str, Any],
        parameters: Mapping[str, Any],
        query: Mapping[str, str] | None = None,
        *,
        type: str = "JOB",  # noqa: A002 - the wire's word
    ) -> FakeRun:
        """Start a run."""
        run = FakeRun(
            self._new_id(),
            job_id,
            source,
            dict(condition),
            dict(parameters),
            dict(query or {}),
            self.clock(),
            self.time(),
            type,
            end=self.new_end(),
        )
        self.runs.append(run)
        return run

    def state(self, run: FakeRun) -> str:
        """Return the state a run is in now."""
        age = self.time() - run.happened
        if run.canceled is not None:
            return "CANCELED"
        if run.is_broken:
            return "FAILED"
        if age < self.rules.ready_seconds:
            return "READY"
        return "RUNNING" if age < self.rules.ready_seconds + self.rules.running_seconds else run.end

    def is_alive(self, run: FakeRun) -> bool:
        """Whether a run has not ended."""
        return self.state(run) in {"READY", "RUNNING"}

    def of(self, job_id: str) -> list[FakeRun]:
        """Return the runs of a job, oldest first."""
        return [run for run in self.runs if run.job_id == job_id]

    def listed(self, job_id: str) -> list[FakeRun]:
        """Return the runs of a job that lists have by now, oldest first."""
        return [run for run in self.of(job_id) if self.time() - run.happened >= self.lag_seconds]

    def answer(self, method: str, target: str, headers: bytes, body: bytes, source: str) -> bytes:
        """Return the response to a request, whose start (if it is one) has the key ``source``."""
        if not self._is_signed(method, target, headers):
            self.refused_signatures += 1
            details = {"errorCode": "200", "message": "Authentication Failed", "details": "Invalid."}
            return self._respond(401, {"error": details})
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match [method, *url.path.split("/")[1:]]:
            case ["GET", "api", "v1", "jobs", job_id] if job_id in self._jobs:
                return self._respond(
                    200, {"jobId": job_id, "name": self._jobs[job_id], "runCondition": CONDITION}
                )
            case ["GET", "api", "v1", "jobs", job_id, "executions"] if job_id in self._jobs:
                return self._respond(200, self._page(job_id, query))
            case ["POST", "api", "v1", "jobs", job_id, "executions"] if job_id in self._jobs:
                return self._start(job_id, json.loads(body), query, source)
            case ["GET", "api", "v1", "jobs", job_id, "executions", run_id]:
                run = self._find(job_id, run_id)
                return self._respond(200, self.shown(run)) if run else self._not_found()
            case ["POST", "api", "v1", "jobs", job_id, "executions", run_id, "cancel"]:
                run = self._find(job_id, run_id)
                if run is None:
                    return self._not_found()
                run.canceled = self.time()
                return self._respond(200, True)
        return self._not_found()

    def shown(self, run: FakeRun) -> dict[str, Any]:
        """Return a run as the service shows it now."""
        state = self.state(run)
        fields: dict[str, Any] = {
            "jobExecutionId": run.run_id,
            "jobId": run.job_id,
            "status": state,
            "createdDate": self._date(run.created),
            "startDate": self._date(run.created),
            "runningTime": 0,
        }
        if self.rules.condition != "missing":
            more = {"workerType": "DEFAULT"} if self.rules.condition == "filled" else {}
            fields["jobCondition"] = {**more, **run.condition, "logPath": self._path(run.condition)}
        if self.rules.shows_type:
            fields["type"] = run.type
        if self.rules.shows_trigger:
            fields |= run.query
        if state not in {"READY", "RUNNING"}:
            fields["endDate"] = self._date(self.clock())
        if self.rules.parameters != "missing":
            fields["parsedParameters"] = self._echo(run, state)
        return fields

    def _start(self, job_id: str, asked: Mapping[str, Any], query: dict[str, str], source: str) -> bytes:
        condition, parameters = asked.get("jobCondition") or {}, asked.get("parameters") or {}
        if any(not condition.get(name) for name in ("nrn", "scriptPath", "logPath")):
            return self._respond(400, {"detail": "jobCondition", "errorType": "bad-parameter"})
        others = [run for run in self.of(job_id) if run.run_id in self.returned]
        run = self.add_run(job_id, source, {**DEFAULTS, **condition}, parameters, query)
        self.on_start(run)
        fields = self.shown(run)
        if others and self.random.random() < self.collides:
            self.collisions.add(source)
            fields["jobExecutionId"] = self.random.choice(others).run_id
        return self._respond(200, fields)

    def _page(self, job_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        rules, random = self.rules, self.random
        number, asked = int(query.get("page", "0")), int(query.get("limit", "1000"))
        size = min(asked, rules.page_cap or asked) or asked
        runs = self.listed(job_id)
        if rules.order == "newest":
            runs.reverse()
        elif rules.order == "unordered":
            # In an order that has nothing to do with time, and stays the same between two pages.
            runs.sort(key=lambda run: hashlib.sha256(run.run_id.encode()).digest())
        if runs and random.random() < self.moves:
            moved = runs.pop(random.randrange(len(runs)))
            runs.insert(random.randrange(len(runs) + 1), moved)
            if random.random() < 0.5:
                runs.insert(random.randrange(len(runs)), moved)
        items = [self.shown(run) for run in runs[number * size : (number + 1) * size]]
        page: dict[str, Any] = {"list": items, "page": number}
        if rules.echo_limit != "none":
            page["limit"] = size if rules.echo_limit == "cap" else asked
        if rules.count != "missing":
            page["count"] = {
                "total": len(runs),
                "page": len(items),
                "wrong": random.choice((0, 1, len(items), len(runs) + 7, 10_000)),
            }[rules.count]
        return page

    def _echo(self, run: FakeRun, state: str) -> Any:
        rules = self.rules
        if rules.parameters == "null":
            return None
        if rules.parameters == "empty" or (state == "READY" and rules.parameters_when == "running"):
            return []
        echoed = {
            name.removeprefix("$") if rules.names == "bare" else name: _number(value, rules.numbers)
            for name, value in run.parameters.items()
        }
        return echoed if rules.parameters == "object" else [{name: value} for name, value in echoed.items()]

    def _path(self, condition: Mapping[str, Any]) -> str:
        path = str(condition.get("logPath", ""))
        if self.rules.slash == "sent":
            return path
        return path.rstrip("/") + ("/" if self.rules.slash == "end" else "")

    def _date(self, seconds: float) -> str:
        zone = UTC if self.rules.zone == "Z" else KOREA
        text = datetime.fromtimestamp(seconds, zone).replace(tzinfo=None).isoformat(timespec="seconds")
        return text + self.rules.zone

    def _find(self, job_id: str, run_id: str) -> FakeRun | None:
        return next((run for run in self.of(job_id) if run.run_id == run_id), None)

    def _not_found(self) -> bytes:
        return self._respond(404, {"detail": "no such", "errorType": "not-found"})

    def _respond(self, status: int, fields: Any) -> bytes:
        body = json.dumps(fields).encode()
        date = f"date: {formatdate(self.clock(), usegmt=True)}\r\n" if self.rules.shows_date else ""
        head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n{date}content-length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    def _is_signed(self, method: str, target: str, headers: bytes) -> bool:
        """Check signature v2 as the page on calls of the API describes it."""
        lines = (line.partition(b":") for line in headers.split(b"\r\n")[1:])
        given = {name.strip().lower(): value.strip().decode() for name, _, value in lines}
        stamp = given.get(b"x-ncp-apigw-timestamp", "")
        if given.get(b"x-ncp-iam-access-key") != ACCESS_KEY or not stamp.isdigit():
            return False
        if abs(int(stamp) / 1000 - self.clock()) > MOST_SKEW_SECONDS:
            return False
        return given.get(b"x-ncp-apigw-signature-v2") == signature(method.encode(), target.encode(), stamp)

    def _new_id(self) -> str:
        return "".join(self.random.choices(ALPHABET, k=12))


def signature(
    method: bytes, target: bytes, stamp: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
) -> str:
    """Return the signature of a request by the page on calls of the API."""
    message = method + b" " + target + f"\n{stamp}\n{access_key}".encode()
    return base64.b64encode(hmac.new(secret_key.encode(), message, hashlib.sha256).digest()).decode()


def _number(value: Any, rule: str) -> Any:
    if rule == "text" and not isinstance(value, str):
        return json.dumps(value)
    if rule == "number" and isinstance(value, str) and value.isdecimal() and str(int(value)) == value:
        return int(value)
    if rule == "short" and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            number = float(value)
            return int(number) if number.is_integer() else number
    return value
