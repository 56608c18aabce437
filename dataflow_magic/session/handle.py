"""`Run`, the public handle of one run. Everything behind it is `LiveRun`, which it does not show."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from dataflow_magic.models.failure import Failure
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.detached import in_one_line
from dataflow_magic.session.logs.follow import LogLines, log_options
from dataflow_magic.session.logs.output import save_lines, text_of, unbounded
from dataflow_magic.session.logs.run_log import LOG_BYTES
from dataflow_magic.session.logs.search import Stream
from dataflow_magic.session.results import MOST_ROWS, read_result
from dataflow_magic.session.stages import StageFrames, frame_of

if TYPE_CHECKING:
    import pandas as pd

    from dataflow_magic.ledger.results import Format
    from dataflow_magic.session.run import LiveRun

__all__ = ["Run"]


class Run:
    """One run, kept up to date in the background.

    ``run.result()`` waits for its end, and ``await run`` does so without blocking; ``run.cancel()`` ends it. A cell shows
    a run as its card. Made by ``%%dataflow_run``, `dataflow_magic.run` and `dataflow_magic.get`; equal handles of a run are
    the same object.
    """

    __slots__ = ("__weakref__", "_live")

    def __init__(self, live: LiveRun) -> None:
        self._live = live

    def __repr__(self) -> str:
        return repr(self._live)

    def _dataflow_name_(self) -> str:
        """Return what a word ``$run`` of a magic's line stands for."""
        return self.id or self.key

    def _ipython_display_(self) -> None:
        self._live.show_value()

    # What is known

    @property
    def id(self) -> str | None:
        """The service's id of the run; None until it answered."""
        return self._live.run_id

    @property
    def key(self) -> str:
        """The run's short id on this machine, known before the service's id; empty for a run that another machine started."""
        return self._live.key

    @property
    def job(self) -> str:
        """The job's name."""
        return self._live.job

    @property
    def status(self) -> str:
        """``SUBMITTING``, ``READY``, ``RUNNING``, ``COMPLETED``, ``FAILED``, ``CANCELED``, or another state of the service.

        ``NOT_STARTED`` or ``UNCLEAR`` where the response to the start was lost and the run was not found.
        """
        return self._live.status

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be known: the run has ended, or this kernel gave up following it."""
        return self._live.is_over

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters as sent, names with their ``$``; a secret value prints as ``••••••``."""
        return self._live.parameters

    @property
    def submitted(self) -> datetime:
        """When the run was submitted, aware, Korean time."""
        return self._live.view.submitted_at

    @property
    def waited(self) -> timedelta | None:
        """Created to first RUNNING; None where unknown."""
        return self._live.waited

    @property
    def ran(self) -> timedelta | None:
        """First RUNNING to ended; None while it runs, and where unknown."""
        return self._live.ran

    @property
    def total(self) -> timedelta | None:
        """Created to ended; None while the run is active, and where unknown."""
        return self._live.total

    @property
    def reason(self) -> str | None:
        """Why the run did not complete, or why this kernel gave up following it, in one sentence; None where unknown."""
        return self._live.reason

    @property
    def error(self) -> Failure | None:
        """Why the run did not complete: sentence, class, the user's own line, end of the log; None where unknown."""
        return self._live.error

    # What it does

    def result(self, timeout: float | None = None) -> JobExecution:
        """Wait for the end and return the run's last snapshot.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits as long as the run takes.

        Raises
        ------
        RunFailed
            The run ended other than COMPLETED.
        WaitTimeout
            The wait timed out; the run is still active.
        Detached
            The user interrupted the wait; it is a `KeyboardInterrupt`, and the run continues.
        OutcomeUnknown
            The response to its start was lost, and reconciling did not find the run.
        DataflowError
            The run is active, and this process was forked from the one that started it.
        """
        return self._live.result(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the run, completed or not.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits as long as the run takes.

        Raises
        ------
        WaitTimeout, Detached, OutcomeUnknown, DataflowError
            As `result`.
        """
        self._live.wait(timeout)

    def __await__(self) -> Generator[Any, None, JobExecution]:
        """Wait for the end without blocking, and return or raise as `result`; any event loop may await."""
        return self._live.__await__()

    def cancel(self, *, sure: bool = False) -> None:
        """Ask the service to end the run; return once it accepted. The run is over once its state says so.

        Parameters
        ----------
        sure
            Cancel also a run that was found by its parameters: it may be an identical run of another user.

        Raises
        ------
        CellError
            The run was found by its parameters, and ``sure`` is not given; nothing was sent.
        BadState
            The run is over already.
        ServiceError
            The service refused the request, or did not answer.
        """
        with in_one_line(f"interrupted; the cancel of run {self._dataflow_name_()} may have been sent"):
            self._live.cancel(sure=sure)

    @overload
    def logs(
        self,
        *,
        follow: Literal[False] = False,
        grep: str | None = None,
        tail: int | None = None,
        stderr: bool = False,
        all: bool = False,
        save: None = None,
    ) -> str: ...

    @overload
    def logs(
        self,
        *,
        follow: Literal[True],
        grep: str | None = None,
        tail: int | None = None,
        stderr: bool = False,
        all: bool = False,
        save: None = None,
    ) -> LogLines: ...

    @overload
    def logs(
        self,
        *,
        save: str | os.PathLike[str],
        follow: bool = False,
        grep: str | None = None,
        tail: int | None = None,
        stderr: bool = False,
        all: bool = False,
    ) -> Path: ...

    def logs(
        self,
        *,
        follow: bool = False,
        grep: str | None = None,
        tail: int | None = None,
        stderr: bool = False,
        all: bool = False,  # noqa: A002 - the magic's word
        save: str | os.PathLike[str] | None = None,
    ) -> str | LogLines | Path:
        """Return the end of the console log, at most 256 KiB, or its lines as they come; also while the run is active.

        Parameters
        ----------
        follow
            Return what ``async for`` and ``for`` take lines from until the run is over.
        grep
            Search the whole log, and return only lines that this regular expression matches. Its syntax is RE2's.
        tail
            Begin with so many lines, the last ones.
        stderr
            Read the log of standard error instead; of a local service, what Spark's JVM printed.
        all
            Return the whole log, or all lines that match, whatever their length. A log that does not fit into memory is
            read by ``follow``, or saved.
        save
            Write the whole log, or the lines that the other parameters select, to this new file, with ``follow`` until the
            run is over. Memory stays bounded. Without ``follow`` the file appears whole or not at all.

        Returns
        -------
        str
            What the script printed; empty where there is no log yet.
        LogLines
            With ``follow``.
        Path
            The file, with ``save``.

        Raises
        ------
        CellError
            The regular expression is not valid, ``tail`` and ``all`` contradict each other, or the file exists or cannot be
            written; no file was changed.
        ServiceError
            The service or the storage does not answer.
        DataflowError
            The key pair may not read the log.
        """
        with in_one_line("interrupted; the log was not read"):
            options = log_options(follow=follow, grep=grep, tail=tail, whole=all)
            stream: Stream = "stderr" if stderr else "console"
            if follow and save is None:
                return self._live.log_lines(options, stream)
            whole = unbounded(options)
            if save is not None:
                return save_lines(self._live.log_lines(whole, stream), save, grows=follow)
            asked = whole if all else replace(whole, most=LOG_BYTES)
            return text_of(self._live.log_lines(asked, stream))

    @overload
    def stages(self, *, follow: Literal[False] = False) -> pd.DataFrame: ...

    @overload
    def stages(self, *, follow: Literal[True]) -> StageFrames: ...

    def stages(self, *, follow: bool = False) -> pd.DataFrame | StageFrames:
        """Return the stages of the run as its event log has them, in the order of their submission; also while it is active.

        Parameters
        ----------
        follow
            Return what ``async for`` and ``for`` take tables from, one after each change until the run is over.

        Returns
        -------
        DataFrame
            One row per attempt of a stage; the columns and dtypes are the same for none:

            ============================== ========================== ==============================================
            column                         dtype                      meaning
            ============================== ========================== ==============================================
            stage, attempt                 int64                      Spark's numbers, from 0
            state                          string                     ``RUNNING``, ``COMPLETED`` or ``FAILED``
            name                           string                     the operation, such as ``count``
            file, line                     string, Int64              the call in the script; missing where Spark
                                                                      names a line of Java
            submitted, completed           datetime64[us, Asia/Seoul] ``completed`` is missing while it runs
            took                           timedelta64[us]            from the one to the other
            tasks, tasks_done,             int64                      in all, completed, attempts that failed
            tasks_failed
            task_median, task_slowest      timedelta64[us]            of completed tasks; above a second the median
                                                                      has three digits
            skew                           Float64                    slowest over median task
            task_time, gc_time             timedelta64[us]            of all completed tasks; while Java collected
                                                                      garbage in them
            rows_in, rows_out              int64                      records read and written, shuffles included
            bytes_read, bytes_written      int64                      bytes of sources and results
            shuffle_read, shuffle_written, int64                      bytes; ``spilled`` on disk
            spilled
            query                          Int64                      Spark's number of the SQL query
            application                    string                     Spark's id of the application
            finding                        string                     what is out of line; missing where nothing is
            ============================== ========================== ==============================================
        StageFrames
            With ``follow``.

        Raises
        ------
        DataflowError
            The run is over and has no event log, the log is compressed and cannot be unpacked here, or the key pair may not read it.
        ServiceError
            The storage does not answer.
        """
        stages = self._live.stages
        if follow:
            return StageFrames(stages)
        with in_one_line("interrupted; the stages were not read"):
            return frame_of(stages.submit(stages.read()).result())

    def table(
        self,
        path: str | None = None,
        *,
        rows: int | None = MOST_ROWS,
        format: Format | None = None,  # noqa: A002 - pandas' and Spark's word
        **options: Any,
    ) -> pd.DataFrame:
        """Return what the run wrote, read from the object storage of its service.

        Parameters
        ----------
        path
            ``s3a://bucket/folder`` or one file; ``$name`` in it is the run's parameter of that name. By default the only path
            that the run's event log names as written.
        rows
            The most rows; a warning says that there are more. None reads all.
        format
            ``parquet``, ``csv``, ``json`` (a value per line) or ``orc``; by default what the names of the files say.
        options
            For pandas' reader of that format; for Parquet those of Arrow's ``ParquetFile.iter_batches``, such as ``columns``.
            Spark writes CSV without names of columns unless it is asked for them: ``header=None`` reads such files.

        Returns
        -------
        DataFrame
            The rows of all files below one another, in the order of their names. Folders such as ``month=7`` below the path are
            columns at its end, whose values are read as `convert_parameters` of a table of runs does.

        Raises
        ------
        CellError
            The path names no place, or none is given and the run wrote to none or to several.
        DataflowError
            There are no files of data, or they cannot be read.
        """
        with in_one_line("interrupted; the result was not read"):
            return read_result(self._live, path, rows, format, options)

    def again(self) -> Run:
        """Start the same once more: the job, condition, parameters and place of the marker, at the same target.

        Raises
        ------
        CellError
            The run had a secret parameter whose value is unknown here, or may have been started after all.
        DataflowError
            The run was certainly not started.
        """
        return self._live.again().handle

    def show(self) -> None:
        """Show the run's card below the running cell and keep it up to date there."""
        self._live.show()
