"""What a name means: a run or a sweep of this process, or one of the ledger. Starts and follows nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import TypeAlias

from dataflow_magic import errors
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import RunRecord
from dataflow_magic.ledger.sweeps import SweepRecord, SweepTable
from dataflow_magic.session.handle import Run
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.sweep.handle import Sweep

__all__ = [
    "LAST",
    "MOST_NAMED",
    "MOST_OFFERED",
    "Handle",
    "bind",
    "find_named",
    "handle_of",
    "live_of",
    "name_of",
    "names_to_offer",
    "runs_of",
]

Handle: TypeAlias = LiveRun | Sweep
"""What a name means to this package; a user has a `Run` for a `LiveRun`."""
Stored: TypeAlias = RunRecord | SweepRecord
"""What a name means to the ledger."""

LAST = "@last"
"""Names the newest start: of this kernel, else of this notebook, else of this machine."""
MOST_NAMED = 10
"""Names in the message for a beginning that several have."""
MOST_NEAR = 3
"""Names in the message for a name that nothing has."""
MOST_OFFERED = 10
"""Runs and sweeps that are over and offered to complete a name."""
MOST_COMPARED = 50
"""Runs of the ledger that such a name is compared with."""


def find_named(
    text: str,
    variables: Mapping[str, object],
    runs: Sequence[LiveRun],
    sweeps: Sequence[Sweep],
    ledger: Ledger,
    table: SweepTable,
    notebook: str,
) -> Handle | Stored:
    """Return what a name means; the first of these that matches.

    The key or id of a run or sweep of this process, a variable that holds one, a beginning of such a key or id that no
    other has, and the same in the ledger.

    Parameters
    ----------
    variables
        The names that the user's code sees.
    runs, sweeps
        Of this process, oldest first.
    ledger, table
        Runs and sweeps of this machine; read only where this process has nothing of that name.
    notebook
        Of this process; empty where unknown.

    Raises
    ------
    NoSuchRun
        Nothing has the name; the message has the nearest names.
    CellError
        Several begin with the text.
    ConfigError
        The ledger cannot be read.
    """
    if text == LAST:
        return _last(runs, sweeps) if runs else _last_stored(ledger.last(notebook), table)
    here: list[Handle] = [*sweeps, *runs]
    known = [(name, handle) for handle in here for name in _names(handle) if text]
    bound = _bound(variables).get(text)
    found: list[Handle | Stored] = [handle for name, handle in known if name == text]
    if not found and bound is not None:
        found = [bound]
    if not found:
        found = [handle for name, handle in known if name.startswith(text)]
    if not found and text:
        found = [*table.find(text), *ledger.find(text)]
        found = [each for each in found if text in _names(each)] or found
    different = list({_identity(each): each for each in found}.values())
    if len(different) == 1:
        return different[0]
    if different:
        shown = ", ".join(_names(each)[0] for each in different[:MOST_NAMED])
        more = ", ..." if len(different) > MOST_NAMED else ""
        raise errors.CellError(f"{len(different)} runs begin with {text!r}: {shown}{more}")
    raise errors.NoSuchRun(
        _unknown(
            text,
            variables,
            [*sweeps, *reversed(runs), *table.newest(MOST_COMPARED), *ledger.newest(MOST_COMPARED)],
        )
    )


def live_of(value: object) -> Handle | None:
    """Return the run or the sweep that a value of the user is; None for any other value."""
    if isinstance(value, Run):
        return value._live  # noqa: SLF001 - its own inside
    return value if isinstance(value, Handle) else None


def handle_of(found: Handle) -> Run | Sweep:
    """Return what a user gets for a run or a sweep."""
    return found if isinstance(found, Sweep) else found.handle


def bind(variables: MutableMapping[str, object], name: str, handle: object) -> None:
    """Bind a value, such as a run or a sweep, to a variable; the card of a sweep then names it."""
    variables[name] = handle
    if isinstance(handle, Sweep):
        handle._variable = name  # noqa: SLF001 - of this folder


def name_of(handle: Handle) -> str:
    """Return the id of a run, or the key of a sweep or of a run that has no id."""
    return _names(handle)[0]


def runs_of(handles: Iterable[Handle]) -> list[LiveRun]:
    """Return the runs of runs and sweeps, as far as they were sent."""
    return [run for handle in handles for run in (handle.live if isinstance(handle, Sweep) else [handle])]


def names_to_offer(
    beginning: str, variables: Mapping[str, object], handles: Iterable[Handle], stored: Iterable[RunRecord]
) -> dict[str, str]:
    """Return names that begin so, one of each run and sweep, with its job and state.

    Active ones come first, those of this process before those of the ledger, of each the newest first; then the newest
    that are over.

    Parameters
    ----------
    variables
        The names that the user's code sees; a variable comes before the id, and the id before the key.
    handles
        Of this process, oldest first.
    stored
        Runs of the ledger, newest first.
    """
    here = [*handles][::-1]
    keys = {handle.key for handle in here}
    there = [record for record in stored if record.key not in keys]
    over = [*(each for each in here if each.is_over), *(each for each in there if not each.is_live)]
    offered: list[Handle | RunRecord] = [each for each in here if not each.is_over]
    offered += [each for each in there if each.is_live]
    offered += over[:MOST_OFFERED]
    bound = _bound(variables)
    names = [([*(name for name in bound if bound[name] is each), *_names(each)], each) for each in offered]
    return {
        name: _described(each)
        for those, each in names
        for name in [name for name in those if name.startswith(beginning)][:1]
    }


def _last(runs: Sequence[LiveRun], sweeps: Sequence[Sweep]) -> Handle:
    return next((sweep for sweep in reversed(sweeps) if runs[-1] in sweep.live), runs[-1])


def _last_stored(newest: RunRecord | None, table: SweepTable) -> Stored:
    if newest is None:
        raise errors.NoSuchRun("no run was started on this machine yet")
    return next(iter(table.find(newest.sweep)), newest) if newest.sweep else newest


def _bound(variables: Mapping[str, object]) -> dict[str, Handle]:
    """Return the runs and sweeps that variables hold, without those of IPython."""
    return {
        name: handle
        for name, value in variables.items()
        if not name.startswith("_") and (handle := live_of(value)) is not None
    }


def _identity(found: Handle | Stored) -> object:
    return found if isinstance(found, Handle) else found.key


def _names(found: Handle | Stored) -> list[str]:
    """Return the names of a run or a sweep, the one to show first."""
    return [name for name in (getattr(found, "run_id", None), found.key) if name]


def _unknown(text: str, variables: Mapping[str, object], known: Iterable[Handle | Stored]) -> str:
    bound = variables.get(text)
    if isinstance(bound, str):
        return f"no run {text!r} was started here; write ${text} for the text that the variable holds"
    if bound is not None:
        return f"the variable {text} holds {type(bound).__name__}, not a run or a sweep"
    handles: dict[str, Handle | Stored] = {**_bound(variables)}
    for each in known:
        handles = dict.fromkeys(_names(each), each) | handles
    near = [f"{name} ({_described(handles[name])})" for name in _near(text, handles)]
    hint = f"; the nearest: {', '.join(near)}" if near else ""
    return f"no run {text!r} was started here{hint}; %dataflow_runs --all lists them"


def _near(text: str, known: Iterable[str]) -> list[str]:
    # Without regard to capitals, which are easily mistyped in an id.
    by_lower = {name.lower(): name for name in known}
    return [by_lower[name] for name in difflib.get_close_matches(text.lower(), by_lower, n=MOST_NEAR)]


def _described(found: Handle | Stored) -> str:
    return (
        f"sweep of {found.job}" if isinstance(found, Sweep | SweepRecord) else f"{found.job} {found.status}"
    )
