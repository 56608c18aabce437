import os

import pytest

# A warm JVM costs more than it gives where each service carries out a run or two: tests of it ask for it.
os.environ["DATAFLOW_LOCAL_WARM"] = "off"


@pytest.fixture
def anyio_backend():
    return "asyncio"
