"""A kernel over Jupyter's protocol, without a front end. Keeps outputs and widgets as a front end does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.helpers import ACCESS_KEY, SECRET_KEY
from tests.local_service import no_credentials

__all__ = ["Kernel", "RequestLost", "kernel_environment", "open_kernel"]

PATIENCE = 60.0


class RequestLost(Exception):
    """An idle kernel never started a cell that was sent to it."""


class Kernel:
    """A kernel with an input channel, as under JupyterLab and qtconsole. Keeps outputs by display id."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.outputs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        """State of each widget, by the id of its model."""

    def run(self, cell: str, *, cell_id: str = "") -> list[dict[str, Any]]:
        """Run a cell to its end and return its own outputs, each a bundle by mime type."""
        content = {"code": cell, "silent": False, "store_history": True, "allow_stdin": True}
        message = self._client.session.msg("execute_request", content, metadata={"cellId": cell_id})
        self._client.shell_channel.send(message)
        sent = message["header"]["msg_id"]
        shown: list[dict[str, Any]] = []
        is_started = False
        while (message := self._next(PATIENCE)) is not None:
            if message["parent_header"].get("msg_id") != sent:
                continue
            is_started, content = True, message["content"]
            match message["msg_type"]:
                case "display_data" if "text/plain" not in content["data"]:
                    shown[-1] |= content["data"]  # the widgets of the card above
                case "display_data" | "execute_result":
                    shown.append(content["data"])
                case "stream":
                    shown.append({content["name"]: content["text"]})
                case "error":
                    shown.append({"error": content["evalue"]})
                case "status" if content["execution_state"] == "idle":
                    return shown
        if not is_started:
            raise RequestLost(cell)
        raise AssertionError(f"no end within {PATIENCE:g} s of {cell!r}")

    def until_shown(self, text: str) -> dict[str, Any]:
        """Wait for an output whose plain text begins with ``text``, and return it. Sends no request to the kernel."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for output in self.outputs.values():
                if output.get("text/plain", "").startswith(text):
                    return output
            self._next(0.1)
        raise AssertionError(f"nothing begins with {text!r} among {list(self.outputs.values())}")

    def until_ticked(self) -> None:
        """Wait until the clock of a card has ticked. Sends no request to the kernel."""
        seen: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while len(seen) < 3:
            assert time.monotonic() < deadline, f"the clock stands still: {seen}"
            self._next(0.1)
            seen |= {
                str(state["value"]) for state in self.models.values() if "timer" in str(state.get("value"))
            }

    def new_subshell(self) -> str:
        """Start a subshell of the kernel, as JupyterLab does for its widgets, and return its id."""
        request = self._client.session.msg("create_subshell_request")
        self._client.control_channel.send(request)
        return str(self._client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"])

    def click(self, button: str, *, subshell: str | None = None) -> None:
        """Click the button with this description."""
        model = next(name for name, state in self.models.items() if state.get("description") == button)
        clicked = {"comm_id": model, "data": {"method": "custom", "content": {"event": "click"}}}
        message = self._client.session.msg("comm_msg", clicked)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)

    def refuse_widgets(self) -> None:
        """Close the connection of every widget, as a front end does that has none."""
        for model in self.models:
            closed = self._client.session.msg("comm_close", {"comm_id": model, "data": {}})
            self._client.shell_channel.send(closed)

    def _next(self, seconds: float) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = self._client.get_iopub_msg(timeout=seconds)
        except Empty:
            return None
        content = message["content"]
        match message["msg_type"]:
            case "display_data" | "update_display_data":
                if display_id := content["transient"].get("display_id"):
                    self.outputs[display_id] = content["data"]
            case "comm_open":
                self.models[content["comm_id"]] = content["data"]["state"]
            case "comm_msg" if content["data"].get("method") == "update":
                self.models[content["comm_id"]] |= content["data"]["state"]
        return message


def kernel_environment(home: Path, address: str, **more: str) -> dict[str, str]:
    """Return the environment of a kernel whose target is the scripted service at this address."""
    kept = {name: value for name, value in os.environ.items() if name not in no_credentials()}
    return kept | {
        "DATAFLOW_MAGIC_HOME": str(home / "magic"),
        "DATAFLOW_TARGET": address,
        "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
        "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        "IPYTHONDIR": str(home / "ipython"),
        **more,
    }


@contextmanager
def open_kernel(environment: Mapping[str, str]) -> Iterator[Kernel]:
    """Start a Python kernel with the extension loaded, and end it on exit."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(environment), extra_arguments=["--log-level=ERROR"])
    client: BlockingKernelClient = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        kernel = Kernel(client)
        assert kernel.run("%load_ext dataflow_magic") == []
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
