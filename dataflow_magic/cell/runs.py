"""What ``%dataflow_runs`` asks for: its line to a `Listing`, and which rows pass. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dataflow_magic.cell.run import LineParser, parse_job_ref
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.ledger.record import RunRecord, microseconds
from dataflow_magic.models.request import JobRef
from dataflow_magic.models.wire import KST, RunState

__all__ = ["Listing", "listing_help", "listing_option_strings", "parse_listing"]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Listing:
    """Which runs a table is to show, and what of them; a part that is None leaves nothing out.

    Parameters
    ----------
    everywhere
        Every run of this machine instead of this kernel's.
    remote
        The job whose runs the service is asked for instead.
    job
        A job's name or id.
    statuses
        In capitals.
    since
        Runs submitted at or after it, aware.
    limit
        At most so many, the newest.
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
        """Return those of the records that pass, in their order."""
        since = None if self.since is None else microseconds(self.since)
        found = [
            record
            for record in records
            if (self.job is None or self.job in (record.job, record.job_id))
            and (self.statuses is None or record.status.upper() in self.statuses)
            and (since is None or record.submitted >= since)
        ]
        if self.limit is None or len(found) <= self.limit:
            return found
        newest = sorted(range(len(found)), key=lambda place: found[place].submitted)[
            len(found) - self.limit :
        ]
        return [found[place] for place in sorted(newest)]

    def notes(self, records: Iterable[RunRecord]) -> list[str]:
        """Return a line for each job or state that is asked for and of no record, while another has nearly that name."""
        records = list(records)
        jobs = dict.fromkeys(name for record in records for name in (record.job, record.job_id))
        states = dict.fromkeys([*map(str, RunState), *(record.status.upper() for record in records)])
        asked = [(word, "is in state", states) for word in sorted(self.statuses or ())]
        if self.job is not None:
            asked.append((self.job, "is of job", jobs))
        return [
            f"no run here {what} {word!r}{near}"
            for word, what, known in asked
            if word not in known and (near := suggestion(word, known))
        ]

    def pick(self, known: Iterable[str]) -> list[str] | None:
        """Return the columns to show, None for all.

        Raises
        ------
        CellError
            One is none of those there are.
        """
        names = list(known)
        for name in self.columns or ():
            if name not in names:
                raise CellError(
                    f"there is no column {name!r}{suggestion(name, names)}; %dataflow_runs shows them"
                )
        return None if self.columns is None else list(self.columns)


def parse_listing(line: str, now: datetime) -> Listing | None:
    """Read the line of ``%dataflow_runs``; None when it asks for help.

    Parameters
    ----------
    now
        Aware; what ``--since 7d`` counts from.

    Raises
    ------
    CellError
        One line saying what is wrong.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise CellError(f"the line does not split: {error}") from None
    parser = _parser()
    options, unknown = parser.parse_known_args(words)
    if unknown:
        known = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
        raise CellError(
            f"unknown option {unknown[0]!r}{suggestion(unknown[0], known)}; see %dataflow_runs --help"
        )
    if options.help:
        return None
    return Listing(
        everywhere=options.all,
        remote=None if options.remote is None else parse_job_ref(options.remote),
        target=options.target,
        job=options.job,
        statuses=None if options.status is None else frozenset(options.status.upper().split(",")),
        since=None if options.since is None else _since(options.since, now),
        limit=None if options.limit is None else _limit(options.limit),
        columns=None if options.columns is None else tuple(options.columns.split(",")),
    )


def listing_help() -> str:
    """Return the help of ``%dataflow_runs``, made from the options themselves."""
    return _parser().format_help()


def listing_option_strings() -> list[str]:
    """Return every long option of ``%dataflow_runs``, in the order of its help."""
    return _parser().flags()


def _parser() -> LineParser:
    parser = LineParser(
        "%dataflow_runs",
        usage="%%dataflow_runs [options]",
        description="Runs as a DataFrame: those of this kernel, oldest first.",
    )
    add = parser.add_argument
    add("--all", action="store_true", help="every run of this machine, from its ledger")
    add("--remote", metavar="JOB", help="every run the service lists of a job, in its order")
    add("--target", metavar="TARGET", help="with --remote: cloud, local, a profile's name or a URL")
    add("--job", metavar="JOB", help="only runs of this job, by name or id")
    add("--status", metavar="STATUS", help="only runs in this state; several with commas")
    add(
        "--since",
        metavar="WHEN",
        help="only runs submitted since: 30m, 12h, 7d, 2w, or 2026-11-01 (Korean time)",
    )
    add("--limit", metavar="N", help="at most the N newest")
    add("--columns", metavar="NAMES", help="these columns, with commas")
    add("--help", "-h", action="store_true", help="show this")
    return parser


def _since(text: str, now: datetime) -> datetime:
    try:
        if span := re.fullmatch(r"([0-9]{1,6})([smhdw])", text):
            return now - timedelta(**{UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise CellError(f"--since {text!r} is not a time; write 30m, 12h, 7d, 2w or 2026-11-01") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=KST)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise CellError(f"--limit {text!r} is not a number of runs")
    return int(text)
