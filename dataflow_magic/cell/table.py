"""``%dataflow_runs``: its line becomes a `Listing`, which selects rows and columns. Pure."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dataflow_magic.cell.line import LineParser, parse_job_ref
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.ledger.record import RunRecord, microseconds
from dataflow_magic.models.request import JobRef
from dataflow_magic.models.wire import KST, RunState

__all__ = ["Listing", "add_options", "limit", "listing_of", "make_listing", "parse_listing", "parser"]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Listing:
    """Which runs a table shows, and which of their columns. A part that is None selects everything.

    Parameters
    ----------
    everywhere
        Whether to show all runs of this machine instead of those of this kernel.
    remote
        The job whose runs to request from the service instead.
    target
        Where to request them.
    job
        Name or id of a job.
    statuses
        In capitals.
    since
        Earliest time of submission, aware.
    limit
        Number of runs: the newest.
    columns
        In the order to show them.
    """

    everywhere: bool = False
    remote: JobRef | None = None
    target: str | None = None
    job: str | None = None
    statuses: frozenset[str] | None = None
    since: datetime | None = None
    limit: int | None = None
    columns: tuple[str, ...] | None = None

    def of(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """Return the selected records, the newest first."""
        since = None if self.since is None else microseconds(self.since)
        found = [
            record
            for record in records
            if (self.job is None or self.job in (record.job, record.job_id))
            and (self.statuses is None or record.status.upper() in self.statuses)
            and (since is None or record.submitted >= since)
        ]
        found.reverse()  # of runs of one moment, the last is the newest
        return sorted(found, key=lambda record: record.submitted, reverse=True)[: self.limit]

    def notes(self, records: Iterable[RunRecord]) -> list[str]:
        """Return a line for each job or state that selects no record but nearly names one."""
        records = list(records)
        jobs = {name for record in records for name in (record.job, record.job_id)}
        states = {*map(str, RunState), *(record.status.upper() for record in records)}
        asked = [("in state", word, states) for word in sorted(self.statuses or ())]
        if self.job is not None:
            asked.append(("of job", self.job, jobs))
        return [
            f"no run {what} {word!r}{near}"
            for what, word, known in asked
            if word not in known and (near := suggestion(word, sorted(known)))
        ]

    def pick(self, known: Iterable[str]) -> list[str] | None:
        """Return the columns to show, None for all.

        Raises
        ------
        CellError
            The table has no such column.
        """
        names = list(known)
        for name in self.columns or ():
            if name not in names:
                raise CellError(
                    f"no column {name!r}{suggestion(name, names)}; %dataflow_runs shows all columns"
                )
        return None if self.columns is None else list(self.columns)


def parse_listing(line: str, now: datetime) -> Listing:
    """Read the line.

    Parameters
    ----------
    now
        Aware; ``--since 7d`` counts from it.

    Raises
    ------
    CellError
        Something in the line is wrong.
    HelpRequested
        The line asks for help.
    """
    return listing_of(parser().read(line), now)


def listing_of(options: Namespace, now: datetime) -> Listing:
    """Return what the options of `add_options` ask for; raises as `parse_listing`."""
    return Listing(
        everywhere=options.all,
        remote=None if options.remote is None else parse_job_ref(options.remote),
        target=options.target,
        job=options.job,
        statuses=None if options.status is None else _statuses(options.status),
        since=None if options.since is None else _since(options.since, now),
        limit=options.limit,
        columns=None if options.columns is None else tuple(options.columns.split(",")),
    )


def make_listing(
    now: datetime,
    *,
    everywhere: bool,
    job: str | None,
    status: str | Iterable[str] | None,
    since: str | datetime | timedelta | None,
    remote: str | None,
    limit: int | None,
) -> Listing:
    """Return what the arguments of `dataflow_magic.runs` select.

    Raises
    ------
    CellError
        A value selects nothing sensible.
    """
    if limit is not None and limit < 0:
        raise CellError(f"limit={limit} is not a number of runs")
    if isinstance(since, timedelta):
        since = now - since
    elif isinstance(since, str):
        since = _since(since, now, "since")
    return Listing(
        everywhere=everywhere,
        remote=None if remote is None else parse_job_ref(remote),
        job=job,
        statuses=None if status is None else _statuses(status),
        since=since if since is None or since.tzinfo else since.replace(tzinfo=KST),
        limit=limit,
    )


def _statuses(status: str | Iterable[str]) -> frozenset[str]:
    names = status.split(",") if isinstance(status, str) else status
    return frozenset(name.upper() for name in names)


def parser() -> LineParser:
    """Return the parser of the line."""
    parser = LineParser(
        "%dataflow_runs", "[options]", "Return the runs of this kernel as a DataFrame, newest first."
    )
    add_options(parser)
    parser.add_argument("--columns", metavar="NAMES", help="only these columns, separated by commas")
    return parser


def add_options(parser: LineParser) -> None:
    """Add the options that select runs."""
    add = parser.add_argument
    add("--all", action="store_true", help="all runs of this machine, from its ledger")
    add("--remote", metavar="JOB", help="all runs of a job that the service lists")
    add("--target", metavar="TARGET", help="with --remote: cloud, local, the name of a profile, or a URL")
    add("--job", metavar="JOB", help="only runs of this job, by its name or id")
    add("--status", metavar="STATUS", help="only runs in this state; separate several with commas")
    add(
        "--since",
        metavar="WHEN",
        help="only runs submitted since then: 30m, 12h, 7d, 2w, or 2026-11-01 (Korean time)",
    )
    add("--limit", type=limit, metavar="N", help="only the N newest runs")


def _since(text: str, now: datetime, name: str = "--since") -> datetime:
    try:
        if span := re.fullmatch(r"([0-9]{1,6})([smhdw])", text):
            return now - timedelta(**{UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise CellError(f"{name} {text!r} is not a time; write 30m, 12h, 7d, 2w or 2026-11-01") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=KST)


def limit(text: str) -> int:
    """Return the value of an option that takes a number of things.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is not one.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ArgumentTypeError(f"{text!r} is not a number of runs")
    return int(text)
