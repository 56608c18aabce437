"""A kernel asked over Jupyter's protocol, without a front end: what it says is kept as a front end would keep it."""

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
    """The kernel never began a cell that was sent to it while it had nothing to do."""


class Kernel:
    """A kernel whose input can be asked for, as JupyterLab and qtconsole say. Outputs are kept by their display id."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.outputs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        """State of each widget, by its id."""

    def run(self, cell: str) -> list[dict[str, Any]]:
        """Run a cell to its end and return what it showed itself, each a bundle by mime type."""
        sent = self._client.execute(cell, allow_stdin=True)
        shown: list[dict[str, Any]] = []
        begun = False
        while (message := self._next(PATIENCE)) is not None:
            if message["parent_header"].get("msg_id") != sent:
                continue
            begun, content = True, message["content"]
            match message["msg_type"]:
                case "display_data" | "execute_result":
                    shown.append(content["data"])
                case "stream":
                    shown.append({content["name"]: content["text"]})
                case "error":
                    shown.append({"error": content["evalue"]})
                case "status" if content["execution_state"] == "idle":
                    return shown
        if not begun:
            raise RequestLost(cell)
        raise AssertionError(f"no end within {PATIENCE:g} s of {cell!r}")

    def until_shown(self, text: str) -> dict[str, Any]:
        """Return the first output whose plain text begins so, waiting for it; the kernel is asked nothing meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for output in self.outputs.values():
                if output["text/plain"].startswith(text):
                    return output
            self._next(0.1)
        raise AssertionError(f"nothing begins with {text!r} among {list(self.outputs.values())}")

    def until_ticked(self) -> None:
        """Return once a card's clock has been seen to go on; the kernel is asked nothing meanwhile."""
        seen: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while len(seen) < 3:
            assert time.monotonic() < deadline, f"the clock stands still: {seen}"
            self._next(0.1)
            seen |= {
                str(state["value"]) for state in self.models.values() if "timer" in str(state.get("value"))
            }

    def new_subshell(self) -> str:
        """Have the kernel begin a second shell, as JupyterLab does for its widgets."""
        asked = self._client.session.msg("create_subshell_request")
        self._client.control_channel.send(asked)
        return str(self._client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"])

    def click(self, button: str, *, subshell: str | None = None) -> None:
        """Click a widget's button, by its words."""
        model = next(name for name, state in self.models.items() if state.get("description") == button)
        clicked = {"comm_id": model, "data": {"method": "custom", "content": {"event": "click"}}}
        message = self._client.session.msg("comm_msg", clicked)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)

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
    """Return the variables of a kernel whose runs go to the scripted service at an address."""
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
    """Start a Python kernel with the extension loaded, and end it afterwards."""
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
