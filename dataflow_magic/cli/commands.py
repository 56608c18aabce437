"""The commands that concern runs and jobs: what the magics do, for a terminal, cron and CI.

They start, follow and read runs by the session and the ledger of a notebook.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

from dataflow_magic import errors
from dataflow_magic.api import get_session, request_for
from dataflow_magic.card.comparison import to_text as comparison_text
from dataflow_magic.card.run.html import to_rows, to_text
from dataflow_magic.card.stages.html import to_text as stages_text
from dataflow_magic.card.stages.state import stages_state
from dataflow_magic.card.sweeps import to_lines
from dataflow_magic.card.table import to_text as table_text
from dataflow_magic.card.words import Words, words_of
from dataflow_magic.cell.block import near_names
from dataflow_magic.cell.line import CONDITION_FIELDS, HelpRequested
from dataflow_magic.cell.run import check_again
from dataflow_magic.cell.table import listing_of
from dataflow_magic.cli.completion import SCRIPTS
from dataflow_magic.cli.logs import first_lines, print_log, save_log
from dataflow_magic.cli.parsers import COMMANDS, STARTS, take_parameters
from dataflow_magic.cli.shapes import difference_shape, job_shape, row_of, run_shape, stage_shape, sweep_shape
from dataflow_magic.cli.sweeping import begin, follow, print_sweep
from dataflow_magic.cli.terminal import Terminal
from dataflow_magic.cli.values import read_parameters
from dataflow_magic.cli.waiting import Progress, wait
from dataflow_magic.config.settings import language, waits
from dataflow_magic.describe import describe, dry_run
from dataflow_magic.ledger.record import record_of
from dataflow_magic.models.text import in_columns
from dataflow_magic.models.view import KST, UNCLEAR
from dataflow_magic.models.wire import RunState
from dataflow_magic.session.detached import Detached
from dataflow_magic.session.logs.follow import log_options
from dataflow_magic.session.logs.search import Stream
from dataflow_magic.session.naming import Handle, name_of, runs_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["execute"]

FAILED, USAGE, SERVICE, UNSURE, TIMED_OUT, INTERRUPTED = 1, 2, 3, 4, 124, 130
"""Exit codes, as docs/command-line.md explains them; ``timeout`` has 124 too, and an interrupted command of a shell 130."""
CAN_STOP = "Ctrl+C stops waiting; the run continues."
CAN_STOP_ALL = "Ctrl+C stops waiting; the runs continue."
NEWEST = 20
"""Runs of a table that asks for no number."""
ANSWER_SECONDS = 5.0
"""How long a command waits for the service's states of active runs before it shows older ones."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a command works with."""

    session: Session
    terminal: Terminal
    words: Words
    environment: Mapping[str, str]

    def find(self, name: str, options: argparse.Namespace) -> LiveRun:
        """Return the run of a name, as the service knows it now."""
        handle = self.handle(name, options)
        if isinstance(handle, Sweep):
            raise errors.CellError(f"{name} is a sweep of {handle.total:,} runs; name one of its runs")
        return handle

    def handle(self, name: str, options: argparse.Namespace) -> Handle:
        """Return the run or the sweep of a name, as the service knows it now; starts nothing of a sweep."""
        place = getattr(options, "target", None), getattr(options, "profile", None)
        job = getattr(options, "job", None)
        handle = self.session.get(name, target=lambda: self.session.target(*place), job=job, carries_on=False)
        self.session.hear_of(runs_of([handle]), ANSWER_SECONDS)
        return handle


def execute(
    command: str,
    arguments: Sequence[str],
    session_of: Callable[[], Session] = get_session,
    *,
    environment: Mapping[str, str] = os.environ,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Run one command and return its exit code; an error is one line on standard error."""
    terminal = Terminal(out, err, environment=environment)
    try:
        labels = words_of(language("auto", environment))
        terminal = Terminal(out, err, environment=environment, words=labels)
        parser = COMMANDS[command][1]()
        words, given = take_parameters(parser, arguments) if command in STARTS else (arguments, [])
        options = parser.read_words(words)
        options.given = given
        terminal = Terminal(
            out, err, environment=environment, is_json=getattr(options, "json", False), words=labels
        )
        return ACTIONS[command](Context(session_of(), terminal, labels, environment), options)
    except HelpRequested as asked:
        terminal.result(str(asked))
        return 0
    except Detached as detached:
        terminal.warn(str(detached))
        return INTERRUPTED
    except errors.DataflowError as error:
        terminal.warn(str(error), begin="dataflow-magic: ")
        return _code_of(error)


def _code_of(error: errors.DataflowError) -> int:
    match error:
        case errors.CellError():
            return USAGE
        case errors.WaitTimeout():
            return TIMED_OUT
        case errors.OutcomeUnknown():
            return UNSURE
    return SERVICE


def _code_of_runs(runs: Sequence[LiveRun]) -> int:
    if all(run.status == RunState.COMPLETED for run in runs):
        return 0
    return UNSURE if any(run.status == UNCLEAR for run in runs) else FAILED


# Starting and waiting


def _run(context: Context, options: argparse.Namespace) -> int:
    terminal = context.terminal
    waits_by_default = waits("auto", context.environment)
    start = _start_again if options.again is not None else _start_new
    try:
        run = start(context, options)
    except KeyboardInterrupt:
        raise Detached(
            "interrupted while sending the run; %dataflow_runs lists it if the service received it"
        ) from None
    if run is None:
        return 0
    if not options.json:
        # At once: a user who ends this command while it waits has the name of what continues.
        terminal.result(name_of(run))
    asked = True if options.wait is None and options.wait_timeout is not None else options.wait
    if waits_by_default if asked is None else asked:
        try:
            _wait_for(context, [run], options.wait_timeout)
        finally:
            if options.json:
                terminal.json(run_shape(record_of(run.view)))
        terminal.say(to_text(run.card_state()))
        return _code_of_runs([run])
    if options.json:
        terminal.json(run_shape(record_of(run.view)))
    if run.view.execution is None:
        raise errors.OutcomeUnknown(
            f"{run.view.blind_reason or 'the service has not answered'}: do not start it again; "
            f"%dataflow_wait {run.key} waits until that is clear"
        )
    name = name_of(run)
    terminal.say(f"run {name} of {run.job} started on {run.view.target}; %dataflow_wait {name} waits for it")
    return 0


def _sweep(context: Context, options: argparse.Namespace) -> int:
    terminal = context.terminal
    waits_by_default = waits("auto", context.environment)
    if options.again is not None:
        raise errors.CellError("--again is for a run; the same command continues a sweep")
    sweep = begin(context.session, terminal, options)
    if sweep is None:
        return 0
    if not options.json:
        terminal.result(sweep.key)
    asked = True if options.wait is None and options.wait_timeout is not None else options.wait
    is_waited = bool(waits_by_default if asked is None else asked)
    try:
        follow(context.session, terminal, sweep, options.wait_timeout, waits=is_waited)
    finally:
        print_sweep(terminal, sweep, is_json=options.json)
    if sweep.error and not sweep.is_elsewhere:
        terminal.warn(sweep.error, begin="dataflow-magic: ")
        return SERVICE if not sweep.failed else FAILED
    return _code_of_runs(sweep.live) if is_waited else 0


def _start_again(context: Context, options: argparse.Namespace) -> LiveRun:
    check_again(options, [])
    return runs_of([context.session.start_again(options.again)])[0]


def _start_new(context: Context, options: argparse.Namespace) -> LiveRun | None:
    """Return the run that was started; None where the request is only shown."""
    session, terminal = context.session, context.terminal
    names = [*CONDITION_FIELDS, "trigger_id", "workflow_id", "target", "profile", "marker", "force"]
    request, target = request_for(
        session,
        options.job,
        read_parameters(options.given),
        **{name: getattr(options, name) for name in names},
    )
    if options.dry_run:
        terminal.result(dry_run(request, target, context.environment))
        return None
    job = request.job.text
    for note in near_names(job, request.parameters, session.parameter_names(job)):
        terminal.say(note)
    if target.source == "no credentials found":
        terminal.say("No credentials found: runs go to the local service on this machine.")
    return session.start(request, target)


def _wait(context: Context, options: argparse.Namespace) -> int:
    terminal = context.terminal
    # Without names also those that a living notebook follows.
    active = [record.key for record in context.session.records() if record.is_live]
    handles = [context.handle(name, options) for name in options.runs or active]
    runs = list(dict.fromkeys(runs_of(handles)))
    if not runs:
        terminal.say("No run of this machine is active.")
    try:
        _wait_for(context, runs, options.timeout, is_any=options.any)
    finally:
        if options.json:
            terminal.json([run_shape(record_of(run.view)) for run in runs])
    over = [run for run in runs if run.is_over]
    if not options.json and len(runs) == 1:
        terminal.result(to_text(runs[0].card_state()))
    elif not options.json and runs:
        terminal.result(to_rows([run.view for run in runs], datetime.now(KST), context.words))
    return _code_of_runs(over)


def _wait_for(
    context: Context, runs: Sequence[LiveRun], minutes: float | None, *, is_any: bool = False
) -> None:
    terminal = context.terminal
    if terminal.has_cursor and not all(run.is_over for run in runs):
        terminal.say(CAN_STOP if len(runs) == 1 else CAN_STOP_ALL)
        for run in runs:
            context.session.read_progress(run)
    wait(context.session, runs, Progress(terminal), minutes, is_any=is_any)


# Looking


def _runs(context: Context, options: argparse.Namespace) -> int:
    session, terminal = context.session, context.terminal
    listing = listing_of(options, datetime.now(KST))
    if listing.remote is not None:
        records = session.executions(listing.remote, session.target(listing.target))
    else:
        session.take_over(ANSWER_SECONDS)
        records = session.records()
    for note in listing.notes(records):
        terminal.say(note)
    found = listing.of(records)
    shown = found if options.all or options.limit is not None else found[:NEWEST]
    if options.json:
        terminal.json([run_shape(record) for record in shown])
    else:
        terminal.result(table_text([row_of(record) for record in shown], len(found), datetime.now(KST)))
    return 0


def _sweeps(context: Context, options: argparse.Namespace) -> int:
    found = [sweep_shape(sweep) for sweep in context.session.sweeps()]
    if options.json:
        terminal_shapes = [
            {**each, "created": each["created"].isoformat(timespec="milliseconds")} for each in found
        ]
        context.terminal.json(terminal_shapes)
    else:
        context.terminal.result(to_lines(found[:NEWEST], datetime.now(KST)))
        if len(found) > NEWEST:
            context.terminal.say(f"and {len(found) - NEWEST:,} more; --json prints all")
    return 0


def _status(context: Context, options: argparse.Namespace) -> int:
    session, terminal = context.session, context.terminal
    if options.run is not None:
        run = context.handle(options.run, options)
        if isinstance(run, Sweep):
            print_sweep(terminal, run, is_json=options.json)
        elif options.json:
            terminal.json(run_shape(record_of(run.view)))
        else:
            terminal.result(to_text(run.card_state()))
        return 0
    if options.json:
        raise errors.CellError("--json is for a run; name one, or @last")
    target = session.target(options.target, options.profile)
    facts = {"clock": session.clock_words(target), "held": session.held_words(target)}
    terminal.result(describe(target, context.environment, facts))
    return 0


def _logs(context: Context, options: argparse.Namespace) -> int:
    # Before anything is read.
    lines = log_options(follow=options.follow, tail=options.tail, grep=options.grep, whole=options.all)
    run = context.find(options.run, options)
    stream: Stream = "stderr" if options.stderr else "console"
    if options.save is None:
        print_log(run, context.terminal, lines if options.all else first_lines(lines), stream)
    else:
        save_log(run, context.terminal, lines, options.save, stream)
    return 0


def _cancel(context: Context, options: argparse.Namespace) -> int:
    run = context.handle(options.run, options)
    run.cancel(sure=options.yes)
    if isinstance(run, Sweep):
        if options.json:
            print_sweep(context.terminal, run, is_json=True)
        else:
            context.terminal.result(f"cancel requested for sweep {run.key} of {run.job}")
    elif options.json:
        context.terminal.json(run_shape(record_of(run.view)))
    else:
        context.terminal.result(f"cancel requested for run {name_of(run)} of {run.job}")
    return 0


def _compare(context: Context, options: argparse.Namespace) -> int:
    for name in options.runs:
        context.handle(name, options)
    comparison = context.session.compare(options.runs)
    if options.json:
        context.terminal.json([difference_shape(fact) for fact in comparison.facts])
    else:
        context.terminal.result(comparison_text(comparison))
    return 0


def _stages(context: Context, options: argparse.Namespace) -> int:
    run = context.find(options.run, options)
    report = run.stages.submit(run.stages.read()).result()
    if options.json:
        context.terminal.json([stage_shape(stage) for stage in report.stages])
    else:
        state = stages_state(run.view, report, is_final=True, words=context.words)
        context.terminal.result(stages_text(state))
    return 0


def _jobs(context: Context, options: argparse.Namespace) -> int:
    session, terminal = context.session, context.terminal
    target = session.target(options.target, options.profile)
    jobs = session.jobs(target) if options.job is None else [session.job(options.job, target)]
    shapes = [job_shape(job) for job in jobs]
    if options.json:
        terminal.json(shapes)
    elif shapes:
        columns = ("name", "id", "type", "workers", "timeout_minutes", "script_path")
        rows = [["" if shape[name] is None else str(shape[name]) for name in columns] for shape in shapes]
        terminal.result(in_columns([columns, *rows]))
    return 0


def _completion(context: Context, options: argparse.Namespace) -> int:
    context.terminal.quote(SCRIPTS[options.shell].rstrip("\n"))
    return 0


ACTIONS: dict[str, Callable[[Context, argparse.Namespace], int]] = {
    "run": _run,
    "sweep": _sweep,
    "runs": _runs,
    "sweeps": _sweeps,
    "status": _status,
    "logs": _logs,
    "wait": _wait,
    "cancel": _cancel,
    "compare": _compare,
    "stages": _stages,
    "jobs": _jobs,
    "completion": _completion,
}
