"""The advice on a card, by the reason of a failure."""

import pytest

from dataflow_magic.card.advice import advice


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
        ("ValueError: no flights from 'SFO' in month 1", "read the end of the log"),
        ("", "read the end of the log"),
    ],
)
def test_a_known_reason_has_its_advice_and_any_other_points_to_the_log(reason, said):
    assert said in advice(reason)


def test_a_module_s_name_can_bring_in_nothing_but_a_name():
    assert advice("ModuleNotFoundError: No module named '<b>'") == "read the end of the log"
