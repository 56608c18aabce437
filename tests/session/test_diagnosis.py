import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.view import Failure
from dataflow_magic.session.diagnosis import diagnose, last_exception

PLAIN = """\
reading test.sales
Traceback (most recent call last):
  File "daily.py", line 12, in <module>
    main()
  File "daily.py", line 7, in main
    rows = 1 / count
           ~~^~~~~~~
ZeroDivisionError: division by zero
"""
CHAINED = """\
Traceback (most recent call last):
  File "daily.py", line 3, in <module>
    {}["day"]
KeyError: 'day'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "daily.py", line 5, in <module>
    raise RuntimeError("no day given")
RuntimeError: no day given
26/11/01 09:00:00 INFO ShutdownHookManager: Shutdown hook called
"""
SPARK = """\
26/11/01 09:00:00 ERROR Executor: Exception in task 0.0 in stage 1.0 (TID 1)
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1, in main
ValueError: bad row

Traceback (most recent call last):
  File "daily.py", line 9, in <module>
    df.count()
  File "pyspark/sql/dataframe.py", line 1, in count
    return int(self._jdf.count())
pyspark.errors.exceptions.captured.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `test`.`sales` cannot be found. SQLSTATE: 42P01;
'UnresolvedRelation [test, sales], [], false

\tat org.apache.spark.sql.errors.QueryCompilationErrors$.x(QueryCompilationErrors.scala:1)
"""
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "daily.py", line 4, in <module>
  |     raise ExceptionGroup("two days failed", [ValueError("1")])
  | ExceptionGroup: two days failed (1 sub-exception)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +------------------------------------
"""
NESTED_GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "daily.py", line 4, in <module>
  | ExceptionGroup: two days failed (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "daily.py", line 2, in day
    |     raise ValueError("1")
    | ValueError: 1
    +------------------------------------
"""
SYNTAX = """\
  File "daily.py", line 2
    rows = (
           ^
SyntaxError: '(' was never closed
"""
SYNTAX_OF_A_MODULE = """\
Traceback (most recent call last):
  File "daily.py", line 1, in <module>
    import helper
  File "helper.py", line 2
    rows = (
           ^
SyntaxError: '(' was never closed
"""
CAUGHT_THEN_GOES_ON = PLAIN + "skipped that day\n| day | n |\n"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (PLAIN, "ZeroDivisionError: division by zero"),
        (CHAINED, "RuntimeError: no day given"),
        (
            SPARK,
            "pyspark.errors.exceptions.captured.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view "
            "`test`.`sales` cannot be found. SQLSTATE: 42P01;",
        ),
        (GROUP, "ExceptionGroup: two days failed (1 sub-exception)"),
        (NESTED_GROUP, "ValueError: 1"),
        (SYNTAX, "SyntaxError: '(' was never closed"),
        (SYNTAX_OF_A_MODULE, "SyntaxError: '(' was never closed"),
        (CAUGHT_THEN_GOES_ON, "ZeroDivisionError: division by zero"),
        (PLAIN.replace("\n", "\r\n"), "ZeroDivisionError: division by zero"),
        ("Traceback (most recent call last):\n  File", None),
        ("Traceback (most recent call last):", None),
        ("Exception in thread main java.lang.OutOfMemoryError: Java heap space\n\tat x.y(z.java)", None),
        ("", None),
    ],
    ids=[
        "plain",
        "the last of a chain",
        "Spark's, with the JVM's stack after it",
        "a group",
        "the last of a group with its own traceback",
        "a script Python cannot read",
        "a module Python cannot read",
        "one the script caught",
        "lines as Windows ends them",
        "cut off",
        "only its head",
        "only the JVM's",
        "nothing",
    ],
)
def test_the_reason_is_the_line_of_the_last_exception(log, reason):
    assert last_exception(log.splitlines()) == reason


@pytest.mark.parametrize(
    ("log", "detail", "reason"),
    [
        (PLAIN, "", "ZeroDivisionError: division by zero"),
        ("starting\n", "no Java was found", "no Java was found"),
        (PLAIN, "timed out after 1 min", "timed out after 1 min"),
        (
            "usage: daily.py [-h]\ndaily.py: error: --month is required\n",
            "the script exited with code 2",
            "the script exited with code 2: daily.py: error: --month is required",
        ),
        (PLAIN, "ValueError: no rows", "ValueError: no rows"),
        (PLAIN + "giving up\n", "the script exited with code 1", "the script exited with code 1: giving up"),
        ("", "the script exited with code 3", "the script exited with code 3"),
        ("starting\nout of memory\n  \n", "", "out of memory"),
        ("", "", "the run ended FAILED without a reason"),
        (" \n\n", "", "the run ended FAILED without a reason"),
    ],
    ids=[
        "the log's exception where the service says nothing",
        "what the service says",
        "what stopped it, not an exception it had caught",
        "an exit code with the last words",
        "the exception the service reports, not one the script caught",
        "an exit code with the last words, not an exception it had caught",
        "an exit code alone",
        "the log's last words",
        "nothing",
        "blanks",
    ],
)
def test_the_reason_is_the_best_known_one(log, detail, reason):
    assert diagnose(log, detail, "FAILED").reason == reason


def test_a_failure_keeps_the_last_twenty_lines():
    log = "\n".join(f"line {number}" for number in range(50))

    failure = diagnose(log, "detail", "FAILED")

    assert failure == Failure("detail", tuple(f"line {number}" for number in range(30, 50)))


@given(
    st.text() | st.lists(st.sampled_from([*PLAIN.splitlines(), *GROUP.splitlines(), ""])).map("\n".join),
    st.text(),
)
def test_any_log_gives_a_reason_of_one_line(log, detail):
    failure = diagnose(log, " ".join(detail.split()), "FAILED")

    assert failure.reason
    assert failure.reason == failure.reason.strip()
    assert len(failure.reason.splitlines()) == 1
    assert len(failure.log_tail) <= 20


BAR = "\r[Stage 0:>                 (0 + 1) / 1]\r                                      \r"


@given(
    frames=st.lists(st.text(alphabet="=> 0123456789%|", max_size=20), max_size=50),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_frames_of_a_progress_bar_are_one_line_of_the_tail(frames, end):
    bar = "\r".join(["", *frames, "100%"])
    log = "".join(line + end for line in ["reading", bar, *PLAIN.rstrip().split("\n")])

    failure = diagnose(log, "", "FAILED")

    assert failure.log_tail == ("reading", "100%", *PLAIN.rstrip().split("\n"))
    assert failure.reason == "ZeroDivisionError: division by zero"


def test_a_bar_that_was_cleared_leaves_what_follows_it():
    assert diagnose(BAR + PLAIN, "", "FAILED").log_tail == tuple(PLAIN.rstrip().split("\n"))
    assert diagnose("reading\n" + BAR, "", "FAILED").log_tail == (
        "reading",
        "[Stage 0:>                 (0 + 1) / 1]",
    )
