import os
from collections.abc import Iterator

import ipywidgets
import pytest
from hypothesis import settings

from tests.helpers import Scene, notebook_with_magics
from tests.widgets import Outputs

# How long an example takes says how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
# A warm JVM costs more than it gives where each service carries out a run or two: tests of it ask for it.
os.environ["DATAFLOW_LOCAL_WARM"] = "off"


@pytest.fixture
def anyio_backend():
    return "asyncio"


# A session with a scripted service, and kernels with the magics in it


@pytest.fixture
def scene(tmp_path):
    with Scene(tmp_path) as scene:
        yield scene


@pytest.fixture
def terminal(scene):
    with notebook_with_magics(scene) as notebook:
        yield notebook


@pytest.fixture
def lab(scene):
    """A kernel with somebody before it."""
    with notebook_with_magics(scene, stdin=True) as notebook:
        yield notebook


@pytest.fixture
def headless(scene):
    """A kernel as nbclient runs it."""
    with notebook_with_magics(scene, stdin=False) as notebook:
        yield notebook


# Widgets


@pytest.fixture
def made() -> Iterator[list[ipywidgets.Widget]]:
    """Every widget that is made during the test; closed after it."""
    widgets: list[ipywidgets.Widget] = []
    ipywidgets.Widget.on_widget_constructed(widgets.append)
    yield widgets
    ipywidgets.Widget.on_widget_constructed(None)
    for widget in widgets:
        widget.close()


@pytest.fixture
def outputs() -> Outputs:
    return Outputs()


@pytest.fixture
def clicks() -> list[str]:
    return []
