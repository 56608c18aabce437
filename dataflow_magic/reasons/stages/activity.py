"""How many tasks ran over time, counted in a fixed number of steps however long it takes. Pure."""

from __future__ import annotations

from dataflow_magic.models.stages import Activity

__all__ = ["ActivityCount"]


class ActivityCount:
    """Counts the tasks that ran in each step of time, two additions a task. A longer time has longer steps.

    Parameters
    ----------
    began
        Milliseconds; no task counts before.
    steps
        How many steps are kept; an even number.
    """

    __slots__ = ("_areas", "_began", "_changes", "_end", "_last", "_step", "_steps")

    def __init__(self, began: int, steps: int) -> None:
        self._began = began
        self._steps = steps
        self._step = 1
        self._end = began + steps
        self._last = began
        # Of each step the tasks that began in it less those that ended in it, and the same as time to the step's end.
        self._changes = [0] * steps
        self._areas = [0] * steps

    def add(self, began: int, ended: int) -> None:
        """Count one task from its begin to its end, in milliseconds."""
        ended = max(ended, began, self._began)
        while ended >= self._end:
            self._widen()
        self._last = max(self._last, ended)
        step = self._step
        place, offset = divmod(max(0, began - self._began), step)
        self._changes[place] += 1
        self._areas[place] += step - offset
        place, offset = divmod(ended - self._began, step)
        self._changes[place] -= 1
        self._areas[place] -= step - offset

    def result(self) -> Activity:
        """Return the steps up to the last task's end."""
        levels = []
        running = 0
        for change, area in zip(self._changes, self._areas, strict=True):
            levels.append(running + area / self._step)
            running += change
        used = -(-(self._last - self._began) // self._step)
        return Activity(self._began, self._step, tuple(levels[:used]))

    def _widen(self) -> None:
        """Double each step's length."""
        step, half = self._step, self._steps // 2
        changes, areas = self._changes, self._areas
        self._areas = [areas[k] + changes[k] * step + areas[k + 1] for k in range(0, self._steps, 2)] + [
            0
        ] * half
        self._changes = [changes[k] + changes[k + 1] for k in range(0, self._steps, 2)] + [0] * half
        self._step = step * 2
        self._end = self._began + self._steps * self._step
