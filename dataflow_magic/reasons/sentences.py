"""One sentence per error: what Spark's conditions and common errors of Python and Java mean. Pure; knows no log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["SENTENCES", "Explained", "explain", "is_wrapper", "short_name"]

LONGEST: Final = 600
"""Characters of a sentence; a longer one loses its middle, because a cause stands at the end."""
_LONGEST_MESSAGE: Final = 8_000
_LONGEST_EXPRESSION: Final = 200

_CONDITION: Final = re.compile(r"\s*\[([A-Z][A-Z0-9_]{2,80}(?:\.[A-Z0-9_]{1,80})?)\]\s*(.*)", re.DOTALL)
_SQLSTATE: Final = re.compile(r"\s*SQLSTATE: \w{5}")
_STAGE_FAILURE: Final = re.compile(
    r"Job aborted due to stage failure: .{0,300}?most recent failure: .{0,200}?"
    r"(?:\(\S+ executor \w+\): |Reason: )(.*)",
    re.DOTALL,
)
_TYPED: Final = re.compile(r"((?:\w+\.){2,12}[A-Z][\w$]*): (.*)", re.DOTALL)
_CALL_SITE: Final = re.compile(
    r"== DataFrame ==\n\"([^\"]{1,200})\" was called from\n([^\n]{1,500}):(\d{1,9})"
)
_SQL: Final = re.compile(r"== SQL [^=\n]{0,100}==\n(.{1,2000})", re.DOTALL)
_HINTS: Final = re.compile(
    r"(?<=[.?;]) (?:Verify|Correct|Use |To tolerate|To bypass|If necessary|If you |Please |Set |Consider|You can |"
    r"You may |To use |For more information|For example|Instead, |See |Make sure|Check |Choose |SQLSTATE).*",
    re.DOTALL,
)
_WRAPPERS: Final = frozenset(
    {
        "ExecutionException", "FAILED_EXECUTE_UDF", "FAILED_READ_FILE", "FAILED_READ_FILE.NO_HINT",
        "FOREACH_BATCH_USER_FUNCTION_ERROR", "FOREACH_USER_FUNCTION_ERROR", "InvocationTargetException", "PYTHON_EXCEPTION",
        "Py4JJavaError", "PythonException", "STREAM_FAILED", "SparkException", "StreamingQueryException",
        "TASK_WRITE_FAILED", "UncheckedExecutionException", "UndeclaredThrowableException", "WRITE_FAILED",
    }
)  # fmt: skip
"""Conditions and types that say only where the cause arose."""

SENTENCES: Final = tuple(
    (re.compile(pattern, re.DOTALL), sentence)
    for pattern, sentence in (
        (
            r"UNRESOLVED_COLUMN\b.*?with name (?P<column>`.+?`) cannot be resolved\. Did you mean one of the following\? "
            r"\[(?P<names>[^\]]+)\]",
            "no column {column}; the nearest are {names}",
        ),
        (r"UNRESOLVED_COLUMN\b.*?with name (?P<column>`.+?`) cannot", "no column {column}"),
        (r"TABLE_OR_VIEW_NOT_FOUND\b.*?view (?P<table>`.+?`) cannot be found", "no table or view {table}"),
        (r"SCHEMA_NOT_FOUND\b.*?schema (?P<database>`.+?`) cannot be found", "no database {database}"),
        (r"PATH_NOT_FOUND\b.*?does not exist: (?P<path>.+?)\.?$", "no path {path}"),
        (r"PATH_ALREADY_EXISTS\b.*?Path (?P<path>.+?) already exists", "the path {path} exists already"),
        (
            r"TABLE_OR_VIEW_ALREADY_EXISTS\b.*?view (?P<table>`.+?` because it|`.+?`)",
            "the table or view {table} exists already",
        ),
        (
            r"CAST_INVALID_INPUT\b.*?value (?P<value>.+?) of the type \"(?P<old>.+?)\" cannot be cast to \"(?P<new>.+?)\"",
            "the value {value} cannot be cast from {old} to {new}",
        ),
        (r"DIVIDE_BY_ZERO\b", "division by zero"),
        (
            r"INVALID_ARRAY_INDEX\w*\b.*?index (?P<index>\S+) is out of bounds\. The array has (?P<n>\d+) elements",
            "the index {index} is out of bounds; the array has {n} elements",
        ),
        (
            r"(?:PARSE_SYNTAX_ERROR\b.*?at or near '\$'.*|(?:Value|Key|Type|FileNotFound)Error: .*')\$(?P<name>[A-Za-z_]\w*)",
            "the parameter ${name} has no value",
        ),
        (
            r"PARSE_SYNTAX_ERROR\b.*?Syntax error at or near (?P<word>end of input|'.+?')(?=[.: \n]|$)[^\n]*\n(?P<sql>.+)",
            "SQL that Spark cannot read, at {word}: {sql}",
        ),
        (
            r"AMBIGUOUS_REFERENCE\b.*?Reference (?P<column>`.+?`) is ambiguous, could be: \[(?P<one>[^,\]]+)(?:, (?P=one))+\]",
            "the column {column} is ambiguous; several inputs have a column of this name",
        ),
        (
            r"AMBIGUOUS_REFERENCE\b.*?Reference (?P<column>`.+?`) is ambiguous, could be: \[(?P<names>[^\]]+)\]",
            "the column {column} is ambiguous; it could be {names}",
        ),
        (r"UNRESOLVED_ROUTINE\b.*?routine (?P<name>`.+?`)", "no function {name}"),
        (r"DATA_SOURCE_NOT_(?:FOUND|ENABLED)\b.*?data source: (?P<name>[^\s.]+)", "no data source {name}"),
        (r"FAILED_JDBC\b.*?Failed to connect", "the database cannot be reached"),
        (r"COLUMN_ALREADY_EXISTS\b.*?column (?P<column>`.+?`) already", "several columns are named {column}"),
        (
            r"MISSING_AGGREGATION\b.*?expression (?P<expression>\".+?\") is based",
            "{expression} is neither in GROUP BY nor aggregated",
        ),
        (r"ARITHMETIC_OVERFLOW\b", "a result is too large for its type"),
        (
            r"UNABLE_TO_INFER_SCHEMA\b.*?schema for (?P<format>\w+)",
            "no schema can be inferred for {format}; the path has no file of this format with data",
        ),
        (
            r"CANNOT_READ_FILE_FOOTER\b.*?reading file (?P<file>\S+?)\.? ",
            "{file} is damaged or has another format than the one that is read",
        ),
        (
            r"RESULT_ROWS_MISMATCH\b.*?output rows \((?P<out>\d+)\).*?input rows \((?P<n>\d+)\)",
            "a pandas UDF returned {out} rows for {n}",
        ),
        (
            r"value of the column '.*?' with type '(?P<old>\w+)' to Arrow type '(?P<new>\w+)'",
            "a function returned {old} where its type is {new}",
        ),
        (
            r"PicklingError: Could not serialize object: \w+: (?P<what>.+)",
            "a function cannot be sent to Spark's workers; {what}",
        ),
        (r"Unseen label: (?P<label>.+?)\. To handle", "the label {label} is not in the training data"),
        (
            r"Encountered null while assembling a row",
            "a null is among the columns that are assembled into a vector",
        ),
        (
            r"Could not execute broadcast in (?P<n>\d+) secs",
            "a broadcast took longer than spark.sql.broadcastTimeout ({n} s)",
        ),
        (
            r"streaming sources must be executed with writeStream",
            "a stream runs only with writeStream.start()",
        ),
        (r"SparkEnv\$\.get\(\)\" is null|stopped SparkContext", "the Spark context is stopped"),
        (
            r"'JavaPackage' object is not callable",
            "no Java class of this name; its jar is not on the class path",
        ),
        (
            r"Python worker exited unexpectedly \(crashed\): Fatal Python error: (?P<what>.+)",
            "a Python worker of Spark crashed ({what})",
        ),
        (
            r"PYTHON_WORKER_CRASHED\b|Python worker exited unexpectedly",
            "a Python worker of Spark crashed",
        ),
        (
            r"PARQUET_COLUMN_DATA_TYPE_MISMATCH\b.*?reading file (?P<file>\S+?)\.? .*?column <?\[(?P<column>[^\]]+)\]>?\. "
            r"Expected Spark type (?P<new>.+?), actual Parquet type (?P<old>\w+)",
            "the column {column} of {file} is {old}, and the script reads it as {new}",
        ),
        (r"MALFORMED_RECORD_IN_PARSING\b", "a record does not fit the schema"),
        (
            r"Mkdirs failed to create (?P<path>\S+?)(?:/_temporary\S*)?(?: |$)",
            "no folder can be made at {path}",
        ),
        (r"OutOfMemoryError: (?P<kind>.+)", "Spark's JVM ran out of memory ({kind})"),
        (r"OutOfMemoryError\b", "Spark's JVM ran out of memory"),
        (
            r"StackOverflowError\b",
            "the stack of Spark's JVM overflowed; a query is nested too deeply",
        ),
        (r"MemoryError\b", "the script ran out of memory (MemoryError)"),
        (r"RecursionError\b", "a function calls itself without end (RecursionError)"),
        (r"No space left on device", "the disk is full (No space left on device)"),
        (
            r"(?:ClassNotFoundException: |NoClassDefFoundError: |CANNOT_LOAD_FUNCTION_CLASS\b.*?class )(?P<name>[\w.$/]+)",
            "no Java class {name}; its jar is not on the class path",
        ),
        (
            r"(?:ExecutorLostFailure|executor \w+ exited).*?(?:[Ee]xit(?:ed with)? (?:code|status):? |code )(?P<n>52|137|143)\b",
            "an executor ran out of memory or was killed (exit code {n})",
        ),
        (
            r"(?:ExecutorLostFailure|executor \w+ exited).*?(?:[Ee]xit(?:ed with)? (?:code|status):? |code )(?P<n>\d+)",
            "an executor ended during the run (exit code {n})",
        ),
        (
            r"Total size of serialized results of (?P<n>\d+) tasks \((?P<size>.+?)\) is bigger than "
            r"spark\.driver\.maxResultSize \(?(?P<limit>[\d.]+ \w+)",
            "the result of {n} tasks is larger than spark.driver.maxResultSize ({size}, limit {limit})",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Explained:
    """What one error means.

    Parameters
    ----------
    sentence
        One line, at most 600 characters.
    error_class
        Spark's condition, or the short name of its type.
    expression
        The failing part of a query, as Spark quotes it; empty where it does not.
    is_known
        Whether it has a sentence of its own here, or a condition of Spark that does not only pass an error on.
    called_from
        File and line of the call that made the failing expression; None where Spark does not record it.
    """

    sentence: str
    error_class: str
    expression: str = ""
    is_known: bool = False
    called_from: tuple[str, int] | None = None


def explain(name: str, message: str) -> Explained:
    """Return what an error means.

    Parameters
    ----------
    name
        Its type, with or without the module.
    message
        Its text; may have several lines.
    """
    message = _cut(message, _LONGEST_MESSAGE)
    if failure := _STAGE_FAILURE.search(message):
        if typed := _TYPED.match(failure[1]):
            return explain(typed[1], typed[2])
        message = failure[0]
    short = short_name(name)
    found = _CONDITION.match(message)
    condition, text = (found[1], found[2]) if found else ("", message)
    site = _CALL_SITE.search(text)
    sql = _SQL.search(text)
    head = (
        " ".join(re.split(r"\s*SQLSTATE: |\n== ", text, maxsplit=1)[0].split()) if condition else _line(text)
    )
    expression = _underlined(sql[1]) if sql else ""
    sentence = _known(f"{condition or short}: {head}\n{_cut(expression, _LONGEST_EXPRESSION)}")
    return Explained(
        sentence=_cut(sentence or _as_spark_says(condition, short, head), LONGEST),
        error_class=condition or short,
        expression=expression,
        is_known=bool(sentence) or (bool(condition) and not is_wrapper(condition)),
        called_from=(site[2], int(site[3])) if site else None,
    )


def is_wrapper(error_class: str) -> bool:
    """Whether an error says only where its cause arose."""
    return error_class in _WRAPPERS


def short_name(name: str) -> str:
    """Return the name of a type without its module: ``AnalysisException``."""
    return name.rpartition(".")[2].rpartition("$")[2] or name


def _known(text: str) -> str:
    """Return the sentence of a known error, ``type or condition: message``; empty for any other."""
    for pattern, sentence in SENTENCES:
        if found := pattern.search(text):
            return sentence.format_map({key: _plain(value) for key, value in found.groupdict().items()})
    return ""


def _as_spark_says(condition: str, name: str, head: str) -> str:
    said = _HINTS.sub("", head).strip() or head.strip()
    if condition or name == "SparkException":
        return said or condition or name
    return f"{name}: {said}" if said else name


def _plain(value: str) -> str:
    return " ".join(value.split()).removesuffix(" because it").rstrip(".;")


def _line(text: str) -> str:
    """Return the first line that says something."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return _SQLSTATE.sub("", next(filter(None, lines), ""))


def _underlined(text: str) -> str:
    """Return the part of a query under which Spark drew a line; where it only points at a word, the word's whole line."""
    lines = text.split("\n")
    for above, below in pairwise(lines):
        marks = below.rstrip()
        if re.fullmatch(r"-*\^{3}", marks) and marks != "^^^":
            return above.strip()
        if marks and set(marks.strip()) == {"^"}:
            start = len(marks) - len(marks.lstrip())
            return above[start : len(marks)].strip() or above.strip()
    return ""


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    half = (length - 3) // 2
    return f"{text[:half]} … {text[-half:]}"
