"""What to try when a run failed, by its class and its reason: what commonly corrects such a failure. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from dataflow_magic.models.failure import Failure

__all__ = ["ADVICE", "READ_THE_LOG", "advice", "advised"]

READ_THE_LOG: Final = "read the end of the log"

SAYS_NOTHING: Final = re.compile(r"exited with code \d+$|without a reason$|^$")
"""A reason that names no error."""

# The first match counts, so the most specific patterns come first. Names in capitals are Spark's own error classes
# (its common/utils/src/main/resources/error/error-conditions.json).
ADVICE: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (
            r"ModuleNotFoundError: No module named '([\w.]{1,60})'",
            r"install \1 where the script runs, or ship it with spark.sparkContext.addPyFile",
        ),
        (
            r"TABLE_OR_VIEW_NOT_FOUND",
            "check the name db.table and that the role may see it; spark.sql('show tables in db') lists what is there",
        ),
        (r"UNRESOLVED_COLUMN", "compare the name with df.printSchema()"),
        (r"PATH_ALREADY_EXISTS", "write with mode('overwrite') or mode('append'), or to another path"),
        (
            r"PATH_NOT_FOUND|FileNotFoundError|NoSuchKey|NoSuchBucket|no bucket|no script",
            "check bucket and key; a script names objects as s3a://bucket/key",
        ),
        (
            r"\btimeout\b|timed out",
            "give it more with --timeout MINUTES, or more --workers; timeouts are in the job condition below",
        ),
        (
            r"OutOfMemoryError|MemoryError|signal 9|SIGKILL|exit(ed with)? code 137",
            "it ran out of memory or was killed; use more --workers or smaller partitions, and collect() less",
        ),
        (
            r"AccessDenied|Access Denied|no folder can be made|Forbidden|PermissionError|\b403\b",
            "check that the role (nrn) may read and write what the script names",
        ),
        (
            r"SyntaxError|IndentationError|TabError",
            "correct the script at the line its log names; %%dataflow_script checks one before it is written",
        ),
        (r"the parameter \$|KeyError: '\$", "check that every name the script uses is among the parameters"),
        (
            r"AMBIGUOUS_REFERENCE|COLUMN_ALREADY_EXISTS",
            "rename or drop one of the columns before the join, or join with on='column'",
        ),
        (
            r"CAST_INVALID_INPUT|DIVIDE_BY_ZERO|ARITHMETIC_OVERFLOW|CANNOT_PARSE_TIMESTAMP",
            "correct the values, or make them null with a function such as try_cast",
        ),
        (
            r"MALFORMED_RECORD",
            "correct the file, or read it with mode PERMISSIVE, which makes null of what does not fit",
        ),
        (
            r"a null is among|is not in the training data",
            "handle such rows first, or set handleInvalid to 'skip' or 'keep'",
        ),
        (
            r"no Java class|No suitable driver|DATA_SOURCE_NOT_(?:FOUND|ENABLED)",
            "add its jar with spark.jars, or its package with spark.jars.packages",
        ),
        (
            r"Spark did not start|JVM",
            "read jvm.log next to the console log; with little memory, start fewer runs at once",
        ),
    )
)


def advised(failure: Failure) -> Failure:
    """Return the failure with what to try."""
    return replace(failure, advice=advice(f"{failure.cause} {failure.reason}"))


def advice(reason: str) -> str:
    """Return what to try, in one line; empty where nothing is known to help beyond the reason itself."""
    for pattern, text in ADVICE:
        if found := pattern.search(reason):
            return found.expand(text)
    return READ_THE_LOG if SAYS_NOTHING.search(reason) else ""
