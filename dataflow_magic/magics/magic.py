"""The magics: what a line or cell asks for, handed to the parts that do it. Imports nothing heavy until one is used."""

from __future__ import annotations

import re
import shlex
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.displayhook import DisplayHook
from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from traitlets import Enum, TraitError, Unicode, validate

from dataflow_magic import errors

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    from dataflow_magic.cell.run import CellOptions
    from dataflow_magic.models.request import RunRequest
    from dataflow_magic.session.run import Run
    from dataflow_magic.session.session import Session
    from dataflow_magic.session.sweep.handle import Sweep
    from dataflow_magic.settings import Target

__all__ = ["DataflowMagic", "load_ipython_extension", "unload_ipython_extension"]


ID_LENGTH = 12
"""Of the service's ids, in the vendor's full examples."""


class Detached(KeyboardInterrupt):
    """The user stopped a wait; the run goes on. Shown as its message alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@magics_class
class DataflowMagic(Magics):
    """The magics of dataflow-magic; ``%config DataflowMagic`` sets their defaults.

    Parameters
    ----------
    session
        Gives the session runs are started in; by default this process's.
    """

    target = Unicode(
        "", help="Where runs go when a cell does not say: cloud, local, a profile's name or a URL."
    ).tag(config=True)
    profile = Unicode(
        "", help="The profile of ~/.ncloud/configure when a cell names neither one nor a target."
    ).tag(config=True)
    # The words of settings.py, which is not imported before a magic is used; a test compares them.
    wait = Enum(
        ["auto", "yes", "no"], "auto", help="Whether a cell waits for its run; auto: where nobody watches."
    ).tag(config=True)
    language = Enum(
        ["auto", "en", "ko", "ja"], "auto", help="What cards are written in; auto: as the locale says."
    ).tag(config=True)

    shell: InteractiveShell  # set by IPython; there is no magic without one
    _told_local = False

    def __init__(
        self, shell: InteractiveShell, session: Callable[[], Session] | None = None, **traits: Any
    ) -> None:
        super().__init__(shell, **traits)
        self._make_session = session

    @validate("target", "profile")
    def _check_place(self, proposal: Any) -> str:
        from dataflow_magic.settings import Place, check_place

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

    def register(self) -> None:
        """Bring the magics and their completion into the shell."""
        self.shell.register_magics(self)
        self.shell.Completer.custom_matchers.append(self.complete)

    # Without IPython's output_can_be_silenced: it reads the text after the run has begun, and what it cannot read as
    # Python it raises, so that the run would be lost.
    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def dataflow_run(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Run | Sweep | None:
        """Start a run of a Data Flow job and return its live handle at once.

        ::

            %%dataflow_run JOB [options]
            name  = expression
            token = secret(os.environ["TOKEN"])

        The block under the line holds the parameters: an assignment a line, or a JSON object. Without parameters it is
        ``%dataflow_run JOB``. With ``name = each(a, b)`` or ``a, b = zipped([1, 2], [3, 4])`` in it a run is started per
        combination of values, and a `Sweep` returned. A word ``$name`` or ``{expression}`` of the line is replaced by its value.

        ::

            JOB                          a job's name or id; name:X or id:X says which
            --workers N, --timeout MIN   and --worker-type, --nrn, --script-path, --log-path: the job condition, by
                                         default what the job has stored; --force sends values outside the ranges
            --trigger-id, --workflow-id  what the run belongs to
            --again RUN                  start the same as this run once more, without JOB and block
            --wait, --no-wait            block until the run is over; --wait-timeout MINUTES bounds that
            --out NAME                   bind the run to a name
            --dry-run                    show the request and send nothing
            --target, --profile          where to: cloud, local, a profile's name or a URL

        ``%dataflow_run --help`` says more of each. ``run.result()`` and ``%dataflow_wait`` wait for the run,
        ``%dataflow_cancel`` ends it, ``%dataflow_runs`` lists all.
        """
        from dataflow_magic.cell.run import help_text, parse_cell

        namespace = {**self.shell.user_ns, **(local_ns or {})}
        if cell is None:
            line, silent = _without_semicolon(line)
            block = ""
        else:
            block, silent = _without_semicolon(cell)
        with _as_usage():
            options = parse_cell(line, block, namespace)
            if options is None:
                print(help_text())  # noqa: T201
                return None
            for warning in options.warnings:
                print(f"Note: {warning}")  # noqa: T201
            run = self._run(options, silent=silent)
        return None if silent else run

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def dataflow_script(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Run | Sweep | None:
        """Write the cell as the script of a job, and create the job or change its condition.

        ``%%dataflow_script JOB [options]`` over the script; ``--run`` starts a run then. ``%dataflow_script --help``
        lists the options.
        """
        from dataflow_magic.cell.run import CellOptions
        from dataflow_magic.cell.script import parse_script, script_help
        from dataflow_magic.models.request import JobRef, RunRequest

        with _as_usage():
            request = parse_script(line, cell or "", {**self.shell.user_ns, **(local_ns or {})})
            if request is None:
                print(script_help())  # noqa: T201
                return None
            target = self._target(request.target, request.profile)
            published = self._session().publish(request, target)
            told = published.in_words(target.name)
            if not request.run:
                place = {"target": request.target, "profile": request.profile}
                words = [f"--{name} {shlex.quote(value)}" for name, value in place.items() if value]
                told += "; run it: " + " ".join(["%dataflow_run", shlex.quote(request.job.text), *words])
            print(told)  # noqa: T201
            if not request.run:
                return None
            run = RunRequest(JobRef(published.job.job_id, "id"))
            options = CellOptions(run, target=request.target, profile=request.profile)
            return self._run(options, silent=False)

    @line_magic
    def dataflow_runs(self, line: str) -> pd.DataFrame | None:
        """Return runs as a DataFrame: of this kernel, ``--all`` of this machine, ``--remote JOB`` of the service.

        ``%dataflow_runs --help`` lists the options.
        """
        from dataflow_magic.cell.runs import listing_help, parse_listing
        from dataflow_magic.ledger.frame import records_frame
        from dataflow_magic.ledger.record import record_of
        from dataflow_magic.models.view import KST

        with _as_usage():
            listing = parse_listing(line, datetime.now(KST))
            if listing is None:
                print(listing_help())  # noqa: T201
                return None
            session = self._session()
            if listing.remote is not None:
                records = session.executions(listing.remote, self._target(listing.target))
            elif listing.everywhere:
                records = session.records()
            else:
                records = [record_of(run.view) for run in session.runs]
            for note in listing.notes(records):
                print(f"Note: {note}")  # noqa: T201
            frame = records_frame(listing.of(records))
            columns = listing.pick(map(str, frame.columns))
        return frame if columns is None else frame[columns]

    @line_magic
    def dataflow_attach(self, line: str) -> None:
        """Show a run's live card and watch it from here: ``%dataflow_attach RUN [JOB]``.

        ``RUN`` is an id or its beginning, a key of ``%dataflow_runs --all``, or ``@last``: also of a kernel that is
        gone. A run this machine never saw is looked for at the service by its id, among the runs of ``JOB`` if given.
        """
        from dataflow_magic.cell.run import parse_job_ref

        with _as_usage():
            words = _words(line)
            if not 1 <= len(words) <= 2 or any(word.startswith("-") for word in words):
                raise errors.CellError(
                    f"{line.strip()!r} is not understood; write %dataflow_attach RUN [JOB]"
                )
            session = self._session()
            try:
                run = session.find_run(words[0])
            except errors.NoSuchRun:
                if len(words[0]) < ID_LENGTH:
                    raise
                job = parse_job_ref(words[1]) if len(words) > 1 else None
                run = session.attach(words[0], self._target(), job)
            run.show()

    @line_magic
    def dataflow_jobs(self, line: str) -> pd.DataFrame:
        """Return the target's jobs as a DataFrame: ``%dataflow_jobs [TARGET]``."""
        from dataflow_magic.ledger.frame import jobs_frame

        with _as_usage():
            target = self._target(_one_argument(line, "%dataflow_jobs [TARGET]"))
            return jobs_frame(self._session().jobs(target))

    @line_magic
    def dataflow_wait(self, line: str) -> None:
        """Wait until runs are over, ``%dataflow_wait [RUN ...]``; without one, until all live runs of this kernel are.

        A run that did not complete fails the cell once the wait is over. ``%dataflow_wait --help`` lists the options.
        """
        from dataflow_magic.cell.wait import in_rows, parse_wait, wait_help
        from dataflow_magic.models.view import KST

        with _as_usage():
            wait = parse_wait(line)
            if wait is None:
                print(wait_help())  # noqa: T201
                return
            session = self._session()
            named = [session.find_run(run) for run in wait.runs] or session.runs
            runs = [run for run in dict.fromkeys(named) if wait.runs or not run.is_over]
            seconds = None if wait.timeout is None else 60 * wait.timeout
            if not runs:
                print("no run of this kernel goes on")  # noqa: T201
            elif len(runs) == 1:
                self._wait(runs[0], seconds, f"%dataflow_status {_name(runs[0])} shows the end of")
            else:
                print(f"waiting for {len(runs)} runs; interrupt the kernel to stop waiting, they go on")  # noqa: T201
                try:
                    session.wait_for(runs, seconds, is_any=wait.is_any)
                except KeyboardInterrupt:
                    raise _detached([run for run in runs if not run.is_over]) from None
                print(in_rows([run.view for run in runs], datetime.now(KST)))  # noqa: T201
                _check(runs, wait.is_any, wait.timeout)

    @line_magic
    def dataflow_status(self, line: str) -> None:
        """Show a run's card, ``%dataflow_status RUN``, or without one where runs go and with which key."""
        with _as_usage():
            run = _one_argument(line, "%dataflow_status [RUN]")
            if run:
                self._session().find_run(run).show()
            else:
                print(self._describe())  # noqa: T201

    @line_magic
    def dataflow_config(self, line: str) -> None:
        """Show each setting, its value, where that comes from and what it overrides; ``%config DataflowMagic`` sets them."""
        from dataflow_magic.magics.describe import describe_settings

        with _as_usage():
            if line.strip():
                raise errors.CellError(
                    f"{line.strip()!r} is not understood; write %dataflow_config, or %config DataflowMagic.NAME = value"
                )
            names = ("target", "profile", "wait", "language")
            session = self._session()
            config = {name: getattr(self, name) for name in names}
            print(describe_settings(config, session.environment, session.configure_file))  # noqa: T201

    @line_magic
    def dataflow_cancel(self, line: str) -> None:
        """Ask the service to end a run: ``%dataflow_cancel RUN``, an id or its beginning, or ``@last``."""
        with _as_usage():
            text = _one_argument(line, "%dataflow_cancel RUN")
            if not text:
                raise errors.CellError("no run is named; write %dataflow_cancel RUN, or @last")
            run = self._session().find_run(text)
            run.cancel()
            print(f"cancel sent to run {run.run_id} of {run.job}")  # noqa: T201

    def _run(self, options: CellOptions, *, silent: bool) -> Run | Sweep | None:
        from dataflow_magic.card.front_end import is_headless
        from dataflow_magic.session.sweep.handle import Sweep
        from dataflow_magic.settings import language, waits

        # Before anything is sent: a word that is wrong there starts no run.
        by_default = waits(self.wait, self._session().environment)
        language(self.language, self._session().environment)
        session, target = self._session(), self._target(options.target, options.profile)
        if options.dry_run:
            from dataflow_magic.magics.describe import dry_run

            runs = len(options.sweep.requests) if options.sweep else 1
            print(dry_run(options.request, target, session.environment, runs))  # noqa: T201
            return None
        headless = is_headless(self.shell)
        if headless and target.source == "no credentials found" and not self._told_local:
            self._told_local = True
            print("No credentials found: runs go to the local service on this machine.")  # noqa: T201
        if not options.again:
            self._tell_near_names(options.request)
        run = self._start(options, session, target, silent=silent)
        if options.out:
            self.shell.user_ns[options.out] = run
        # A time to wait is given by who wants to wait.
        asked = True if options.wait is None and options.wait_timeout is not None else options.wait
        if next((each for each in (asked, by_default) if each is not None), headless):
            seconds = None if options.wait_timeout is None else 60 * options.wait_timeout
            log_at = (
                f"{options.out}.logs() has"
                if options.out or isinstance(run, Sweep)
                else f"%dataflow_status {_name(run)} shows the end of"
            )
            self._wait(run, seconds, log_at, silent=silent)
        elif headless and isinstance(run, Sweep):
            run.wait_sent()  # or a kernel that ends with this cell would take along what has not left
        return run

    def _start(self, options: CellOptions, session: Session, target: Target, *, silent: bool) -> Run | Sweep:
        from dataflow_magic.card.front_end import FrontEnd, front_end

        if not silent and front_end(self.shell) is FrontEnd.WIDGETS:
            # ipywidgets takes longer to import than a service to answer.
            session.prepare(lambda: import_module("dataflow_magic.card.output"))
        try:
            if options.sweep:
                return session.sweep(options.sweep, target)
            if options.again:
                return session.start_again(options.again)
            return session.start(options.request, target)
        except KeyboardInterrupt:
            raise Detached(
                "interrupted while the run was being submitted; %dataflow_runs lists it if it was sent"
            ) from None

    def _tell_near_names(self, request: RunRequest) -> None:
        from dataflow_magic.cell.block import near_names

        job = request.job.text
        known = self._session().parameter_names(job)
        for warning in near_names(job, request.parameters, known):
            print(f"Note: {warning}")  # noqa: T201

    def _wait(self, run: Run | Sweep, seconds: float | None, log_at: str, *, silent: bool = False) -> None:
        from dataflow_magic.session.sweep.handle import Sweep

        try:
            if silent:
                run.wait(seconds)
            else:
                run.show_and_wait(seconds)
        except KeyboardInterrupt:
            if isinstance(run, Sweep):
                raise Detached(
                    "stopped waiting; the sweep goes on: %dataflow_wait waits for its runs, %dataflow_runs lists them, "
                    ".cancel() of the sweep ends them"
                ) from None
            raise _detached([run]) from None
        if isinstance(run, Sweep):
            if not run.is_completed:
                raise run.failed()
        elif run.status != "COMPLETED":
            raise run.failed(f"{log_at} its log")

    @context_matcher()
    def complete(self, context: CompletionContext) -> SimpleMatcherResult:
        """Offer options, jobs and runs on a line of ours, and the names of parameters in a block; asks no service."""
        line = context.text_until_cursor
        if "%dataflow_" not in line and not context.full_text.lstrip().startswith("%%dataflow_run"):
            return {"completions": []}
        from dataflow_magic.magics.completion import complete, complete_block

        session = self._session()
        lines = context.full_text.splitlines()
        here = context.cursor_line
        is_block = "%dataflow_" not in line
        words = (
            complete_block(lines[:here], line, lines[here + 1 :], session)
            if is_block
            else complete(line, session)
        )
        if words is None or (is_block and not words):
            return {"completions": []}
        return {
            "completions": [SimpleCompletion(word) for word in words],
            # The whole word: IPython's own ends at a sign such as @.
            "matched_fragment": re.split(r"\s", line)[-1],
            # Nothing else fits there: no file, no name of the notebook.
            "suppress": True,
        }

    def _session(self) -> Session:
        session = self._make_session() if self._make_session else self._session_of_api()
        session.language_choice = self.language
        return session

    def _session_of_api(self) -> Session:
        from dataflow_magic.api import get_session

        return get_session()

    def _target(self, choice: str | None = None, profile: str | None = None) -> Target:
        from dataflow_magic.settings import Place

        place = Place(choice or None, profile or None).over(Place.of_layer(self.target, self.profile))
        return self._session().target(*place)

    def _describe(self) -> str:
        from dataflow_magic.magics.describe import describe

        target = self._target()
        return describe(target, self._session().environment, self._session().clock_words(target))


@contextmanager
def _as_usage() -> Iterator[None]:
    """Turn a cell's own mistakes into IPython's one-line usage errors."""
    try:
        yield
    except errors.CellError as error:
        raise UsageError(str(error)) from None


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics; ``%load_ext dataflow_magic`` calls it. Prints nothing and does no I/O."""
    _forget(shell)  # or %config might set the options of an instance that no longer answers
    try:
        DataflowMagic(shell).register()
    except TraitError as error:  # in a configuration file
        raise UsageError(str(error)) from None


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away. Runs stay known and watched, so that none is lost to ``%reload_ext``."""
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


def _name(run: Run) -> str:
    return run.run_id or run.key


def _detached(runs: list[Run]) -> Detached:
    from dataflow_magic.cell.wait import way_back

    return Detached(
        f"stopped waiting; {way_back(list(map(_name, runs)))}"
        if runs
        else "stopped waiting; all runs are over"
    )


def _check(runs: list[Run], is_any: bool, timeout: float | None) -> None:
    """Fail the cell where a run did not complete, or the time was over before the wait."""
    from dataflow_magic.cell.wait import way_back

    over = [run for run in runs if run.is_over]
    failed = [run for run in over if run.status != "COMPLETED"]
    if failed:
        ended = ", ".join(f"{_name(run)} {run.status}" for run in failed)
        raise errors.RunFailed(
            f"{len(failed)} of {len(runs)} runs did not complete: {ended}; "
            f"%dataflow_status {_name(failed[0])} shows the end of its log",
            run=failed[0],
        )
    live = [run for run in runs if run not in over]
    if live and not (is_any and over):
        raise errors.WaitTimeout(
            f"the wait was over after {timeout:g} min; {way_back(list(map(_name, live)))}", run=live[0]
        )


def _without_semicolon(text: str) -> tuple[str, bool]:
    """Return the text without a last ``;``, and whether there was one: it mutes a cell as it does any other."""
    try:
        silent = bool(DisplayHook.semicolon_at_end_of_expression(text))
    except (tokenize.TokenError, SyntaxError):  # not every option line is Python
        silent = text.rstrip().endswith(";")
    return (text.rstrip().removesuffix(";"), True) if silent else (text, False)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise errors.CellError(f"the line does not split: {error}") from None


def _one_argument(line: str, usage: str) -> str | None:
    words = _words(line)
    if len(words) > 1 or (words and words[0].startswith("-")):
        raise errors.CellError(f"{line.strip()!r} is not understood; write {usage}")
    return words[0] if words else None
