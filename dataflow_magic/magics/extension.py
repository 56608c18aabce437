"""The magics: they read a line or a cell and hand it to the session. Imports nothing heavy until one is used."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import sys
import tokenize
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
)
from traitlets import Enum, TraitError, Unicode, validate

from dataflow_magic import errors

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from dataflow_magic.cell.line import LineParser
    from dataflow_magic.cell.run import CellOptions
    from dataflow_magic.config.settings import Target
    from dataflow_magic.magics.earlier import Earlier
    from dataflow_magic.models.marker import Marker
    from dataflow_magic.models.request import JobRef, RunRequest
    from dataflow_magic.session.handle import Run
    from dataflow_magic.session.logs.search import Stream
    from dataflow_magic.session.naming import Handle
    from dataflow_magic.session.session import Session
    from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["DataflowMagic", "load_ipython_extension", "unload_ipython_extension"]

INTERRUPTED = 130
"""The exit code of a script, as a shell has it."""
INTERRUPTED_BLOCK = "interrupted while the parameters were evaluated; nothing was sent"

P = ParamSpec("P")
T = TypeVar("T")


def _answering(magic: Callable[P, T]) -> Callable[P, T | None]:
    """Print the help that a line asks for, and show an interrupt and a `CellError` as one line.

    IPython only prints a usage error. Where nobody watches, the error itself is raised: papermill and nbconvert keep
    errors of cells and stop for them, and know nothing of what was printed.

    ``%dataflow_...?`` shows the help below the docstring.
    """

    @functools.wraps(magic)
    def answering(*args: P.args, **kwargs: P.kwargs) -> T | None:
        from dataflow_magic.cell.line import HelpRequested

        try:
            return magic(*args, **kwargs)
        except HelpRequested as help_requested:
            print(help_requested)  # noqa: T201
            return None
        except errors.CellError as error:
            from dataflow_magic.card.front_end import is_headless

            magics = cast("DataflowMagic", args[0])
            error.shown = magics.in_words(str(error))
            if is_headless(magics.shell):
                raise error from None
            raise UsageError(error.shown) from None
        except errors.DataflowError as error:
            error.shown = cast("DataflowMagic", args[0]).in_words(str(error))
            raise
        except KeyboardInterrupt as interrupt:
            from dataflow_magic.card.front_end import is_script
            from dataflow_magic.session.detached import Detached

            magics = cast("DataflowMagic", args[0])
            said = str(interrupt) if isinstance(interrupt, Detached) else "interrupted"
            detached = Detached(magics.in_words(said))
            if is_script(magics.shell):
                # IPython would report a fault of its own, with a long traceback.
                print(detached, file=sys.stderr)  # noqa: T201
                raise SystemExit(INTERRUPTED) from None
            raise detached from None

    def documentation() -> str:
        text = inspect.cleandoc(magic.__doc__ or "")
        return f"{text}\n\n{_parser(magic.__name__.removeprefix('dataflow_')).format_help()}"

    vars(answering)["getdoc"] = documentation  # IPython asks for it before it reads the docstring
    return answering


def _parser(magic: str) -> LineParser:
    from dataflow_magic.cell.parsers import MAGICS

    return MAGICS[magic]()


@magics_class
class DataflowMagic(Magics):
    """The magics of dataflow-magic; ``%config DataflowMagic`` sets their defaults.

    Parameters
    ----------
    session
        Returns the session that starts the runs; by default that of this process.
    """

    target = Unicode(
        "", help="Target of a cell that names none: cloud, local, the name of a profile, or a URL."
    ).tag(config=True)
    profile = Unicode(
        "", help="Profile of ~/.ncloud/configure for a cell that names neither a profile nor a target."
    ).tag(config=True)
    # The words of config/settings.py, which is imported when a magic is used; a test compares them.
    wait = Enum(
        ["auto", "yes", "no"],
        "auto",
        help="Whether a cell waits for its run; auto waits where nobody can answer, as under papermill.",
    ).tag(config=True)
    language = Enum(
        ["auto", "en", "ko", "ja"], "auto", help="Language of the cards; auto follows the locale."
    ).tag(config=True)

    marker = Unicode(
        "",
        help="Where a run's key is sent: log-path, parameter or off; for single jobs or targets JOB=WORD, @TARGET=WORD.",
    ).tag(config=True)

    shell: InteractiveShell  # set by IPython
    _is_local_noted = False

    def __init__(
        self, shell: InteractiveShell, session: Callable[[], Session] | None = None, **traits: Any
    ) -> None:
        super().__init__(shell, **traits)
        self._make_session = session

    @functools.cached_property
    def _earlier(self) -> Earlier:
        from dataflow_magic.magics.earlier import Earlier

        return Earlier()

    @validate("target", "profile")
    def _check_place(self, proposal: Any) -> str:
        from dataflow_magic.config.settings import Place, check_place

        value: str = proposal["value"]
        if value:
            name = proposal["trait"].name
            try:
                check_place(Place(**{name: value}), self._session().configure_file)
            except errors.ConfigError as error:
                raise TraitError(f"DataflowMagic.{name}: {error}") from None
        return value

    @validate("wait", "language")
    def _check_word(self, proposal: Any) -> str:
        return str(proposal["value"])

    @validate("marker")
    def _check_marker(self, proposal: Any) -> str:
        from dataflow_magic.config.settings import marker

        try:
            marker(proposal["value"], {}, job="", target="")
        except errors.ConfigError as error:
            raise TraitError(f"DataflowMagic.marker: {error}") from None
        return str(proposal["value"])

    def register(self) -> None:
        """Add the magics and their completion to the shell."""
        self.shell.register_magics(self)
        self.shell.Completer.custom_matchers.append(self.complete)

    # Without IPython's output_can_be_silenced: it parses the text as Python after the run has started, and raises
    # if that fails, so that the run would be lost.
    @no_var_expand
    @line_cell_magic
    @_answering
    def dataflow_run(self, line: str, cell: str | None = None) -> Run | Sweep | pd.DataFrame | None:
        """Start a run of a Data Flow job and return its live handle at once.

        ::

            %%dataflow_run JOB [options]
            name  = expression
            token = secret(os.environ["TOKEN"])

        The block below the line holds the parameters: one assignment per line, or a JSON object. Without parameters,
        write ``%dataflow_run JOB``. ``name = each(a, b)``, ``a, b = zipped([1, 2], [3, 4])`` and ``a, b = rows(frame)``
        start one run per combination of values and return a `Sweep`. A word ``$name`` or ``{expression}`` of the line is replaced by
        its value.

        ``--max-parallel 4`` keeps at most four runs of a sweep alive; ``--dry-run`` returns which runs it would start.
        ``run.result()`` and ``%dataflow_wait`` wait for the run, ``%dataflow_cancel`` cancels it, ``%dataflow_runs``
        lists all runs. ``%dataflow_run --help`` lists the options.
        """
        from dataflow_magic.cell.run import parse_cell
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.session.detached import in_one_line

        text, silent = _without_semicolon(line if cell is None else cell)
        line, block = (text, "") if cell is None else (line, text)
        with in_one_line(INTERRUPTED_BLOCK):
            options = parse_cell(line, block, names_of_caller(self.shell))
        for warning in options.warnings:
            self._note(warning)
        run = self._run(options, silent=silent)
        return None if silent else run

    @no_var_expand
    @line_cell_magic
    @_answering
    def dataflow_script(self, line: str, cell: str | None = None) -> Run | Sweep | pd.DataFrame | None:
        """Write the cell as the script of a job, and create the job or change its condition.

        ``%dataflow_script JOB --show`` prints the script that is stored.
        """
        from dataflow_magic.cell.script import parse_script
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.models.request import JobRef
        from dataflow_magic.models.text import printable

        asked = parse_script(line, cell or "", names_of_caller(self.shell))
        for warning in asked.run.warnings if asked.run else asked.warnings:
            self._note(warning)
        target = self._target(asked.target, asked.profile)
        places = {"--target": asked.target, "--profile": asked.profile}
        place = [word for flag, value in places.items() if value for word in (flag, value)]
        if asked.write is None:
            text = self._session().read_script(asked.job, target).text
            if asked.reading == "show":
                print(printable(text))  # noqa: T201
            else:
                self.shell.set_next_input(
                    f"{shlex.join(['%%dataflow_script', asked.job.text, *place])}\n{text}"
                )
            return None
        # A setting that is wrong writes no script.
        by_default = self._marker_of(asked.job, target)
        published = self._session().publish(asked.write, target)
        summary = published.in_words(target.name)
        if asked.run:
            self._say(summary)
            job = JobRef(published.job.job_id, "id")
            options = replace(asked.run.at_job(job), marker=asked.run.marker or by_default)
            return self._run(options, silent=False)
        self._say(f"{summary}; run it: {shlex.join(['%dataflow_run', asked.job.text, *place])}")
        return None

    @line_magic
    @_answering
    def dataflow_runs(self, line: str) -> pd.DataFrame:
        """Return runs as a DataFrame: of this kernel, ``--all`` of this machine, ``--remote JOB`` of the service."""
        from dataflow_magic.api import runs_table
        from dataflow_magic.cell.table import parse_listing
        from dataflow_magic.models.view import KST

        listing = parse_listing(line, datetime.now(KST))
        records = self._session().select(listing, self._target(listing.target) if listing.remote else None)
        for note in listing.notes(records):
            self._note(note)
        frame = runs_table(listing.of(records))
        columns = listing.pick(map(str, frame.columns))
        return frame if columns is None else frame[columns]

    @line_magic
    @_answering
    def dataflow_sweeps(self, line: str) -> pd.DataFrame:
        """Return the sweeps of this machine as a DataFrame, newest first: how far each is, and which kernel starts the rest."""
        from dataflow_magic.api import sweeps_table

        _parser("sweeps").read(line)
        return sweeps_table(self._session().sweeps())

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_attach(self, line: str) -> Run | Sweep:
        """Return a run or a sweep, also of an earlier kernel, and watch it from this kernel. Its card is shown.

        The service is asked for a run that this machine has not seen, by its id, among the runs of JOB if given.
        """
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.session.naming import bind, handle_of

        names = names_of_caller(self.shell)
        options = _parser("attach").read(line, names)
        place = partial(self._target, options.target, options.profile)
        handle = handle_of(self._session().get(options.run, names, target=place, job=options.job))
        if options.out:
            bind(self.shell.user_ns, options.out, handle)
        return handle

    @line_magic
    @_answering
    def dataflow_jobs(self, line: str) -> pd.DataFrame:
        """Return the jobs of a target as a DataFrame, or only the job JOB."""
        from dataflow_magic.ledger.frame import jobs_frame

        options = _parser("jobs").read(line)
        target = self._target(options.target, options.profile)
        session = self._session()
        return jobs_frame(session.jobs(target) if options.job is None else [session.job(options.job, target)])

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_wait(self, line: str) -> None:
        """Wait until runs end, and fail the cell when one did not complete."""
        from dataflow_magic.cell.wait import parse_wait
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.magics.waiting import wait_for_runs

        names = names_of_caller(self.shell)
        wait_for_runs(self._session(), parse_wait(line, names), names)

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_status(self, line: str) -> None:
        """Show the card of a run or a sweep; without RUN, show the target of new runs, with its endpoint and access key."""
        from dataflow_magic.describe import describe
        from dataflow_magic.magics.caller import names_of_caller

        session = self._session()
        names = names_of_caller(self.shell)
        if run := _parser("status").read(line, names).run:
            session.find(run, names).show()
        else:
            target = self._target()
            facts = {
                "no answer": session.silence_words(target),
                "clock": session.clock_words(target),
                "held": session.held_words(target),
            }
            print(describe(target, session.environment, facts))  # noqa: T201

    @line_magic
    @_answering
    def dataflow_config(self, line: str) -> None:
        """Show each setting, its value, the source of that value, and the values it overrides."""
        from dataflow_magic.describe import describe_settings

        _parser("config").read(line)
        session = self._session()
        config = {name: getattr(self, name) for name in ("target", "profile", "wait", "marker", "language")}
        print(describe_settings(config, session.environment, session.configure_file))  # noqa: T201

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_cancel(self, line: str) -> None:
        """Ask the service to cancel a run, or all runs of a sweep."""
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.session.naming import name_of
        from dataflow_magic.session.sweep.handle import Sweep

        names = names_of_caller(self.shell)
        options = _parser("cancel").read(line, names)
        handle = self._session().find(options.run, names)
        if isinstance(handle, Sweep) and handle.is_over:
            raise errors.CellError(f"sweep {handle.key} is over; there is nothing to cancel")
        handle.cancel(sure=options.yes)
        name, job = name_of(handle), handle.job
        self._say(
            f"cancel requested for the runs of sweep {name} of {job}"
            if isinstance(handle, Sweep)
            else f"cancel requested for run {name} of {job}"
        )

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_compare(self, line: str) -> pd.DataFrame:
        """Return what differs between two runs: parameters, condition, script, how they ended, times, and stages."""
        from dataflow_magic.api import comparison_table
        from dataflow_magic.magics.caller import names_of_caller

        names = names_of_caller(self.shell)
        runs = _parser("compare").read(line, names).runs
        return comparison_table(self._session().compare(runs, names))

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_logs(self, line: str) -> None:
        """Print the end of a run's log, search or follow it, or save it to a file; also of a run of an earlier kernel."""
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.magics.logs import LogRequest, show_log
        from dataflow_magic.session.logs.follow import log_options

        names = names_of_caller(self.shell)
        options = _parser("logs").read(line, names)
        # Before anything is read.
        lines = log_options(follow=options.follow, tail=options.tail, grep=options.grep, whole=options.all)
        stream: Stream = "stderr" if options.stderr else "console"
        asked = LogRequest(lines, options.all, stream, options.save)
        show_log(self._session().find(options.run, names), asked, self._say)

    @no_var_expand
    @line_magic
    @_answering
    def dataflow_stages(self, line: str) -> None:
        """Draw the stages of a run over time, with what is out of line in them; in a terminal a table."""
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.magics.stages import show_stages

        names = names_of_caller(self.shell)
        options = _parser("stages").read(line, names)
        session = self._session()
        show_stages(session.find(options.run, names), self.shell, options.out, lambda: session.words.language)

    def _run(self, options: CellOptions, *, silent: bool) -> Run | Sweep | pd.DataFrame | None:
        """Start what a cell asks for, and wait for it where the cell, the settings or the place ask for that."""
        from dataflow_magic.card.front_end import is_headless
        from dataflow_magic.config.settings import language, waits
        from dataflow_magic.magics.backfill import planned
        from dataflow_magic.session.naming import bind, handle_of
        from dataflow_magic.session.sweep.handle import Sweep

        session = self._session()
        # Before anything is sent: a setting that is wrong starts no run.
        waits_by_default = waits(self.wait, session.environment)
        language(self.language, session.environment)
        target = self._target(options.target, options.profile)
        options = options.with_marker(self._marker_of(options.request.job, target))
        if options.sweep:
            options = planned(options, session, target, self._note)
        if options.dry_run:
            return self._dry_run(options, target)
        headless = is_headless(self.shell)
        if headless:
            self._note_local(target)
        if not options.again:
            self._note_near_names(options.request)
        if earlier := self._earlier.note(self.shell, session.handles):
            self._note(earlier)
        run = self._start(options, session, target, silent=silent)
        self._earlier.add(self.shell, run)
        handle = handle_of(run)
        if options.out:
            bind(self.shell.user_ns, options.out, handle)
        # --wait-timeout implies --wait.
        asked = True if options.wait is None and options.wait_timeout is not None else options.wait
        choices = [asked, waits_by_default, headless]
        if next(choice for choice in choices if choice is not None):
            from dataflow_magic.magics.waiting import wait_for_run

            log_hint = f"{options.out}.logs() has its log" if options.out else ""
            wait_for_run(run, options.wait_timeout, log_hint, silent=silent)
        elif headless and isinstance(run, Sweep):
            run.wait_sent()  # a kernel that ends with this cell would not send the rest
        return handle

    def _say(self, text: str) -> None:
        """Print a message in the language of the cards."""
        print(self.in_words(text))  # noqa: T201

    def _note(self, text: str) -> None:
        self._say(f"Note: {text}")

    def in_words(self, text: str) -> str:
        """Return a message of this package in the language of the cards."""
        return self._session().words.sentence(text)

    def _dry_run(self, options: CellOptions, target: Target) -> pd.DataFrame | None:
        """Print the first request as curl, and return what a sweep would start."""
        from dataflow_magic.describe import dry_run

        order = options.sweep.order if options.sweep else []
        if order or not options.sweep:
            request = options.sweep.requests[order[0]] if options.sweep else options.request
            print(dry_run(request, target, self._session().environment, max(1, len(order))))  # noqa: T201
        if not options.sweep or not options.sweep.requests:
            return None
        from dataflow_magic.ledger.frame import plan_frame

        return plan_frame(options.sweep)

    def _note_local(self, target: Target) -> None:
        if target.source == "no credentials found" and not self._is_local_noted:
            self._is_local_noted = True
            self._say("No credentials found: runs go to the local service on this machine.")

    def _note_near_names(self, request: RunRequest) -> None:
        from dataflow_magic.cell.block import near_names

        job = request.job.text
        for note in near_names(job, request.parameters, self._session().parameter_names(job)):
            self._note(note)

    def _start(self, options: CellOptions, session: Session, target: Target, *, silent: bool) -> Handle:
        from dataflow_magic.card.front_end import FrontEnd, front_end
        from dataflow_magic.magics.caller import names_of_caller
        from dataflow_magic.session.detached import INTERRUPTED_START, in_one_line

        if not silent and front_end(self.shell) is FrontEnd.WIDGETS:
            # In the background: importing ipywidgets takes longer than the answer of the service.
            session.prepare(lambda: import_module("dataflow_magic.card.output"))
        with in_one_line(INTERRUPTED_START):
            if options.sweep:
                return session.sweep(options.sweep, target)
            if options.again:
                return session.start_again(options.again, names_of_caller(self.shell))
            return session.start(options.request, target)

    @context_matcher()
    def complete(self, context: CompletionContext) -> SimpleMatcherResult:
        """Offer options, jobs and runs on the line of a magic, and names of parameters in a block. Asks no service."""
        line = context.text_until_cursor
        if "%dataflow_" not in line and not context.full_text.lstrip().startswith("%%dataflow_run"):
            return {"completions": []}
        from dataflow_magic.cell.completion import complete, complete_block

        session = self._session()
        lines = context.full_text.splitlines()
        here = context.cursor_line
        is_block = "%dataflow_" not in line
        words = (
            complete_block(lines[:here], line, lines[here + 1 :], session)
            if is_block
            else complete(line, session, self.shell.user_ns)
        )
        if words is None or (is_block and not words):
            return {"completions": []}
        return {
            "completions": [SimpleCompletion(word, type=what or None) for word, what in words.items()],
            "ordered": True,
            # The whole word: that of IPython ends at a sign such as @.
            "matched_fragment": re.split(r"\s", line)[-1],
            # Neither files nor names of the notebook fit there.
            "suppress": True,
        }

    def _session(self) -> Session:
        from dataflow_magic.api import get_session

        session = (self._make_session or get_session)()
        session.language_choice = self.language
        return session

    def _target(self, choice: str | None = None, profile: str | None = None) -> Target:
        from dataflow_magic.config.settings import Place

        place = Place(choice or None, profile or None).over(Place.of_layer(self.target, self.profile))
        return self._session().target(*place)

    def _marker_of(self, job: JobRef, target: Target) -> Marker:
        """Return where the settings send the marker of a job's runs; the job as a cell names it."""
        from dataflow_magic.config.settings import marker

        return marker(self.marker, self._session().environment, job=job.text, target=target.name)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics, for ``%load_ext dataflow_magic``. Prints nothing and does no I/O."""
    _forget(shell)  # otherwise %config might set the options of an older instance
    try:
        DataflowMagic(shell).register()
    except TraitError as error:  # in a configuration file
        from dataflow_magic.card.front_end import is_headless

        if is_headless(shell):
            raise errors.ConfigError(str(error)) from None
        raise UsageError(str(error)) from None


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics. The session keeps its runs and watches them, so that ``%reload_ext`` loses none."""
    _forget(shell)


def _forget(shell: InteractiveShell) -> None:
    manager = shell.magics_manager
    for kind, names in DataflowMagic.magics.items():
        for name in names:
            manager.magics[kind].pop(name, None)
    manager.registry.pop(DataflowMagic.__name__, None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [m for m in matchers if not isinstance(getattr(m, "__self__", None), DataflowMagic)]
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, DataflowMagic)]


def _without_semicolon(text: str) -> tuple[str, bool]:
    """Return the text without a final ``;``, and whether it had one, which hides the output of any cell."""
    try:
        silent = bool(DisplayHook.semicolon_at_end_of_expression(text))
    except (tokenize.TokenError, SyntaxError):  # an option line need not be Python
        silent = text.rstrip().endswith(";")
    return (text.rstrip().removesuffix(";"), True) if silent else (text, False)
