import os
import signal
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import pytest
from hypothesis import settings

from tests.helpers import Scene, notebook_with_magics
from tests.local_archives import make_archive
from tests.widgets import Outputs

LONG_SECONDS = 600
"""Time limit of a test that runs Spark or a browser; `timeout` in pyproject.toml is that of all others."""

# The time an example takes depends on the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
# A warm JVM costs more than it saves where a service runs one or two jobs. The tests of it switch it on.
os.environ["DATAFLOW_LOCAL_WARM"] = "off"
# The Java that users without one of their own get, so that tests mean the same on every machine.
os.environ.setdefault("DATAFLOW_JAVA", "wheel")
# A background job of a script, nohup and some CI systems ignore SIGINT, and so would every process a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with Spark or a browser first, so that no process runs one alone at the end."""
    long = [item for item in items if item.get_closest_marker("spark") or item.get_closest_marker("browser")]
    for item in long:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))
    files = {item.path for item in long}
    items.sort(key=lambda item: item.path not in files)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the archive of Java's classes lies that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "archives"
    make_archive(folder)
    return folder


# A session with a scripted service, and kernels with its magics


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
    """A kernel with a user before it."""
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
    """The widgets made during the test, which are closed after it."""
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
