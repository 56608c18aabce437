import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.local.lifecycle import NEXT, allowed_before
from dataflow_magic.models.wire import FINAL_STATES, RunState


@pytest.mark.parametrize(
    ("state", "before"),
    [
        ("READY", []),
        ("RUNNING", ["READY"]),
        ("COMPLETED", ["RUNNING"]),
        ("FAILED", ["READY", "RUNNING"]),
        ("CANCELED", ["READY", "RUNNING"]),
    ],
)
def test_each_state_may_follow_only_these(state, before):
    assert sorted(allowed_before(RunState(state))) == before


def test_every_state_the_page_names_has_its_row():
    assert sorted(NEXT) == ["CANCELED", "COMPLETED", "FAILED", "READY", "RUNNING"]


@given(st.lists(st.sampled_from(list(RunState))))
def test_no_run_of_changes_leaves_a_final_state(wishes):
    state = RunState.READY
    seen = [state]
    for wish in wishes:
        if state in allowed_before(wish):
            state = wish
            seen.append(state)

    assert all(one not in FINAL_STATES for one in seen[:-1])


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        NEXT[RunState.FAILED] = frozenset({RunState.READY})  # type: ignore[index]
