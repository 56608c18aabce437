"""Outputs and connections of widgets that record what is sent, for tests."""

from __future__ import annotations

import gc
from typing import Any

import ipywidgets

__all__ = ["Comm", "Outputs", "live_widgets"]


class Outputs:
    """A front end's outputs by display id, instead of IPython's `display`."""

    def __init__(self) -> None:
        self.bundles: dict[str, dict[str, Any]] = {}
        self.metadata: list[dict[str, Any]] = []
        self.calls = 0

    def __call__(
        self,
        bundle: dict[str, Any],
        *,
        raw: bool,
        metadata: dict[str, Any],
        display_id: str,
        update: bool,
    ) -> None:
        assert raw
        assert (display_id in self.bundles) is update
        self.bundles[display_id] = bundle
        self.metadata.append(metadata)
        self.calls += 1

    @property
    def kinds(self) -> list[set[str]]:
        return [set(bundle) for bundle in self.bundles.values()]


class Comm:
    """The connection of a widget to the browser."""

    def __init__(self, widget: ipywidgets.Widget) -> None:
        self.comm_id = widget.model_id  # or the widget would not be found once it is closed
        self.sent: list[dict[str, Any]] = []

    def on_msg(self, _callback: object) -> None: ...

    def close(self) -> None: ...

    def send(self, data: dict[str, Any], **_: object) -> None:
        self.sent.append(data["state"])


def live_widgets() -> list[ipywidgets.Widget]:
    """Return every widget in memory, also one that is closed."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, ipywidgets.Widget)]
