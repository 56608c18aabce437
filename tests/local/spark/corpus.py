"""``make corpus``: runs the examples that PySpark brings by spark-submit and by the local service, and compares them.

Prints a row per example: how each side ended, its seconds, and whether what the example printed is the same. Ends with
code 1 if an example that spark-submit completes fails in the local service.
"""

from __future__ import annotations

import argparse
import asyncio
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

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.launch import cache_folder
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.jvm import spark_home
from dataflow_magic.local.spark.runner import SparkRunner

__all__ = ["Example", "data_folder", "examples", "run_example"]

MOST_SECONDS = 300.0
EXAMPLES = Path("examples", "src", "main", "python")
# They read a socket, Kafka or a database, or run until they are stopped.
NETWORK = re.compile(r"socketTextStream|kafka|\"socket\"|localhost|awaitTermination\(\)")
ENDLESS = frozenset(
    {"sql/jdbc.py", "sql/streaming/structured_blockchain_admission_control.py", "streaming/hdfs_wordcount.py"}
)
ARGUMENTS = {
    "avro_inputformat.py": "data/none.avro",
    "kmeans.py": "data/mllib/kmeans_data.txt 2 0.1",
    "logistic_regression.py": "data/mllib/lr_data.txt 2",
    "ml/dataframe_example.py": "data/mllib/sample_libsvm_data.txt",
    "mllib/kmeans.py": "data/mllib/kmeans_data.txt 2",
    "mllib/logistic_regression.py": "data/mllib/sample_svm_data.txt 2",
    "mllib/streaming_linear_regression_example.py": "data/streaming data/streaming",
    "mllib/word2vec.py": "data/mllib/sample_lda_data.txt",
    "pagerank.py": "data/mllib/pagerank_data.txt 3",
    "parquet_inputformat.py": "data/none.parquet",
    "sort.py": "data/mllib/kmeans_data.txt",
    "wordcount.py": "data/mllib/kmeans_data.txt",
}
# What spark-submit's console has and the script did not print.
OF_A_LOG = re.compile(
    r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d |WARNING: |\[Stage |Using |Setting |To adjust |\s+at |$"
)
NUMBER = re.compile(r"-?(\d+\.?\d*([eE][-+]?\d+)?|NaN|Infinity)|0x[0-9a-f]+|[0-9a-f]{8,}")


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
    shutil.copytree(home / "data", folder.objects / "data")
    shutil.copytree(home / EXAMPLES, folder.objects / "scripts")
    return folder


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
    (place / "data").symlink_to(home / "data")
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


def _compared(submitted: Result, local: Result) -> str:
    """Return whether each line that the example printed under spark-submit is in the local log."""
    wanted = Counter(line.rstrip() for line in submitted.lines if not OF_A_LOG.match(line))
    found = Counter(line.rstrip() for line in local.lines)
    if wanted <= found:
        return "same"
    bare = [
        Counter({NUMBER.sub("#", line): count for line, count in lines.items()}) for lines in (wanted, found)
    ]
    return "same but numbers" if set(bare[0]) <= set(bare[1]) else "differs"


async def _main(given: argparse.Namespace) -> int:
    home = spark_home()
    chosen = [example for example in examples(home) if re.search(given.match, example.name)][: given.most]
    worse, rows = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = data_folder(Path(temporary, "data"), home)
        options = Options(warm=given.warm).checked()
        async with SparkRunner(folder, cache_folder(os.environ), options) as run:
            for number, example in enumerate(chosen):
                place = Path(temporary, f"submit{number}")
                submitted = await asyncio.to_thread(_submit, example, home, place)
                local = await _local(run, folder, example, number)
                verdict = _compared(submitted, local) if submitted.end == local.end == "ok" else "-"
                rows.append((submitted.end == "ok", local.end == "ok", verdict))
                if submitted.end == "ok" != local.end:
                    worse.append(example.name)
                print(  # noqa: T201
                    f"{example.name:58} {submitted.end:8} {submitted.seconds:6.1f} s  "
                    f"{local.end:8} {local.seconds:6.1f} s  {verdict}",
                    flush=True,
                )
    print(f"\n{len(rows)} examples; {_counted(rows)}; fail here only: {', '.join(worse) or 'none'}")  # noqa: T201
    return 1 if worse else 0


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
    parser.add_argument("--warm", action="store_true", help="keep a JVM warm")
    sys.exit(asyncio.run(_main(parser.parse_args())))
