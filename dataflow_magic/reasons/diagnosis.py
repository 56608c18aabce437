"""Why a run failed, from its console log and the service's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.text import log_lines
from dataflow_magic.reasons.advice import advised
from dataflow_magic.reasons.errors_in_log import Frame, LoggedError, chains_in, error_of, stack_in
from dataflow_magic.reasons.event_log import SparkEnd
from dataflow_magic.reasons.folding import folded_tail, is_own, own_lines
from dataflow_magic.reasons.sentences import Explained, explain, is_wrapper

__all__ = ["MOST_LOG", "TAIL_LINES", "diagnose", "reason_of_error", "with_source"]

TAIL_LINES: Final = 20
MOST_LOG: Final = 256 << 10
"""Characters of the log's end that are read."""
_MOST_TRIED: Final = 8
"""Errors of the log that are compared with the service's words."""
_NEAR_THE_END: Final = 20
"""Lines: what a script logged before it ended itself."""

_LAST_LINES: Final = 3
_LONGEST_QUOTE: Final = 150

_LEAST_REPEATED: Final = 8
"""Characters of a message that one may find in another only because it is the same."""

_EXIT_CODE: Final = re.compile(r"the script exited with code \d+$")
"""The local service's words for a script that ended without an uncaught error."""
_FROM_OUTSIDE: Final = ("timed out after ", "the script was killed by signal ")
"""How the service's words begin for a script that ended at whatever line it was."""
_LOST_EXECUTOR: Final = re.compile(r"Lost executor \S{1,20} on \S{1,200}: Command exited with code \d{1,3}\b")
_UNCAUGHT: Final = re.compile(r"exited with code 5[01]\b")
"""Spark's exit codes for an error that no one caught."""
_END_OF_THE_JVM: Final = "Spark's JVM "
"""How the local service's words begin where the JVM ended before the script."""
_ENDS_THE_JVM: Final = frozenset({"OutOfMemoryError", "StackOverflowError"})
_OF_A_HANDLER: Final = ("NameError", "UnboundLocalError")
"""Errors that nobody raises on purpose: what handles an error is itself wrong."""
_WITH_ITS_ROOT: Final = ("MALFORMED_RECORD", "PySparkValueError")
"""Classes whose sentence does not say what their root does."""
_FILE_READ: Final = re.compile(r"Encountered error while reading file (\S+?)\.?(?:\s|$)")
_WITH_CLASS: Final = re.compile(r"(.+) \[([A-Za-z_][\w.]{0,160})\]$", re.DOTALL)
_LOOKS_LIKE_AN_ERROR: Final = re.compile(
    r"(?<!\w)(?:error|fatal|critical|failed|exception)(?!\w)", re.IGNORECASE
)


def diagnose(log: str, detail: str, status: str, spark: SparkEnd | None = None) -> Failure:
    """Return why a run failed.

    Parameters
    ----------
    log
        The end of the console log; empty where there is none.
    detail
        The service's reason; empty where it gives none.
    status
        The run's state, named where nothing else is known.
    spark
        What Spark's event log says of the run's end; None where there is none.
    """
    lines = log_lines(log[-MOST_LOG:])
    chains = chains_in(lines)
    failure = _diagnosed(lines, chains, detail, status)
    if spark is None:
        return advised(failure)
    if spark.error and not (detail or chains):
        failure = _failure([error_of(spark.error)], failure.log_tail)
    return advised(_with_spark(failure, spark, chains))


def _diagnosed(
    lines: Sequence[str], chains: Sequence[tuple[LoggedError, ...]], detail: str, status: str
) -> Failure:
    tail = folded_tail(lines, TAIL_LINES)
    if _EXIT_CODE.search(detail):
        return _ended_itself(detail, lines, chains, tail)
    if not detail:
        last = _last_uncaught(chains)
        if last is None:
            return Failure(_unknown(lines, status), tail)
        return _failure(chains[: last + 1], tail)
    for last in _candidates(chains):
        failure = _failure(chains[: last + 1], tail)
        words = _in_words(failure)
        if detail in {words, failure.reason}:
            return failure
        if detail.startswith(f"{words} ("):  # and what the service adds
            return replace(failure, reason=failure.reason + detail.removeprefix(words))
    if detail.startswith(_END_OF_THE_JVM):
        return _without_jvm(detail, chains, tail)
    if detail.startswith(_FROM_OUTSIDE):
        return _ended_from_outside(detail, lines, tail)
    # The service knows better than the log, whose errors the script may have caught.
    return _as_the_service_says(detail, tail)


def _with_spark(failure: Failure, spark: SparkEnd, chains: Sequence[tuple[LoggedError, ...]]) -> Failure:
    """Return the failure with what only the event log has: the job's line and functions, and lost executors."""
    if failure.place is None and spark.called_from and is_own(spark.called_from[0]):
        failure = replace(failure, place=Place(_file_name(spark.called_from[0]), spark.called_from[1]))
    if spark.lost and ("executor" in failure.reason or failure.error_class in {"", *_ENDS_THE_JVM}):
        lost = explain("ExecutorLostFailure", spark.lost[-1]).sentence
        is_told = failure.error_class or lost in failure.reason
        known = failure.reason if is_told else f"{failure.reason}; {lost}"
        size = f", of {spark.executor_memory} MiB each" if spark.executor_memory else ""
        failure = replace(failure, reason=f"{known}; executors lost: {len(spark.lost)}{size}")
    if spark.functions and _is_of_a_worker(chains):
        failure = replace(failure, functions=spark.functions)
    return failure


def _is_of_a_worker(chains: Sequence[tuple[LoggedError, ...]]) -> bool:
    """Whether the last error that came from a Python worker names no line of the user."""
    for error in (error for chain in reversed(chains) for error in chain):
        if "Python worker exited" in error.message:
            return not any(is_own(frame.file) for frame in stack_in(error.message.split("\n")))
        if any(frame.file.endswith("pyspark/worker.py") for frame in error.frames):
            return not any(is_own(frame.file) for frame in error.frames)
    return False


def with_source(failure: Failure, script: str) -> Failure:
    """Return the failure with the own line that only its file's text, the script, shows.

    It is that of the one function in `functions`, else the text of the line that is known by its number alone.
    """
    place = failure.place
    if place is not None and len(failure.functions) == 1:
        name = failure.functions[0]
        if found := re.search(rf"^[ \t]*(?:async +)?def +{name}\b.*|^{name} *=.*", script, re.MULTILINE):
            line = script.count("\n", 0, found.start()) + 1
            return replace(failure, place=Place(place.file, line, name, found[0].strip()))
    if place is None or place.source:
        return failure
    lines = script.splitlines()
    if place.line > len(lines):
        return failure
    return replace(failure, place=replace(place, source=lines[place.line - 1].strip()))


def reason_of_error(words: str, log: str) -> str:
    """Return the reason that a service reports for an uncaught error: a sentence and, in brackets, the error's class.

    Parameters
    ----------
    words
        The error as Python prints it without the traceback, or the text that the script gave to ``sys.exit``.
    log
        The end of the console log, which may show the cause of an error that Spark only passes on.
    """
    chain = error_of(words)
    if not chain:
        return " ".join(words.split())
    chains = chains_in(log_lines(log[-MOST_LOG:]))
    for last in _candidates(chains):
        # The log may say more: "Did you mean: 'spark'?"
        if chains[last][-1].text.startswith(chain[-1].text.split("\n", 1)[0]):
            return _in_words(_failure(chains[: last + 1], ()))
    return _in_words(_failure([*chains, chain], ()))


def _in_words(failure: Failure) -> str:
    if failure.error_class and failure.error_class not in failure.reason:
        return f"{failure.reason} [{failure.error_class}]"
    return failure.reason


def _candidates(chains: Sequence[tuple[LoggedError, ...]]) -> list[int]:
    """Return the numbers of the chains that may have ended the run, the likeliest first."""
    numbers = [number for number, chain in enumerate(chains) if not chain[-1].is_java]
    return numbers[: -_MOST_TRIED - 1 : -1]


def _last_uncaught(chains: Sequence[tuple[LoggedError, ...]]) -> int | None:
    return next(iter(_candidates(chains)), None)


def _failure(chains: Sequence[tuple[LoggedError, ...]], tail: tuple[str, ...]) -> Failure:
    """Return the failure that the last of the chains means."""
    chain = _with_cause(chains)
    means = [explain(error.name, error.message) for error in chain]
    cause = _cause(means)
    explained, final = means[cause], means[-1]
    sentence = explained.sentence
    if _adds(final, explained) and not chain[-1].is_java:
        sentence = f"{sentence}, which led to {final.sentence}"
        if final.error_class in _OF_A_HANDLER:
            explained, cause = final, len(chain) - 1
    elif explained.error_class.startswith(_WITH_ITS_ROOT) and means[0] is not explained:
        sentence = f"{sentence}: {means[0].sentence}"
    elif not (explained.is_known or is_wrapper(final.error_class)) and _repeats(final, explained):
        sentence = max(sentence, final.sentence, key=len)
        explained = final if final.is_known else explained
    file = next((found[1] for each in chain if (found := _FILE_READ.search(each.message))), "")
    if file and file not in sentence:
        sentence = f"{sentence} (in {file})"
    site = next((each.called_from for each in means if each.called_from), None)
    return Failure(
        sentence,
        tail,
        error_class=_class_of(explained, means),
        place=_place(chain[cause:], chain, site),
        expression=explained.expression or final.expression,
    )


def _class_of(explained: Explained, means: Sequence[Explained]) -> str:
    """Return its class; where its type says nothing, the condition with which Spark passed it on."""
    if not is_wrapper(explained.error_class):
        return explained.error_class
    return next((each.error_class for each in means if each.error_class.isupper()), "")


def _cause(means: Sequence[Explained]) -> int:
    """Return the number of the error that says most: the deepest of Spark's conditions, else the deepest known, else the root."""
    if means[0].error_class.endswith("Error") and not means[0].is_known:
        return 0
    known = [n for n, each in enumerate(means) if each.is_known]
    conditions = (n for n in known if means[n].error_class.isupper())
    return next(conditions, next(iter(known), 0))


def _adds(final: Explained, cause: Explained) -> bool:
    """Whether the last error of a chain says more than its cause."""
    if final is cause or is_wrapper(final.error_class) or final.error_class == cause.error_class:
        return False
    return not _repeats(final, cause)


def _repeats(final: Explained, cause: Explained) -> bool:
    """Whether the last error of a chain is its cause, raised anew by a library."""
    said = cause.sentence.partition(": ")[2] or cause.sentence
    return len(said) >= _LEAST_REPEATED and said in final.sentence


def _with_cause(chains: Sequence[tuple[LoggedError, ...]]) -> tuple[LoggedError, ...]:
    """Return the last chain; where it only passes an error on, with the cause that Spark logged before it."""
    last = chains[-1]
    if not is_wrapper(explain(last[0].name, last[0].message).error_class):
        return last
    for chain in reversed(chains[:-1]):
        if chain[-1].is_java and len(chain) > 1:
            return (*chain[:-1], *last)
    return last


def _place(
    from_cause: Sequence[LoggedError], chain: Sequence[LoggedError], site: tuple[str, int] | None
) -> Place | None:
    """Return the user's own line: where the failing expression was written, else where the cause arose."""
    own = [frame for error in (*from_cause, *chain) for frame in reversed(error.frames) if is_own(frame.file)]
    if site is not None and is_own(site[0]):
        at_site = (frame for frame in own if (frame.file, frame.line) == site)
        own = [next(at_site, Frame(*site)), *own]
    if not own:
        return None
    frame = own[0]
    return Place(_file_name(frame.file), frame.line, frame.function, frame.source)


def _file_name(file: str) -> str:
    # The local service copies a script and its modules into a folder of this name.
    return file.rpartition("/script/")[2].rpartition("/")[2] if file.startswith("/") else file


def _ended_itself(
    detail: str, lines: Sequence[str], chains: Sequence[tuple[LoggedError, ...]], tail: tuple[str, ...]
) -> Failure:
    """Return the failure of a script that ended with an exit code: with the error that it logged right before."""
    last = _last_uncaught(chains)
    if last is not None and chains[last][-1].end >= len(lines) - _NEAR_THE_END:
        caught = _failure(chains[: last + 1], tail)
        reason = f"{detail} after it caught {caught.reason}"
        return Failure(reason, tail, caught.error_class, caught.place, caught.expression)
    said = own_lines(lines[-_NEAR_THE_END:], _NEAR_THE_END)
    if error := next((line for line in reversed(said) if _LOOKS_LIKE_AN_ERROR.search(line)), ""):
        return Failure(f"{detail}: {error}", tail)
    if said:
        return Failure(f"{detail}; its last line is {said[-1]!r}", tail)
    return Failure(detail, tail)


def _ended_from_outside(detail: str, lines: Sequence[str], tail: tuple[str, ...]) -> Failure:
    """Return the failure of a run that took too long or was killed: with the line at which its script was."""
    failure = Failure(detail, tail, place=_place([LoggedError("", "", stack_in(lines))], (), None))
    if lost := _LOST_EXECUTOR.search("\n".join(lines)):
        # Spark starts new executors for the same work until the time is over.
        return replace(failure, reason=f"{detail}; {explain('ExecutorLostFailure', lost[0]).sentence}")
    return failure


def _unknown(lines: Sequence[str], status: str) -> str:
    unknown = f"the run ended {status} without a reason"
    match own_lines(lines, _LAST_LINES):
        case []:
            return unknown
        case [line]:
            return f"{unknown}; the last line of its log is {line[:_LONGEST_QUOTE]!r}"
        case several:
            quoted = ", ".join(repr(line[:_LONGEST_QUOTE]) for line in several)
            return f"{unknown}; the script's last lines are {quoted}"


def _without_jvm(detail: str, chains: Sequence[tuple[LoggedError, ...]], tail: tuple[str, ...]) -> Failure:
    """Return the failure of a run whose JVM ended: with what the JVM logged about it, and where the script noticed."""
    last = _last_uncaught(chains)
    place = _failure(chains[: last + 1], ()).place if last is not None else None
    errors = (
        explain(error.name, error.message) for chain in reversed(chains) for error in chain if error.is_java
    )
    for error in errors:
        if error.error_class in _ENDS_THE_JVM:
            return Failure(f"{detail}: {error.sentence}", tail, error.error_class, place)
    if _UNCAUGHT.search(detail):
        detail += ": an uncaught error ended it, which its log does not show"
    return Failure(detail, tail, place=place)


def _as_the_service_says(detail: str, tail: tuple[str, ...]) -> Failure:
    if found := _WITH_CLASS.fullmatch(detail):
        return Failure(found[1], tail, found[2])
    chain = error_of(detail)
    if chain and re.match(r"[\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b", detail):
        return _failure([chain], tail)
    return Failure(detail, tail)
