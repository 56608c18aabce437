import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.local.run import script_parameters


@pytest.mark.parametrize(
    ("stored", "given", "merged"),
    [
        ({}, {"$a": "x"}, {"$a": "x"}),
        ({"$a": "1", "$b": "2"}, {"$a": "x"}, {"$a": "x", "$b": "2"}),
        ({"a": "1"}, {"$a": "x"}, {"$a": "x"}),
        ({}, {"a": True, "b": 3, "c": 0.5, "d": ""}, {"$a": "true", "$b": "3", "$c": "0.5", "$d": ""}),
    ],
    ids=["the run's", "the run's over the job's", "with and without $ is one name", "all become text"],
)
def test_a_script_gets_the_jobs_parameters_with_the_runs_over_them(stored, given, merged):
    assert script_parameters(stored, given) == merged


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reaches_the_script_unchanged(number):
    text = script_parameters({}, {"$n": number})["$n"]

    assert math.copysign(1, float(text)) == math.copysign(1, number)
    assert float(text) == number
