"""What a schedule draws: how a service does things, what a cell starts, and what others start at which moment. Knows no session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from dataflow_magic.models.marker import Marker
from tests.faults.fake import CONDITION, Rules

__all__ = [
    "AFTER",
    "BEFORE",
    "CLOCKS",
    "LAGS",
    "LATENCIES",
    "LATENESSES",
    "MARKERS",
    "Asked",
    "draw_asked",
    "draw_grid",
    "draw_rules",
    "nearly",
    "other_condition",
    "vary",
]

REQUIRED = {name: CONDITION[name] for name in ("nrn", "scriptPath", "logPath")}
SIZE = {"numWorker": 2, "timeout": 360}
"""What a service fills in where it is not sent."""
MARKERS: tuple[Marker, ...] = ("off", "off", "log-path", "parameter")
LATENCIES = (0.0, 0.0, 0.01, 0.5, 5.0)
LATENESSES = (0.0, 5.0, 60.0, 280.0, 500.0)
"""Seconds a late request takes: some beyond the 300 for which its signature counts."""
CLOCKS = (0, 0, 0, 0, 40, -40, 200, -200, 3600, -3600)
"""Seconds a clock is off: right, off within what a signature may be, an hour off."""
LAGS = (0, 0, 0, 3, 20, 100, 900)
BEFORE = (0.0, 3.0, 20.0, 40.0, 55.0, 120.0, 250.0)
"""Seconds from somebody's run to a start: those up to five minutes lie within what a signature may be off."""
AFTER = (0.001, 2.0, 70.0, 280.0, 355.0, 390.0, 450.0, 600.0, 900.0)
"""Seconds from a request to somebody's run: of the request's own run none comes later than six minutes."""
VALUES = (1, 2, "1", "x", 1.5, True)
NEARLY: dict[str, tuple[Any, ...]] = {
    "1": (1.0, "1.0", "01", " 1", True),
    "2": (2.0, "2.0", "2 "),
    "'1'": (1.0, "1.0", "+1"),
    "'x'": ("X", " x"),
    "1.5": ("1.50", "15e-1"),
    "True": (1, "True"),
}
"""By a value as Python writes it: others that a loose comparison takes for it."""


@dataclass(frozen=True)
class Asked:
    """What a cell asks for."""

    condition: Mapping[str, Any]
    parameters: Mapping[str, Any]


def draw_rules(random: Random) -> Rules:
    """Draw how a service does what the pages leave open."""
    draw = random.choice
    return Rules(
        page_cap=draw((None, None, 1, 2, 3)),
        echo_limit=draw(("asked", "cap", "none")),
        count=draw(("total", "page", "missing", "wrong")),
        order=draw(("newest", "newest", "oldest", "unordered")),
        parameters=draw(("object", "object", "object", "objects", "empty", "null", "missing")),
        parameters_when=draw(("at once", "running")),
        numbers=draw(("sent", "text", "number", "short")),
        names=draw(("sent", "bare")),
        shows_type=random.random() < 0.7,
        shows_trigger=random.random() < 0.7,
        shows_date=random.random() < 0.9,
        condition=draw(("whole", "filled", "missing")),
        slash=draw(("sent", "end", "none")),
        zone=draw(("+09:00", "+09:00", "", "Z")),
        ready_seconds=draw((0, 2, 2, 60)),
        running_seconds=draw((1, 30, 30, 300)),
    )


def draw_asked(random: Random) -> Asked:
    parameters = random.choice(({}, *({"$a": value} for value in VALUES)))
    return Asked({**random.choice(({}, SIZE)), **REQUIRED}, parameters)


def vary(random: Random, asked: Asked) -> Asked:
    """Draw what could be mistaken for a request, and differs from it."""
    other_size = Asked({**({} if "timeout" in asked.condition else SIZE), **REQUIRED}, asked.parameters)
    return random.choice((other_size, Asked(asked.condition, nearly(random, asked.parameters))))


def draw_grid(random: Random, asked: Asked) -> list[Asked]:
    """Draw the starts of a sweep: their values differ, some in their spelling alone."""
    values = [*VALUES, *NEARLY.get(repr(asked.parameters.get("$a")), ())]
    random.shuffle(values)
    # A cell sends every value as text.
    by_text = {value if isinstance(value, str) else json.dumps(value): value for value in values}
    return [
        Asked(asked.condition, {"$a": value}) for value in list(by_text.values())[: random.choice((2, 3, 4))]
    ]


def nearly(random: Random, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Draw parameters that differ from others: by their spelling, or more."""
    near: list[dict[str, Any]] = [{"$a": each} for each in NEARLY.get(repr(parameters.get("$a")), ())]
    far: list[dict[str, Any]] = [{}, {"$b": 1}, {"$a": "other"}]
    far = [each for each in far if each != parameters]
    return random.choice(random.choice((near or far, far)))


def other_condition(random: Random) -> dict[str, Any]:
    """Draw a setting that no cell here asks for."""
    return random.choice(({"numWorker": 3}, {"timeout": 30}, {"nrn": "nrn:2"}, {"logPath": "b/other/"}))
