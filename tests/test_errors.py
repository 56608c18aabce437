import inspect

import pytest

from dataflow_magic import errors
from dataflow_magic.errors import CellError, DataflowError, RequestRejected, suggestion

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == "dataflow_magic.errors"
]


def make(kind: type[DataflowError], message: str) -> DataflowError:
    parameters = inspect.signature(kind.__init__).parameters
    fields = {"status": 400, "run": None, "sweep": None}
    given = {name: value for name, value in fields.items() if name in parameters}
    return kind(message, **given)


def test_the_tree_is_the_one_in_the_module_s_docstring():
    drawn = [line.strip("|'- ").split() for line in (errors.__doc__ or "").splitlines()]
    named = {words[0] for words in drawn if words and words[0] in errors.__all__}

    assert named == set(errors.__all__) - {"suggestion"} == {kind.__name__ for kind in ALL}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_is_shown_as_its_message_alone(kind):
    error = make(kind, "no such table; name another")

    assert isinstance(error, DataflowError)
    assert error._render_traceback_() == [f"{kind.__name__}: no such table; name another"]


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.NotSignedIn, RequestRejected),
        (errors.NotAllowed, RequestRejected),
        (errors.NotFound, RequestRejected),
        (errors.BadParameter, RequestRejected),
        (errors.BadState, RequestRejected),
        (errors.TooManyRequests, RequestRejected),
        (RequestRejected, errors.ServiceError),
        (errors.ServiceBroken, errors.ServiceError),
        (errors.Unreachable, errors.ServiceError),
        (errors.OutcomeUnknown, errors.ServiceError),
        (errors.SweepFailed, errors.RunFailed),
    ],
    ids=lambda kind: kind.__name__,
)
def test_an_error_has_its_parent(kind, parent):
    assert kind.__mro__[1] is parent


def test_a_failed_run_is_no_service_error_and_an_unknown_outcome_no_rejection():
    assert not issubclass(errors.RunFailed, errors.ServiceError)
    assert not issubclass(errors.OutcomeUnknown, RequestRejected)


def test_a_cell_error_names_its_line():
    assert (str(CellError("x", line=3)), CellError("x", line=3).line) == ("line 3: x", 3)
    assert (str(CellError("x")), CellError("x").line) == ("x", None)


def test_a_rejection_holds_the_vendor_s_code_and_words():
    error = errors.TooManyRequests("m", status=429, code="410", detail="Throttle Limited", retry_after=2.0)

    assert (error.status, error.code, error.detail, error.retry_after) == (
        429,
        "410",
        "Throttle Limited",
        2.0,
    )
    assert (errors.BadState("m", status=400).code, errors.BadState("m", status=400).detail) == ("", "")


@pytest.mark.parametrize(
    ("word", "hint"),
    [("tabel", "; did you mean 'table'?"), ("zzz", ""), ("", "")],
    ids=["near", "far", "nothing"],
)
def test_the_nearest_word_is_suggested(word, hint):
    assert suggestion(word, ["table", "day"]) == hint
