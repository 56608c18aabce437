"""Tasks over time, in a fixed number of steps."""

from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.stages import Activity
from dataflow_magic.reasons.stages.activity import ActivityCount


def test_each_step_has_the_average_number_of_tasks():
    count = ActivityCount(1000, 4)
    count.add(1000, 1004)
    count.add(1002, 1003)

    assert count.result() == Activity(1000, 2, (1.0, 1.5))


def test_a_longer_time_has_longer_steps():
    count = ActivityCount(0, 4)
    count.add(0, 3)
    count.add(8, 16)

    assert count.result() == Activity(0, 8, (3 / 8, 1.0))


tasks = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=1, max_size=30)


@given(tasks)
def test_the_steps_hold_the_time_of_all_tasks(tasks):
    count = ActivityCount(0, 8)
    for began, took in tasks:
        count.add(began, began + took)
    result = count.result()

    assert len(result.levels) <= 8
    assert abs(sum(result.levels) * result.step - sum(took for _, took in tasks)) < 0.01
    assert min(result.levels, default=0) >= 0
