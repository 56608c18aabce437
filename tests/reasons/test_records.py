"""The sentence, class and own line of real failures, which `make reasons` records on Spark. Starts no Spark."""

import json
import re
from typing import Any

import pytest

from dataflow_magic.models.failure import Failure
from dataflow_magic.models.secret import MASK
from dataflow_magic.reasons.diagnosis import diagnose, reason_of_error, with_source
from dataflow_magic.reasons.event_log import SparkEnd
from tests.reasons.record import HERE, RECORDS, SCRIPTS, names

EXPECTED = {
    block.partition("\n")[0]: block.partition("\n")[2]
    for block in (HERE / "expected.txt").read_text("utf-8").strip().split("\n\n")
}
"""By name of the script: its sentence, class and own line."""


def record(name: str) -> dict[str, str]:
    text = (RECORDS / f"{name}.txt").read_text("utf-8")
    parts = re.split(r"^== (service|words|spark|log)\n", text, flags=re.MULTILINE)
    return {part: body.rstrip("\n") for part, body in zip(parts[1::2], parts[2::2], strict=True)}


def failure(name: str) -> Failure:
    parts = record(name)
    log = parts.get("log", "")
    detail = parts.get("service") or reason_of_error(parts["words"], log)
    found = diagnose(log, detail, "FAILED", spark_of(parts))
    script = SCRIPTS / f"{found.place.file if found.place else name}"
    return with_source(found, script.read_text("utf-8")) if script.is_file() else found


def spark_of(parts: dict[str, str]) -> SparkEnd:
    fields = json.loads(parts.get("spark", "{}"))
    site = fields.pop("called_from", None)
    return SparkEnd(
        **{name: _frozen(value) for name, value in fields.items()}, called_from=site and (site[0], site[1])
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def in_lines(failure: Failure) -> str:
    source = f": {failure.place.source}" if failure.place and failure.place.source else ""
    return "\n".join([failure.reason, failure.error_class or "-", f"{failure.place or '-'}{source}"])


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_real_failure_has_its_sentence_class_and_own_line(name):
    assert in_lines(failure(name)) == EXPECTED[name]


def test_each_broken_script_has_a_record_and_an_expected_sentence():
    assert sorted(EXPECTED) == names()
    assert sorted(path.stem for path in RECORDS.glob("*.txt")) == names()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_log_alone_names_the_same_own_line_where_an_error_ended_the_run(name):
    parts = record(name)
    if "words" not in parts or not parts["words"].startswith(("pyspark.", "py4j.")):
        return

    alone = diagnose(parts.get("log", ""), "", "FAILED", spark_of(parts)).place

    assert alone is not None
    found = failure(name).place
    assert found is not None
    assert (alone.file, alone.line) == (found.file, found.line) or failure(name).functions


def test_no_sentence_begins_with_a_module_of_a_library():
    assert [name for name in EXPECTED if re.match(r"(?:\w+\.){2}", failure(name).reason)] == []


def test_a_secret_that_a_script_printed_is_masked_in_each_part():
    masked = failure("divide_by_zero").with_texts(lambda text: text.replace("divi", MASK))

    assert "divi" not in repr(masked).replace(MASK, "")
