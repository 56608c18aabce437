import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.reasons.diagnosis import diagnose, reason_of_error, with_source
from dataflow_magic.reasons.event_log import SparkEnd

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
    ("log", "reason", "error_class", "place"),
    [
        (
            PLAIN,
            "ZeroDivisionError: division by zero",
            "ZeroDivisionError",
            Place("daily.py", 7, "main", "rows = 1 / count"),
        ),
        (
            CHAINED,
            "KeyError: 'day', which led to RuntimeError: no day given",
            "KeyError",
            Place("daily.py", 3, "", '{}["day"]'),
        ),
        (
            SPARK,
            "no table or view `test`.`sales`",
            "TABLE_OR_VIEW_NOT_FOUND",
            Place("daily.py", 9, "", "df.count()"),
        ),
        (
            GROUP,
            "ExceptionGroup: two days failed (1 sub-exception)",
            "ExceptionGroup",
            Place("daily.py", 4, "", 'raise ExceptionGroup("two days failed", [ValueError("1")])'),
        ),
        (
            NESTED_GROUP,
            "ValueError: 1, which led to ExceptionGroup: two days failed (1 sub-exception)",
            "ValueError",
            Place("daily.py", 2, "day", 'raise ValueError("1")'),
        ),
        (SYNTAX, "SyntaxError: '(' was never closed", "SyntaxError", Place("daily.py", 2, "", "rows = (")),
        (
            SYNTAX_OF_A_MODULE,
            "SyntaxError: '(' was never closed",
            "SyntaxError",
            Place("helper.py", 2, "", "rows = ("),
        ),
        (
            CAUGHT_THEN_GOES_ON,
            "ZeroDivisionError: division by zero",
            "ZeroDivisionError",
            Place("daily.py", 7, "main", "rows = 1 / count"),
        ),
        (
            PLAIN.replace("\n", "\r\n"),
            "ZeroDivisionError: division by zero",
            "ZeroDivisionError",
            Place("daily.py", 7, "main", "rows = 1 / count"),
        ),
        (
            "Traceback (most recent call last):\n  File",
            "the run ended FAILED without a reason; the script's last lines are 'Traceback (most recent call last):', 'File'",
            "",
            None,
        ),
        ("", "the run ended FAILED without a reason", "", None),
    ],
    ids=[
        "plain",
        "the root of a chain, and what followed",
        "Spark's, with the JVM's stack after it",
        "a group",
        "the last of a group with its own traceback",
        "a script Python cannot read",
        "a module Python cannot read",
        "one the script caught",
        "lines as Windows ends them",
        "cut off",
        "nothing",
    ],
)
def test_a_log_without_words_of_the_service_gives_sentence_class_and_own_line(
    log, reason, error_class, place
):
    failure = diagnose(log, "", "FAILED")

    assert (failure.reason, failure.error_class, failure.place) == (reason, error_class, place)


@pytest.mark.parametrize(
    ("log", "detail", "reason"),
    [
        ("starting\n", "no Java was found", "no Java was found"),
        (PLAIN, "timed out after 1 min", "timed out after 1 min"),
        (
            "usage: daily.py [-h]\ndaily.py: error: --month is required\n",
            "the script exited with code 2",
            "the script exited with code 2: daily.py: error: --month is required",
        ),
        (PLAIN, "ValueError: no rows", "ValueError: no rows"),
        (
            PLAIN + "giving up\n",
            "the script exited with code 1",
            "the script exited with code 1 after it caught ZeroDivisionError: division by zero",
        ),
        (
            PLAIN + "loaded\n" * 30,
            "the script exited with code 1",
            "the script exited with code 1; its last line is 'loaded'",
        ),
        ("", "the script exited with code 3", "the script exited with code 3"),
        (
            "starting\nout of memory\n  \n",
            "",
            "the run ended FAILED without a reason; the script's last lines are 'starting', 'out of memory'",
        ),
        (
            "a\nb\nloading\n26/11/01 09:00:00 INFO SparkContext: done\n\tat a.b(C.scala:1)\n[Stage 0:>  (0 + 2) / 2]\nc\n",
            "",
            "the run ended FAILED without a reason; the script's last lines are 'b', 'loading', 'c'",
        ),
        (
            "loaded 3 tables\n26/11/01 09:00:00 INFO ShutdownHookManager: Shutdown hook called\n",
            "the script exited with code 3",
            "the script exited with code 3; its last line is 'loaded 3 tables'",
        ),
        (" \n\n", "", "the run ended FAILED without a reason"),
        ("", "no table `a` [TABLE_OR_VIEW_NOT_FOUND]", "no table `a`"),
    ],
    ids=[
        "what the service says",
        "what stopped it, not an exception it had caught",
        "an exit code with the error in the log",
        "the exception the service reports, not one the script caught",
        "an exit code with the error that the script logged right before",
        "an exit code with the last words, not an error of long before",
        "an exit code alone",
        "the script's last lines",
        "none of Spark's lines among them",
        "none of Spark's lines as the last one",
        "blanks",
        "the service's sentence without its class",
    ],
)
def test_the_reason_is_the_best_known_one(log, detail, reason):
    assert diagnose(log, detail, "FAILED").reason == reason


@pytest.mark.parametrize(
    ("spark", "reason"),
    [
        (
            SparkEnd(lost=("Command exited with code 52",) * 7, executor_memory=512),
            "timed out after 5 min; an executor ran out of memory or was killed (exit code 52); "
            "executors lost: 7, of 512 MiB each",
        ),
        (
            SparkEnd(lost=("Container from a bad node. Exit status: 137. Diagnostics",)),
            "timed out after 5 min; an executor ran out of memory or was killed (exit code 137); executors lost: 1",
        ),
        (SparkEnd(), "timed out after 5 min"),
    ],
)
def test_a_timeout_names_the_executors_that_the_event_log_lost(spark, reason):
    assert diagnose("", "timed out after 5 min", "FAILED", spark).reason == reason


def test_lost_executors_are_no_part_of_an_error_that_they_did_not_cause():
    spark = SparkEnd(lost=("Command exited with code 52",))

    assert diagnose(PLAIN, "", "FAILED", spark).reason == "ZeroDivisionError: division by zero"


def test_a_timeout_is_placed_where_the_script_was_ended():
    stack = 'Stack (most recent call first):\n  File "/usr/lib/python3.11/x.py", line 9 in wait\n'
    own = (
        '  File "/run/script/daily.py", line 7 in load\n  File "/run/script/daily.py", line 30 in <module>\n'
    )
    spark = SparkEnd(called_from=("/run/script/daily.py", 12))

    assert diagnose(stack + own, "timed out after 1 min", "FAILED", spark).place == Place(
        "daily.py", 7, "load"
    )
    assert diagnose("", "timed out after 1 min", "FAILED", spark).place == Place("daily.py", 12)


def test_an_uncaught_error_of_the_jvm_is_named_where_its_log_does_not_show_it():
    detail = "Spark's JVM exited with code 50 during the run (see jvm.log)"

    assert diagnose("", detail, "FAILED").reason == (
        f"{detail}: an uncaught error ended it, which its log does not show"
    )


def test_the_service_and_the_reader_of_its_log_agree():
    words = SPARK.partition('  File "pyspark')[2].partition("\n")[2].partition("\n")[2]

    detail = reason_of_error(words, SPARK)

    assert detail == "no table or view `test`.`sales` [TABLE_OR_VIEW_NOT_FOUND]"
    assert diagnose(SPARK, detail, "FAILED") == diagnose(SPARK, "", "FAILED")


JVM_GONE = """\
26/11/01 09:00:00 ERROR Executor: Exception in task 0.0 in stage 0.0 (TID 0)
java.lang.OutOfMemoryError: Java heap space
\tat java.base/java.util.Arrays.copyOf(Arrays.java:3537)
Traceback (most recent call last):
  File "daily.py", line 9, in <module>
    rows = df.collect()
  File "/lib/python3.11/socket.py", line 1, in recv
ConnectionRefusedError: [Errno 111] Connection refused
"""


def test_the_end_of_the_jvm_is_explained_by_its_log_and_placed_by_the_scripts():
    failure = diagnose(JVM_GONE, "Spark's JVM exited with code 52 during the run (see jvm.log)", "FAILED")

    assert (failure.reason, failure.error_class, failure.place) == (
        "Spark's JVM exited with code 52 during the run (see jvm.log): Spark's JVM ran out of memory (Java heap space)",
        "OutOfMemoryError",
        Place("daily.py", 9, "", "rows = df.collect()"),
    )


def test_a_timeout_names_the_executors_that_were_lost():
    log = "26/11/01 09:00:00 ERROR TaskSchedulerImpl: Lost executor 0 on h: Command exited with code 52\n"

    assert diagnose(log, "timed out after 5 min", "FAILED").reason == (
        "timed out after 5 min; an executor ran out of memory or was killed (exit code 52)"
    )


def test_what_the_service_adds_to_an_error_stays():
    failure = diagnose(
        SPARK, "no table or view `test`.`sales` [TABLE_OR_VIEW_NOT_FOUND] (make it first)", "FAILED"
    )

    assert failure.reason == "no table or view `test`.`sales` (make it first)"
    assert (failure.error_class, str(failure.place)) == ("TABLE_OR_VIEW_NOT_FOUND", "daily.py, line 9")


def test_what_a_script_gives_to_exit_stays_as_it_is():
    assert reason_of_error("no rows for\n2026-11-09", PLAIN) == "no rows for 2026-11-09"


@pytest.mark.parametrize(
    ("place", "script", "source"),
    [
        (Place("a.py", 2), "x = 1\n    y = 1 / 0\n", "y = 1 / 0"),
        (Place("a.py", 9), "x = 1\n", ""),
        (Place("a.py", 1, "", "as the log says"), "x = 1\n", "as the log says"),
    ],
    ids=["read from the script", "a shorter script", "quoted by the log"],
)
def test_the_text_of_the_own_line_is_the_logs_or_the_scripts(place, script, source):
    expected = Failure("x", place=replace(place, source=source))

    assert with_source(Failure("x", place=place), script) == expected


def test_a_failure_keeps_the_last_twenty_lines():
    log = "\n".join(f"line {number}" for number in range(50))

    failure = diagnose(log, "detail", "FAILED")

    assert failure == Failure("detail", tuple(f"line {number}" for number in range(30, 50)))


PIECES = [
    *PLAIN.splitlines(),
    *CHAINED.splitlines(),
    *SPARK.splitlines(),
    *GROUP.splitlines(),
    "Caused by: java.io.IOException: No space left on device",
    "Job aborted due to stage failure: most recent failure: (x executor 1): java.io.IOException: a",
    "",
]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("\n".join), st.text() | st.sampled_from(PIECES))
def test_any_log_gives_a_reason_of_one_line(log, detail):
    failure = diagnose(log, " ".join(detail.split()), "FAILED")

    assert failure.reason
    assert failure.reason == failure.reason.strip()
    assert len(failure.reason.splitlines()) == 1
    assert len(failure.log_tail) <= 20
    assert len(reason_of_error(detail, log).splitlines()) <= 1


@given(st.binary(max_size=2_000))
def test_any_bytes_give_a_reason(data):
    assert diagnose(data.decode("utf-8", "replace"), "", "FAILED").reason


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in f',
        "Caused by: " + "a." * 200 + "Exception",
        "a.b.CError: " + "x " * 200,
        "| " * 300,
        "Job aborted due to stage failure: most recent failure: " * 20,
        "== SQL == [A_B] SQLSTATE: == DataFrame ==" * 20,
        "^",
        "\r",
        "x" * 70_000,
    ],
)
def test_the_time_is_bounded_for_64_kb_of_any_line(line):
    log = "\n".join([line] * (65_536 // (len(line) + 1) + 1))
    began = time.process_time()

    diagnose(log, "", "FAILED")
    reason_of_error(f"ValueError: {log}", log)

    assert time.process_time() - began < 5.0


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
