"""What to try, by the reason of a failure."""

import pytest

from dataflow_magic.models.failure import Failure
from dataflow_magic.reasons.advice import advice, advised


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "ModuleNotFoundError: No module named 'pyarrow.dataset'",
            "install pyarrow.dataset where the script runs, or ship it with spark.sparkContext.addPyFile",
        ),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table or view `t` cannot be found.", "check the name db.table"),
        ("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column `x` cannot be resolved.", "df.printSchema()"),
        ("[PATH_NOT_FOUND] Path does not exist: s3a://b/k", "check bucket and key"),
        ("no script daily.py below bucket/scripts/", "check bucket and key"),
        ("timed out after 60 min", "--timeout MINUTES"),
        ("the script was killed by signal 9 (SIGKILL)", "ran out of memory or was killed"),
        ("java.lang.OutOfMemoryError: Java heap space", "ran out of memory or was killed"),
        ("AccessDenied: you may not", "the role (nrn)"),
        ("SyntaxError: invalid syntax", "correct the script"),
        ("Spark did not start: no Java", "jvm.log"),
        ("KeyError: '$month'", "among the parameters"),
        ("the script exited with code 3", "read the end of the log"),
        ("the run ended FAILED without a reason", "read the end of the log"),
        ("", "read the end of the log"),
    ],
)
def test_a_reason_that_something_helps_with_has_its_advice(reason, said):
    assert said in advice(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "ValueError: no flights from 'SFO' in month 1",
        "NameError: name 'spark' is not defined",
        "the local service stopped while it ran",
        "KeyError: 'month'",
        "the script exited with code 3: no rows",
    ],
)
def test_a_reason_that_says_it_all_has_none(reason):
    assert advice(reason) == ""


def test_a_failure_is_advised_by_its_class_as_well_as_by_its_reason():
    known = Failure("no path s3a://b/k", error_class="PATH_NOT_FOUND")

    assert advised(known).advice == "check bucket and key; a script names objects as s3a://bucket/key"


def test_a_module_s_name_can_bring_in_nothing_but_a_name():
    assert advice("ModuleNotFoundError: No module named '<b>'") == ""
