"""Two runs side by side: what differs between them, causes before effects. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, Final, Literal, NamedTuple, get_args

from dataflow_magic.models.marker import MARKER_PARAMETER, bare, is_marked, marker_of
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.stages import StageReport
from dataflow_magic.models.view import RunView

__all__ = ["PARTS", "Comparison", "Difference", "Fact", "RanScript", "Side", "compared"]

Part = Literal["parameter", "condition", "script", "outcome", "time", "stage", "work"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""In the order of a comparison: what was asked, then what came of it."""

MOST_LINES: Final = 40
"""Lines of two scripts that are shown to differ."""
MOST_COMPARED: Final = 1 << 17
"""Characters of two scripts that are compared line by line: with more, a comparison may take seconds."""
OUT_OF_LINE: Final = 1.25
"""From this ratio on a time counts as different: runs of the same script differ by some percent each time."""
NOTHING: Final = timedelta(0)
LEAST: Final = timedelta(seconds=1)
"""By which two times must differ, too: starting alone takes a part of a second more or less."""

MOST_STAGES: Final = 5
"""Stages that are compared: those whose times differ most."""

CONDITION: Final = {
    "numWorker": "workers",
    "timeout": "timeout_minutes",
    "workerType": "worker_type",
    "scriptPath": "script_path",
    "logPath": "log_path",
}
"""Field of the job condition -> column of the table of runs."""
OF_ONE_RUN: Final = {"consoleLogPath", "parameters"}
"""Fields that a service lists with a condition, and that nobody asked for."""


Fact = str | timedelta | int | None


class Difference(NamedTuple):
    """One fact of two runs.

    Attributes
    ----------
    name
        The parameter, the field, or of a script the line: ``line 12``, ``after line 11`` for one that only the second has.
    first, second
        The fact as text; None where a run has none, or it is unknown. A time is a `timedelta`, an amount an int: rows, or
        bytes.
    differs
        None where that is unknown: a secret value, or a script that nobody kept.
    """

    part: Part
    name: str
    first: Fact
    second: Fact
    differs: bool | None

    @property
    def ratio(self) -> float | None:
        """The second time or amount over the first; None for other facts, for unknown ones, and where the first is zero."""
        match self.first, self.second:
            case timedelta() as first, timedelta() as second if first:
                return second / first
            case int(first), int(second) if first:
                return second / first
        return None


@dataclass(frozen=True, slots=True)
class RanScript:
    """The text of a script.

    Parameters
    ----------
    text
        None where it could not be read.
    is_kept
        Whether it is what the run had: a local service keeps it with the run's logs. Otherwise it is what the storage has
        now, which may have been written since.
    """

    text: str | None = None
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs."""

    view: RunView
    script: RanScript = RanScript()
    stages: StageReport | None = None
    """None where no event log was read."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side.

    Parameters
    ----------
    first, second
        Their names.
    facts
        As `compared` returns them.
    """

    first: str
    second: str
    facts: tuple[Difference, ...]


def compared(first: Side, second: Side) -> list[Difference]:
    """Return the facts of two runs: first those that differ, then the unknown ones, then the others, each in the order of `PARTS`."""
    found = [
        *_parameters(first.view, second.view),
        *_conditions(first.view, second.view),
        *_scripts(first, second),
        *_outcomes(first.view, second.view),
        *_times(first.view, second.view),
        *_stages(first.stages, second.stages),
        *_work(first.stages, second.stages),
    ]
    return sorted(found, key=lambda each: {True: 0, None: 1, False: 2}[each.differs])


def _parameters(first: RunView, second: RunView) -> Iterator[Difference]:
    one, other = _named(first), _named(second)
    for name in dict.fromkeys([*one, *other]):
        left, right = one.get(name), other.get(name)
        yield Difference("parameter", name, _spelled(left), _spelled(right), _differ(left, right))


def _named(view: RunView) -> dict[str, Parameter]:
    """Return the parameters as asked, and those that the service took from the job, names without ``$``."""
    listed = view.execution.parameters if view.execution else {}
    found: dict[str, Parameter] = {}
    # What was asked has its own types and order; the service lists texts.
    for name, value in [*view.request.parameters.items(), *listed.items()]:
        if value != marker_of(view.key) or name.removeprefix("$") != MARKER_PARAMETER.removeprefix("$"):
            found.setdefault(name.removeprefix("$"), value)
    return found


def _differ(first: Parameter | None, second: Parameter | None) -> bool | None:
    if isinstance(first, Secret) and isinstance(second, Secret):
        # Equal values have equal marks within one process, and the values of another process are unknown.
        if first.mark and first == second:
            return False
        return True if first.reveal() is not None and second.reveal() is not None else None
    if isinstance(first, Secret) or isinstance(second, Secret):
        return True if first is None or second is None else None
    return _spelled(first) != _spelled(second)


def _conditions(first: RunView, second: RunView) -> Iterator[Difference]:
    one, other = _condition(first), _condition(second)
    for name in dict.fromkeys([*one, *other]):
        yield from _fact("condition", name, _spelled(one.get(name)), _spelled(other.get(name)))


def _condition(view: RunView) -> dict[str, Any]:
    asked = view.request.condition.to_wire()
    fields = {CONDITION.get(name, name): value for name, value in asked.items() if name not in OF_ONE_RUN}
    path = fields.get("log_path")
    if is_marked(path):
        fields["log_path"] = f"{bare(path).rpartition('/')[0]}/"
    return {"job": view.job_name, "target": view.target, **fields, **view.request.query}


def _scripts(first: Side, second: Side) -> Iterator[Difference]:
    before, after = first.script.text, second.script.text
    is_same_object = _condition(first.view).get("script_path") == _condition(second.view).get("script_path")
    are_kept = first.script.is_kept and second.script.is_kept
    if before is None or after is None or (is_same_object and not are_kept):
        yield Difference("script", "text", None, None, differs=None)
        return
    if before == after:
        yield Difference("script", "text", None, None, differs=False)
        return
    lines = before.splitlines(), after.splitlines()
    if lines[0] == lines[1]:
        yield Difference("script", "line ends", None, None, differs=True)
        return
    if len(before) + len(after) > MOST_COMPARED:
        yield Difference("script", "characters", f"{len(before):,}", f"{len(after):,}", differs=True)
        return
    found = list(_lines(*lines))
    yield from found[:MOST_LINES]
    if left := found[MOST_LINES:]:
        yield Difference("script", f"{len(left)} more", "...", "...", differs=True)


def _lines(before: list[str], after: list[str]) -> Iterator[Difference]:
    for kind, start, stop, new_start, new_stop in SequenceMatcher(None, before, after).get_opcodes():
        if kind == "equal":
            continue
        for number, (old, new) in enumerate(
            zip_longest(before[start:stop], after[new_start:new_stop]), start + 1
        ):
            name = f"after line {stop}" if old is None else f"line {number}"
            yield Difference("script", name, old, new, differs=True)


def _outcomes(first: RunView, second: RunView) -> Iterator[Difference]:
    yield Difference("outcome", "status", first.status, second.status, first.status != second.status)
    one, other = _failure(first), _failure(second)
    for name in one:
        yield from _fact("outcome", name, one[name], other[name])


def _failure(view: RunView) -> dict[str, str | None]:
    failure = view.failure
    if failure is None:
        return dict.fromkeys(("error_class", "reason", "own_line"))
    place = failure.place
    line = f"{place}: {place.source}".removesuffix(": ") if place else None
    return {"error_class": failure.error_class or None, "reason": failure.reason, "own_line": line}


def _times(first: RunView, second: RunView) -> Iterator[Difference]:
    for name, one, other in (
        ("waited", first.times.waited, second.times.waited),
        ("ran", first.times.ran, second.times.ran),
        ("total", first.times.total, second.times.total),
    ):
        if one or other:
            left, right = one and one.length, other and other.length
            yield Difference("time", name, left, right, _is_longer(left, right))


def _stages(first: StageReport | None, second: StageReport | None) -> Iterator[Difference]:
    """Yield the times of the stages that differ most: the first of an operation with the first of the same, and so on."""
    if first is None or second is None:
        return
    one, other = _named_stages(first), _named_stages(second)
    pairs = [(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]
    pairs.sort(key=lambda pair: -abs((pair[1] or NOTHING) - (pair[2] or NOTHING)))
    for name, left, right in pairs[:MOST_STAGES]:
        # A stage that one run has alone is a difference only if it took as long as one.
        yield Difference("stage", name, left, right, _is_longer(left or NOTHING, right or NOTHING))


def _named_stages(report: StageReport) -> dict[str, timedelta]:
    found: dict[str, timedelta] = {}
    seen: Counter[str] = Counter()
    for stage in report.stages:
        if stage.took is not None:
            # Not by its line, which another version of the script has elsewhere.
            # Spark names what it does on threads of its own, such as a broadcast, by a function of its code.
            name = "background" if stage.name.startswith("$") else stage.name
            seen[name] += 1
            number = f" ({seen[name]})" if seen[name] > 1 else ""
            found[f"{name}{number}"] = timedelta(milliseconds=stage.took)
    return found


def _work(first: StageReport | None, second: StageReport | None) -> Iterator[Difference]:
    if first is None and second is None:
        return
    one, other = (_sums(report) if report else {} for report in (first, second))
    for name in one or other:
        left, right = one.get(name), other.get(name)
        if left or right:
            differs = None if left is None or right is None else left != right
            yield Difference("work", name, left, right, differs)


def _sums(report: StageReport) -> dict[str, int]:
    stages = report.stages
    return {
        "stages": len(stages) + report.left_out,
        "rows_in": sum(stage.rows_in for stage in stages),
        "rows_out": sum(stage.rows_out for stage in stages),
        "bytes_read": sum(stage.bytes_in for stage in stages),
        "bytes_written": sum(stage.bytes_out for stage in stages),
        "shuffle_written": sum(stage.shuffle_written for stage in stages),
        "spilled": sum(stage.spilled for stage in stages),
    }


def _is_longer(first: timedelta | None, second: timedelta | None) -> bool | None:
    if first is None or second is None:
        return None
    shorter, longer = sorted((first, second))
    return longer - shorter >= LEAST and longer >= shorter * OUT_OF_LINE


def _fact(part: Part, name: str, first: str | None, second: str | None) -> Iterator[Difference]:
    """Yield a fact that at least one run has."""
    if first is not None or second is not None:
        yield Difference(part, name, first, second, first != second)


def _spelled(value: object) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
