import os

import pytest

from tests.helpers import ACCESS_KEY, SECRET_KEY, ScriptedService, at_a_port


@pytest.fixture
def environment(tmp_path):
    """The environment of a program whose runs go to a scripted service at a port."""
    service = ScriptedService(tmp_path / "service")
    with at_a_port(service) as address:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("NCLOUD_", "DATAFLOW_"))}
        yield kept | {
            "DATAFLOW_MAGIC_HOME": str(tmp_path / "home"),
            "DATAFLOW_TARGET": address,
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }
        service.finish.set()
