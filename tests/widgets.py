"""Outputs and connections of widgets that record what is sent, for tests."""

from __future__ import annotations

import gc
from typing import Any

import ipywidgets

__all__ = ["Comm", "Outputs", "live_widgets", "seen_in_boxes"]


class Outputs:
    """A front end's outputs by display id, instead of IPython's `display`; a card and its widgets count as one."""

    def __init__(self) -> None:
        self.saved: dict[str, dict[str, Any]] = {}
        self.live: dict[str, dict[str, Any]] = {}
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
        assert metadata == {}
        self.calls += 1
        half = self.live if display_id.endswith("-live") else self.saved
        assert (display_id in half) is update
        half[display_id] = bundle

    @property
    def bundles(self) -> dict[str, dict[str, Any]]:
        """Return what each output holds, with the widgets below it."""
        return {name: self.live.get(f"{name}-live", {}) | bundle for name, bundle in self.saved.items()}

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
        self.sent.append(data.get("state", {}))


def live_widgets() -> list[ipywidgets.Widget]:
    """Return every widget in memory, also one that is closed."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, ipywidgets.Widget)]


def seen_in_boxes(made: list[ipywidgets.Widget]) -> list[ipywidgets.Widget]:
    """Return the buttons and the question that a card shows, in order: what the style sheet does not hide."""

    def is_seen(widget: ipywidgets.Widget) -> bool:
        return "dfm-off" not in widget._dom_classes

    classes = ("dfm-buttons", "dfm-ask")
    boxes = [
        each for each in made if isinstance(each, ipywidgets.HBox) and set(each._dom_classes) & set(classes)
    ]
    heads = [each.children for each in made if "dfm-head" in getattr(each, "_dom_classes", ())]
    in_heads = [each for children in heads for each in children]
    boxes.sort(key=lambda box: in_heads.index(box) if box in in_heads else len(in_heads))
    return [each for box in boxes if is_seen(box) for each in box.children if is_seen(each)]
