"""What the drawing of a run's stages shows, as text and as places on a line of time. Pure: no markup, no clock.

Its size is bounded, whatever the run: at most `MOST_ROWS` stages, each with the steps that the fold keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dataflow_magic.card import format as fmt
from dataflow_magic.card.words import ENGLISH, Words
from dataflow_magic.models.stages import Activity, Stage, StageReport
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.reasons.stages.findings import finding_of

__all__ = ["MOST_ROWS", "WIDTH", "StageRow", "StagesState", "stages_state"]

MOST_ROWS: Final = 30
WIDTH: Final = 1000
"""Units from the begin of the first Spark application to the end of the last."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage.

    Parameters
    ----------
    name, place, took
        In words; `place` is empty where unknown, `took` while the stage runs.
    cells
        For a table of text: name, place, took, tasks, the median and the slowest task, rows read and written, bytes
        shuffled and spilled.
    facts
        The same in one line.
    begin, length
        Of its bar, in units of the drawing.
    level
        How many of its tasks ran over time: places in units, and parts of the most at once, between 0 and 1.
    slowest
        Begin and length of its slowest task; None where unknown.
    is_failed, is_running
        At most one of them.
    finding
        What is out of line; empty where nothing is.
    """

    name: str
    place: str
    took: str
    cells: tuple[str, ...]
    facts: str
    begin: float
    length: float
    level: Points = ()
    slowest: tuple[float, float] | None = None
    is_failed: bool = False
    is_running: bool = False
    finding: str = ""


@dataclass(frozen=True, slots=True)
class StagesState:
    """The stages of a run at one moment.

    Parameters
    ----------
    job, run_id, status
        Of the run.
    span
        From when to when, in Korean time.
    rows
        The stages that took longest, in the order of their submission.
    left_out
        How many there are beside these, in words; empty for none.
    level
        How many tasks of the run ran over time, as of a row; `most` is what 1 stands for.
    cores
        How many cores there were over time, likewise.
    pages
        Where Spark's own pages of this run are, in words and as commands; empty where nothing is known.
    is_final
        Whether nothing changes any more.
    refresh
        The command that draws it again.
    """

    job: str
    run_id: str
    status: str
    span: str
    rows: tuple[StageRow, ...]
    left_out: str
    level: Points
    cores: Points
    most: int
    pages: tuple[str, str]
    is_final: bool
    refresh: str
    words: Words = ENGLISH
    tick: float = 15.0

    @property
    def line_key(self) -> object:
        """What a terminal prints a new line for when it changes."""
        return self.status

    @property
    def save_key(self) -> object:
        """What a saved notebook is brought up to date for when it changes."""
        return self.status

    @property
    def later(self) -> str:
        """The command that continues with it in another kernel."""
        return self.refresh

    def timeless(self) -> StagesState:
        """Return the state: all of it is worth a repaint."""
        return self


def stages_state(
    view: RunView, report: StageReport, *, is_final: bool, words: Words = ENGLISH
) -> StagesState:
    """Return what the drawing of a run's stages shows."""
    began = report.began or 0
    total = max(1, (report.ended or 0) - began)
    shown = sorted(report.stages, key=lambda stage: -_length(stage, report))[:MOST_ROWS]
    order = sorted(shown, key=lambda stage: (stage.submitted or 0, stage.number))
    rows = tuple(_row(stage, report, began, total, words) for stage in order)
    rest = len(report.stages) + report.left_out - len(rows)
    name = fmt.short(view.run_id or view.key)
    steps = tuple(_cores(report, began, total))
    most = max([1, *(cores for _, cores in steps), *(report.activity.levels if report.activity else ())])
    return StagesState(
        job=fmt.short(view.job_name or view.job_id, fmt.JOB_LENGTH),
        run_id=name,
        status=fmt.short(view.status),
        span=_span(report),
        rows=rows,
        left_out=words.more.format(count=rest) if rest > 0 else "",
        level=_points(report.activity, most, began, total),
        cores=tuple((place, cores / most) for place, cores in steps),
        most=round(most),
        pages=_pages(view, report, words),
        is_final=is_final,
        refresh=f"%dataflow_stages {name}",
        words=words,
    )


def _pages(view: RunView, report: StageReport, words: Words) -> tuple[str, str]:
    if not report.applications:
        return "", ""
    app = fmt.short(report.applications[-1])
    if view.target == "local":
        return words.spark_pages, f"dataflow-magic local history  →  http://127.0.0.1:18080/history/{app}/"
    return words.spark_application, app


def _span(report: StageReport) -> str:
    if report.began is None or report.ended is None:
        return ""
    begin, end = (datetime.fromtimestamp(each / 1000, KST) for each in (report.began, report.ended))
    return f"{fmt.day_and_clock(begin)} → {fmt.clock(end)}"


def _length(stage: Stage, report: StageReport) -> int:
    return (stage.completed or report.ended or 0) - (stage.submitted or 0)


def _row(stage: Stage, report: StageReport, began: int, total: int, words: Words) -> StageRow:
    scale = WIDTH / total
    found, place = finding_of(stage), stage.place
    most = max([1.0, *(stage.activity.levels if stage.activity else ())])
    cells = tuple(_cells(stage, words))
    slowest = None
    if stage.slowest is not None and stage.slowest_began is not None:
        slowest = (stage.slowest_began - began) * scale, stage.slowest * scale
    return StageRow(
        words.stage.format(number=stage.number, name=fmt.short(stage.name)),
        words.place.format(file=fmt.short(place.file), line=place.line) if place else "",
        cells[2],
        cells,
        ", ".join(
            f"{name} {cell}" for name, cell in zip(words.stage_columns[3:], cells[3:], strict=True) if cell
        ),
        ((stage.submitted or began) - began) * scale,
        max(2.0, _length(stage, report) * scale),
        _points(stage.activity, most, began, total),
        slowest,
        stage.state == "FAILED",
        stage.state == "RUNNING",
        words.sentence(fmt.line(found.sentence)) if found else "",
    )


def _cells(stage: Stage, words: Words) -> Iterator[str]:
    yield words.stage.format(number=stage.number, name=fmt.short(stage.name))
    yield f"{fmt.short(stage.place.file)}:{stage.place.line}" if stage.place else ""
    yield _time(stage.took)
    failed = f" ({words.attempts_failed.format(failed=stage.tasks_failed)})" if stage.tasks_failed else ""
    yield f"{stage.tasks_done}/{stage.tasks}{failed}"
    yield _time(stage.median)
    yield _time(stage.slowest)
    yield f"{stage.rows_in:,}" if stage.rows_in else ""
    yield f"{stage.rows_out:,}" if stage.rows_out else ""
    yield _size(stage.shuffle_read + stage.shuffle_written)
    yield _size(stage.spilled)


def _points(activity: Activity | None, most: float, began: int, total: int) -> Points:
    """Return the corners of a curve of steps."""
    if activity is None:
        return ()
    scale, points = WIDTH / total, []
    for number, level in enumerate(activity.levels):
        begin = (activity.began + number * activity.step - began) * scale
        points += [(begin, level / most), (min(WIDTH, begin + activity.step * scale), level / most)]
    return tuple(points)


def _cores(report: StageReport, began: int, total: int) -> Iterator[tuple[float, int]]:
    """Yield the cores of the executors over time."""
    changes: dict[int, int] = {}
    for executor in report.executors:
        changes[executor.added] = changes.get(executor.added, 0) + executor.cores
        if executor.removed is not None:
            changes[executor.removed] = changes.get(executor.removed, 0) - executor.cores
    cores = 0
    # Of very many changes some: a drawing shows no more.
    for moment in sorted(changes)[:100]:
        place = max(0.0, (moment - began) * WIDTH / total)
        yield place, cores
        cores += changes[moment]
        yield place, cores
    if changes:
        yield float(WIDTH), cores


def _time(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _size(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B" if size else ""
