"""Each run is started once and none is forgotten, in each of many schedules of faults.

``DATAFLOW_FAULT_SCHEDULES`` sets how many there are (100), ``DATAFLOW_FAULT_SEED`` the seed of the first (0).
"""

import os

import pytest

from tests.faults.schedules import run_schedules

SCHEDULES = int(os.environ.get("DATAFLOW_FAULT_SCHEDULES", "100"))
SEED = int(os.environ.get("DATAFLOW_FAULT_SEED", "0"))
EACH = 50
"""Schedules of one test: some 10 seconds."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(SEED, SEED + SCHEDULES, EACH), ids="from seed {}".format)
def test_each_run_is_started_once_and_is_in_the_ledger(first):
    run_schedules(first, min(EACH, SEED + SCHEDULES - first))
