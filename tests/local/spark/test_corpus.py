"""A dozen of the examples that PySpark brings, of all kinds; ``make corpus`` runs the others and compares with spark-submit."""

import asyncio
import re

import pytest

from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome
from dataflow_magic.local.spark.jvm import spark_home
from dataflow_magic.local.spark.runner import SparkRunner
from tests.local.spark.corpus import Example, compared, data_folder, examples, run_example

PRINTED = {
    "pi.py": r"Pi is roughly 3\.\d+",
    "wordcount.py": r"9\.2: 3",
    "status_api_demo.py": r"Job results are: \[.*\]",
    "mllib/correlations.py": r"Summary of data file: data/mllib/sample_linear_regression_data\.txt",
    "mllib/recommendation_example.py": r"Mean Squared Error = \S+",
    "ml/pipeline_example.py": r"\(4, spark i j k\) --> prob=.*, prediction=\d\.0+",
    "ml/sql_transformer.py": r"\|  2\|2\.0\|5\.0\|7\.0\|10\.0\|",
    "ml/string_indexer_example.py": r"\|  0\|\s+a\|\s+0\.0\|",
    "ml/tf_idf_example.py": r"\|  0\.0\|\(20,.*",
    "ml/binarizer_example.py": r"Binarizer output with Threshold = 0\.500000",
    "ml/vector_assembler_example.py": r"Assembled columns 'hour', 'mobile', 'userFeatures' to vector column 'features'",
    "streaming/queue_stream.py": r"Time: .*",
}
"""Each example with a line that it prints."""
AT_ONCE = 2


def test_the_corpus_has_over_a_hundred_examples_without_a_network_and_each_argument_is_of_one():
    found = {example.name: example for example in examples(spark_home())}

    assert len(found) > 100
    assert found["wordcount.py"] == Example("wordcount.py", "data/mllib/kmeans_data.txt")
    assert not any("network" in name or "kafka" in name for name in found)
    assert set(PRINTED) <= set(found)


@pytest.mark.parametrize(
    ("there", "here", "verdict"),
    [
        (["Pi is 3.14"], ["26/11/27 INFO begun", "Pi is 3.14"], "same"),
        (
            ["26/11/27 02:20:06 WARN Utils: x", "/a.py:1: FutureWarning: PySpark does not yet fully"],
            [],
            "same",
        ),
        (["sum 0.12345678912"], ["sum 0.12345678913"], "same to 6 digits"),
        (["|-2.5 |[1.5,2]|"], ["|-2.5000001|[1.5,2]     |"], "same to 6 digits"),
        (["+---+"], ["+----------+"], "same to 6 digits"),
        (["error = 1.5"], ["error = 1.6"], "other numbers"),
        (["error = 1.5"], ["error = nothing"], "differs: error = #"),
        (["row 1", "row 2"], ["row 1"], "differs: row #"),
    ],
)
def test_what_an_example_prints_may_differ_in_the_last_digits_and_in_what_only_a_console_has(
    there, here, verdict
):
    assert compared(there, here) == verdict


@pytest.mark.spark
@pytest.mark.timeout(1800)  # a dozen runs, on a machine that may be busy
@pytest.mark.anyio
async def test_a_dozen_examples_of_all_kinds_run_as_they_come(tmp_path, archives):
    home = spark_home()
    folder = data_folder(tmp_path / "data", home)
    chosen = {example.name: example for example in examples(home) if example.name in PRINTED}
    free = asyncio.Semaphore(AT_ONCE)

    async def missing(number: int, name: str) -> str:
        async with free:
            outcome, lines = await run_example(run, folder, chosen[name], number)
        is_printed = any(re.fullmatch(PRINTED[name], line.strip()) for line in lines)
        return (
            ""
            if outcome == Outcome("COMPLETED") and is_printed
            else f"{name}: {outcome}\n" + "\n".join(lines[-20:])
        )

    async with SparkRunner(folder, archives, Options(warm=False)) as run:
        found = await asyncio.gather(*(missing(number, name) for number, name in enumerate(PRINTED)))

    assert not any(found), "\n\n".join(filter(None, found))
