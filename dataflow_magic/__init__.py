"""Run, watch and understand NAVER Cloud Data Flow jobs from a Jupyter notebook.

``%load_ext dataflow_magic`` loads the magics. `run` does the same from Python, and `Client` is the plain API. Each name is
imported on first use, so importing the package costs next to nothing.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataflow_magic.api import compare, connect, get, local_path, run, runs, start, sweep, sweeps
    from dataflow_magic.cell.values import secret
    from dataflow_magic.client.client import Client
    from dataflow_magic.errors import DataflowError, RunFailed, SweepFailed, WaitTimeout
    from dataflow_magic.magics.extension import load_ipython_extension, unload_ipython_extension
    from dataflow_magic.models.wire import Job, JobCondition, JobExecution, Page, RunState
    from dataflow_magic.session.handle import Run
    from dataflow_magic.session.sweep.handle import Sweep

__all__ = [
    "Client",
    "DataflowError",
    "Job",
    "JobCondition",
    "JobExecution",
    "Page",
    "Run",
    "RunFailed",
    "RunState",
    "Sweep",
    "SweepFailed",
    "WaitTimeout",
    "compare",
    "connect",
    "get",
    "load_ipython_extension",
    "local_path",
    "run",
    "runs",
    "secret",
    "start",
    "sweep",
    "sweeps",
    "unload_ipython_extension",
]

_HOMES = {
    "Client": "client.client",
    "DataflowError": "errors",
    "Job": "models.wire",
    "JobCondition": "models.wire",
    "JobExecution": "models.wire",
    "Page": "models.wire",
    "Run": "session.handle",
    "RunFailed": "errors",
    "RunState": "models.wire",
    "Sweep": "session.sweep.handle",
    "SweepFailed": "errors",
    "WaitTimeout": "errors",
    "compare": "api",
    "connect": "api",
    "get": "api",
    "load_ipython_extension": "magics.extension",
    "local_path": "api",
    "run": "api",
    "runs": "api",
    "secret": "cell.values",
    "start": "api",
    "sweep": "api",
    "sweeps": "api",
    "unload_ipython_extension": "magics.extension",
}

# Without a handler, Python would print warnings of background work into the cell that runs.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("dataflow-magic")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
