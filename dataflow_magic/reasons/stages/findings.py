"""What is out of line in a stage, in one sentence; nothing where its numbers do not show it. Pure.

The limits are meant to be too high: a finding sends a reader to change a script.
"""

from __future__ import annotations

from typing import Final

from dataflow_magic.models.stages import Finding, Stage

__all__ = ["finding_of"]

WORTH: Final = 2_000
"""Milliseconds of a stage below which nothing is said: a change could win no more."""
SKEW: Final = 5.0
"""Slowest over median task; ``spark.sql.adaptive.skewJoin.skewedPartitionFactor`` has the same."""
SKEW_LEAST: Final = 5_000
"""Milliseconds of the slowest task: the start of a Python worker or of compiled code alone can take seconds."""
SKEW_SHARE: Final = 0.3
"""Of the stage's time that the slowest task takes: below it other tasks keep the cores busy meanwhile."""
FEWEST: Final = 3
"""Tasks that have a slowest one and others."""
SPILL: Final = 64 << 20
"""Bytes on disk: the size of a partition that Spark itself aims at, ``spark.sql.adaptive.advisoryPartitionSizeInBytes``."""
GC: Final = 0.1
"""Of the tasks' time; Spark's own pages mark an executor red from there."""
TINY: Final = 100
"""Milliseconds of the median task. Spark's guide to tuning calls tasks of 200 ms short, and fine."""
TINY_WAVES: Final = 20
"""Tasks for each core: with as many, fewer and larger ones would keep all cores busy too."""
ALONE: Final = 10_000
"""Milliseconds of a stage's only task, while other cores had none."""
MOST_KEYS: Final = 3


def finding_of(stage: Stage) -> Finding | None:
    """Return what costs a stage most time, of what its numbers show; None where nothing is out of line."""
    took = stage.took
    if took is None or took < WORTH or stage.slowest is None:
        return None
    checks = (_alone, _skew, _spill, _gc, _tiny)
    return next((found for check in checks if (found := check(stage, took))), None)


def _alone(stage: Stage, took: int) -> Finding | None:
    if stage.tasks != 1 or stage.cores < 2 or took < ALONE:
        return None
    return Finding("alone", f"its only task took {_time(stage.slowest or 0)} on one of {stage.cores} cores")


def _skew(stage: Stage, took: int) -> Finding | None:
    slowest, share = stage.slowest or 0, (stage.slowest or 0) / took
    if (
        stage.tasks_done < FEWEST
        or slowest < max(SKEW_LEAST, SKEW * (stage.median or 0))
        or share < SKEW_SHARE
    ):
        return None
    keys = ", ".join(f"`{key}`" for key in stage.keys) if len(stage.keys) <= MOST_KEYS else ""
    text = (
        f"one of {stage.tasks} tasks took {min(100, round(100 * share))} % of the time: {_time(slowest)}, "
        f"the median task {_time(stage.median or 0)}"
    )
    return Finding("skew", f"{text}; skewed on {keys}?" if keys else text)


def _spill(stage: Stage, _: int) -> Finding | None:
    if stage.spilled < SPILL:
        return None
    return Finding("spill", f"its tasks ran out of memory and wrote {_size(stage.spilled)} to disk")


def _gc(stage: Stage, _: int) -> Finding | None:
    share = stage.gc_time / stage.task_time if stage.task_time else 0.0
    if share < GC or stage.gc_time < WORTH:
        return None
    return Finding("gc", f"Java collected garbage for {round(100 * share)} % of its tasks' time")


def _tiny(stage: Stage, _: int) -> Finding | None:
    if (stage.median or 0) >= TINY or stage.tasks_done < TINY_WAVES * max(1, stage.cores):
        return None
    return Finding(
        "tiny",
        f"its {stage.tasks} tasks are tiny, the median {_time(stage.median or 0)}: use fewer partitions",
    )


def _time(milliseconds: int) -> str:
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{round(milliseconds / 1000):,} s"


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{round(size / 2**20)} MiB"
