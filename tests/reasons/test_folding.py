"""The end of a log with the frames of libraries folded."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.reasons.folding import folded_tail, is_own

LOG = """\
reading
Traceback (most recent call last):
  File "/run/script/daily.py", line 13, in <module>
    late(flights).show()
  File "/env/lib/python3.12/site-packages/pyspark/sql/dataframe.py", line 302, in show
    print(self._show_string(n))
          ^^^^^^^^^^^^^^^^^^^^
  File "/env/lib/python3.12/site-packages/py4j/protocol.py", line 327, in get
    raise Py4JJavaError(
  File "/run/script/daily.py", line 9, in rate
    return total / count
py4j.protocol.Py4JJavaError: An error
: org.apache.spark.SparkException: Job aborted
\tat org.apache.spark.A.b(A.scala:1)
\tat org.apache.spark.C.d(C.scala:2)
Caused by: java.lang.ArithmeticException
\tat x.Y.z(Y.java:3)
\t... 2 more
done
"""


def test_frames_of_libraries_become_one_line():
    assert folded_tail(LOG.splitlines(), 20) == (
        "reading",
        "Traceback (most recent call last):",
        '  File "/run/script/daily.py", line 13, in <module>',
        "    late(flights).show()",
        "  … (+5)",
        '  File "/run/script/daily.py", line 9, in rate',
        "    return total / count",
        "py4j.protocol.Py4JJavaError: An error",
        ": org.apache.spark.SparkException: Job aborted",
        "  … (+2)",
        "Caused by: java.lang.ArithmeticException",
        "  … (+2)",
        "done",
    )


def test_the_last_lines_are_kept():
    assert folded_tail([str(number) for number in range(9)], 3) == ("6", "7", "8")


@given(st.lists(st.sampled_from([*LOG.splitlines(), ""])))
def test_each_line_is_shown_or_counted(lines):
    shown = folded_tail(lines, len(lines) + 1)
    folded = [re.fullmatch(r"  … \(\+(\d+)\)", line) for line in shown]

    assert sum(int(found[1]) if found else 1 for found in folded) == len(lines)


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/run/script/daily.py", True),
        ("daily.py", True),
        ("/env/lib/python3.12/json/decoder.py", False),
        ("/env/site-packages/pandas/core/frame.py", False),
        ("/spark/python/lib/pyspark.zip/pyspark/worker.py", False),
        ("pyarrow/error.pxi", False),
        ("<frozen importlib._bootstrap>", False),
    ],
)
def test_a_file_is_the_users_unless_it_is_a_librarys(file, own):
    assert is_own(file) is own
