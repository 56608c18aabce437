import os

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
# A warm JVM costs more than it gives where each service carries out a run or two: tests of it ask for it.
os.environ["DATAFLOW_LOCAL_WARM"] = "off"


@pytest.fixture
def anyio_backend():
    return "asyncio"
