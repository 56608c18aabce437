"""``make corpus``: runs the examples that PySpark brings by spark-submit and by the local service, and compares them.

Prints a row per example: how each side ended, its seconds, and whether what the example printed is the same. Where it is
not, spark-submit runs the example once more, since many draw numbers at random. Ends with code 1 if an example that spark-submit completes fails in the local service.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
from pyarrow import orc, parquet

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.launch import cache_folder
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.jvm import spark_home
from dataflow_magic.local.spark.runner import SparkRunner

__all__ = ["Example", "compared", "data_folder", "examples", "run_example"]

MOST_SECONDS = 900.0
EXAMPLES = Path("examples", "src", "main", "python")
# They read a socket, Kafka or a database, or run until they are stopped.
NETWORK = re.compile(r"socketTextStream|kafka|\"socket\"|localhost|awaitTermination\(\)")
ENDLESS = frozenset(
    {"sql/jdbc.py", "sql/streaming/structured_blockchain_admission_control.py", "streaming/hdfs_wordcount.py"}
)
ARGUMENTS = {
    "avro_inputformat.py": "examples/src/main/resources/users.avro",
    "kmeans.py": "data/mllib/kmeans_data.txt 2 0.1",
    "logistic_regression.py": "data/mllib/lr_data.txt 2",
    "ml/dataframe_example.py": "data/mllib/sample_libsvm_data.txt",
    "mllib/kmeans.py": "data/mllib/kmeans_data.txt 2",
    "mllib/logistic_regression.py": "data/mllib/sample_svm_data.txt 2",
    "mllib/word2vec.py": "data/mllib/sample_lda_data.txt",
    "pagerank.py": "data/mllib/pagerank_data.txt 3",
    "parquet_inputformat.py": "examples/src/main/resources/users.parquet",
    "sort.py": "data/numbers.txt",
    "wordcount.py": "data/mllib/kmeans_data.txt",
}
# What spark-submit's console has and the script did not print.
OF_A_LOG = re.compile(
    r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d |WARNING: |\[Stage |Using |Setting |To adjust |\s+at |$"
    r"|.*FutureWarning: PySpark does not yet|\s*require_minimum_pandas_version"  # of pandas 3
)
HEAD = "| example | spark-submit | s | local service | s | printed |\n|---|---|---:|---|---:|---|"
NUMBER = re.compile(r"0x[0-9a-f]+|[0-9a-f]*[a-f][0-9a-f]{7,}|(-?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|NaN|Infinity))")
ALIGNS = re.compile(r"-{2,}| +(?=\|)|(?<=\|) +")
PYSPARK = re.compile(r"\S*/(?=pyspark/[\w/]+\.py:\d)")
"""Before PySpark's own files: spark-submit takes them from an archive."""
SAME = ("same", "same to 6 digits")
TOLERANCE = 1e-6  # of sums in another order: spark-submit's Java has the vector module


# What the examples read from Spark's source tree and PySpark does not bring.
RESOURCES = Path("examples", "src", "main", "resources")
TEXTS = {
    "people.json": """{"name":"Michael"}\n{"name":"Andy", "age":30}\n{"name":"Justin", "age":19}\n""",
    "people.txt": "Michael, 29\nAndy, 30\nJustin, 19\n",
    "people.csv": "name;age;job\nJorge;30;Developer\nBob;32;Developer\n",
    "people.xml": "<people>"
    "<person><name>Michael</name><age>29</age></person>"
    "<person><name>Andy</name><age>30</age></person>"
    "<person><name>Justin</name><age>19</age></person></people>",
    "kv1.txt": "".join(f"{number * 37 % 500}\x01val_{number * 37 % 500}\n" for number in range(500)),
}
POINTS = "".join(
    f"{number % 2} {' '.join(str(number * place % 7 / 7) for place in range(1, 11))}\n"
    for number in range(40)
)


@dataclass(frozen=True, slots=True)
class Example:
    """An example with the arguments it takes."""

    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How one side ran an example."""

    end: str
    seconds: float
    lines: tuple[str, ...]


def examples(home: Path) -> list[Example]:
    """Return the examples that need no network and end by themselves, by name."""
    folder = home / EXAMPLES
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    return [
        Example(name, ARGUMENTS.get(name, ""))
        for name in names
        if not name.endswith("__init__.py")
        and name not in ENDLESS
        and not NETWORK.search((folder / name).read_text("utf-8"))
    ]


def data_folder(path: Path, home: Path) -> DataFolder:
    """Make a data folder with the examples and their data as buckets."""
    folder = DataFolder(path)
    folder.make()
    for bucket in ("logs", "target"):
        (folder.objects / bucket).mkdir()
    _write_inputs(folder.objects, home)
    shutil.copytree(home / EXAMPLES, folder.objects / "scripts")
    return folder


def _write_inputs(place: Path, home: Path) -> None:
    """Write what the examples read, below the current folder of Spark's source tree."""
    shutil.copytree(home / "data", place / "data")
    (place / "data" / "mllib" / "lr_data.txt").write_text(POINTS)
    (place / "data" / "numbers.txt").write_text("3 1 2\n20 -4\n")
    resources = place / RESOURCES
    (resources / "dir1" / "dir2").mkdir(parents=True)
    for name, text in TEXTS.items():
        (resources / name).write_text(text)
    for name in ("dir1/file1.parquet", "dir1/dir2/file2.parquet"):
        parquet.write_table(pyarrow.table({"file": [Path(name).name]}), resources / name)
    users = pyarrow.table(
        {
            "name": ["Alyssa", "Ben"],
            "favorite_color": [None, "red"],
            "favorite_numbers": pyarrow.array([[3, 9, 15, 20], []], pyarrow.list_(pyarrow.int32())),
        }
    )
    parquet.write_table(users, resources / "users.parquet")
    orc.write_table(users, resources / "users.orc")


async def run_example(
    run: SparkRunner, folder: DataFolder, example: Example, number: int
) -> tuple[Outcome, list[str]]:
    """Run an example in the local service; return its outcome and the lines of its log."""

    async def started() -> None:
        pass

    run_id = f"run{number:09}"
    work = folder.runs / run_id
    outcome = await run(
        RunSpec(
            run_id=run_id,
            job_name=Path(example.name).stem,
            script_path=f"scripts/{example.name}",
            log_path="logs/",
            parameters={"$argv": example.arguments} if example.arguments else {},
            workers=2,
            timeout_seconds=MOST_SECONDS,
            objects=folder.objects,
            work=work,
        ),
        cancel=asyncio.Event(),
        waiting=lambda _: None,
        started=started,
    )
    shutil.rmtree(work, ignore_errors=True)
    log = folder.objects / "logs" / run_id / "console.log"
    return outcome, log.read_text("utf-8", errors="replace").splitlines() if log.exists() else []


def _submit(example: Example, home: Path, place: Path) -> Result:
    place.mkdir()
    _write_inputs(place, home)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))},
        "JAVA_HOME": str(find_java(os.environ).home),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    script = home / EXAMPLES / example.name
    command = [
        str(home / "bin" / "spark-submit"),
        "--master",
        "local[2]",
        str(script),
        *shlex.split(example.arguments),
    ]
    began = time.monotonic()
    try:
        ended = subprocess.run(
            command,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        end, printed = "ok" if ended.returncode == 0 else f"exit {ended.returncode}", ended.stdout
    except subprocess.TimeoutExpired as error:
        end, printed = "time", error.stdout or b""
    lines = printed.decode("utf-8", errors="replace").splitlines()
    return Result(end, time.monotonic() - began, tuple(lines))


async def _local(run: SparkRunner, folder: DataFolder, example: Example, number: int) -> Result:
    began = time.monotonic()
    outcome, lines = await run_example(run, folder, example, number)
    end = "ok" if outcome.state == "COMPLETED" else outcome.reason[:60]
    return Result(end, time.monotonic() - began, tuple(lines))


def compared(wanted: Sequence[str], found: Sequence[str]) -> str:
    """Return whether each line that the example printed under spark-submit is in the local log.

    A form of line that the log has less often is named; numbers that differ in other than the last digits are distinguished from
    those that sums in another order explain.
    """
    wanted = [PYSPARK.sub("", line.rstrip()) for line in wanted if not OF_A_LOG.match(line)]
    found = [PYSPARK.sub("", line.rstrip()) for line in found]
    if Counter(wanted) <= Counter(found):
        return "same"
    there, here = _by_form(wanted), _by_form(found)
    if missing := next((form for form, rows in there.items() if len(here.get(form, ())) < len(rows)), None):
        return f"differs: {missing}"
    is_close = all(
        math.isclose(*pair, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for form, rows in there.items()
        for one, other in zip(rows, here[form], strict=False)
        for pair in zip(one, other, strict=True)
    )
    return "same to 6 digits" if is_close else "other numbers"


def _by_form(lines: Sequence[str]) -> dict[str, list[list[float]]]:
    """Return the numbers of each line, by what the line is without them and without what aligns a table."""
    found: dict[str, list[list[float]]] = {}
    for line in lines:
        numbers = [float(number[1]) for number in NUMBER.finditer(line) if number[1]]
        found.setdefault(" ".join(ALIGNS.sub("", NUMBER.sub("#", line)).split()), []).append(numbers)
    return found


async def _main(given: argparse.Namespace) -> int:
    home = spark_home()
    chosen = [example for example in examples(home) if re.search(given.match, example.name)][: given.most]
    worse, rows = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = data_folder(Path(temporary, "data"), home)
        options = Options(warm=given.warm).checked()
        print(HEAD)  # noqa: T201
        async with SparkRunner(folder, cache_folder(os.environ), options) as run:
            for number, example in enumerate(chosen):
                place = Path(temporary, f"submit{number}")
                submitted = await asyncio.to_thread(_submit, example, home, place)
                local = await _local(run, folder, example, number)
                if given.keep:
                    _keep(Path(given.keep), example, submitted, local)
                verdict = "-"
                if submitted.end == local.end == "ok":
                    verdict = compared(submitted.lines, local.lines)
                if verdict not in (*SAME, "-"):
                    again = await asyncio.to_thread(_submit, example, home, place.with_name(f"again{number}"))
                    if compared(submitted.lines, again.lines) not in SAME:
                        verdict = "varies under spark-submit too"
                rows.append((submitted.end == "ok", local.end == "ok", verdict))
                if submitted.end == "ok" != local.end:
                    worse.append(example.name)
                print(  # noqa: T201
                    f"| {example.name} | {submitted.end} | {submitted.seconds:.1f} "
                    f"| {local.end} | {local.seconds:.1f} | {verdict} |",
                    flush=True,
                )
    print(f"\n{len(rows)} examples; {_counted(rows)}; fail here only: {', '.join(worse) or 'none'}")  # noqa: T201
    return 1 if worse else 0


def _keep(folder: Path, example: Example, submitted: Result, local: Result) -> None:
    for side, result in (("spark-submit", submitted), ("local", local)):
        file = folder / side / f"{example.name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join((result.end, "", *result.lines)), "utf-8")


def _counted(rows: Sequence[tuple[bool, bool, str]]) -> str:
    counts = Counter(verdict for _, _, verdict in rows if verdict != "-")
    both = sum(there and here for there, here, _ in rows)
    neither = sum(not there and not here for there, here, _ in rows)
    same = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{both} complete on both sides ({same}), {neither} on neither"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--match", default="", help="regular expression of examples' names")
    parser.add_argument("--most", type=int, default=1000, help="number of examples")
    parser.add_argument("--keep", default="", help="folder for what each side printed")
    parser.add_argument("--warm", action="store_true", help="keep a JVM warm")
    sys.exit(asyncio.run(_main(parser.parse_args())))
