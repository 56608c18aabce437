"""``make reasons``: runs the broken scripts on Spark by the local service, and records what each left behind.

A record has what the diagnosis of a run reads: the end of the console log, what the event log says of the run's end (without
the failed job's error, which the log has), and either the uncaught error as the script's process reported it or the service's
own words. Paths, times and ids of this machine are replaced, and the JVM's stacks are
shortened, so that a new record of an unchanged failure differs little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyspark

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.launch import cache_folder
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import RunSpec
from dataflow_magic.local.spark.runner import SparkRunner
from dataflow_magic.reasons.diagnosis import reason_of_error
from dataflow_magic.reasons.event_log import how_it_ended, lines_of

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
RECORDS = HERE / "records"
HELPERS = frozenset({"shared_prices", "helper_with_syntax"})
"""Modules of the scripts."""
MOST_SECONDS = 300.0
MOST_CHARACTERS = 12_000
FRAMES = 2
"""Lines kept of each of the JVM's stacks."""


def names() -> list[str]:
    """Return the names of the broken scripts."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem not in HELPERS)


def _settings(script: Path) -> dict[str, str]:
    """Return what a script's first line asks for: ``# run: timeout=4 memory=512m``."""
    first = script.read_text("utf-8").partition("\n")[0]
    return dict(re.findall(r"(\w+)=(\S+)", first)) if first.startswith("# run:") else {}


async def _record(run: SparkRunner, folder: DataFolder, name: str, number: int) -> str:
    async def started() -> None:
        pass

    run_id = f"run{number:09}"
    spec = RunSpec(
        run_id=run_id,
        job_name=name,
        script_path=f"scripts/{name}.py",
        log_path="logs/",
        parameters={},
        workers=2,
        timeout_seconds=float(_settings(SCRIPTS / f"{name}.py").get("timeout", MOST_SECONDS)),
        objects=folder.objects,
        work=folder.runs / run_id,
    )
    outcome = await run(spec, cancel=asyncio.Event(), waiting=lambda _: None, started=started)
    words = _text(spec.work / "last_words")
    log = _text(folder.objects / "logs" / run_id / "console.log")
    is_of_the_script = bool(words) and outcome.reason.startswith(reason_of_error(words, log))
    files = sorted((folder.objects / "logs" / run_id / "events").glob("eventlog_v2_*/events_*"))
    spark = how_it_ended(lines_of(file.read_bytes() for file in files))
    parts = {
        "service": "" if is_of_the_script else outcome.reason or outcome.state,
        "words": words if is_of_the_script else "",
        "spark": json.dumps({**asdict(spark), "error": ""}),
        "log": log,
    }
    places = {
        str(folder.objects): "/objects",
        str(spec.work): "/run",
        str(Path(pyspark.__file__).parent.parent): "/python/site-packages",
        sys.base_prefix: "/python",
        run_id: "RUN",
    }
    return "".join(f"== {part}\n{_normal(text, places)}\n" for part, text in parts.items() if text)


def _text(file: Path) -> str:
    return file.read_text("utf-8", errors="replace") if file.exists() else ""


def _normal(text: str, places: dict[str, str]) -> str:
    for place, name in places.items():
        text = text.replace(place, name)
    text = re.sub(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d", "26/11/01 09:00:00", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "2026-11-01 09:00:00,000", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID", text)
    text = re.sub(
        r"((?:\\n\\tat [^\\\n]*){2})(?:\\n\\tat [^\\\n]*)+", r"\1", text
    )  # of a stack in a line of JSON
    lines, frames = [], 0
    for line in text.splitlines():
        frames = frames + 1 if re.match(r"\s+at \S+\(", line) else 0
        if frames <= FRAMES:
            lines.append(line.rstrip())
    text = "\n".join(lines).strip("\n")
    return text if len(text) <= MOST_CHARACTERS else f"[…]\n{text[-MOST_CHARACTERS:].partition(chr(10))[2]}"


async def _main(chosen: Sequence[str]) -> None:
    RECORDS.mkdir(exist_ok=True)
    groups: dict[str, list[str]] = {}
    for name in chosen:
        groups.setdefault(_settings(SCRIPTS / f"{name}.py").get("memory", ""), []).append(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = DataFolder(Path(temporary, "home"))
        folder.make()
        for bucket in ("logs", "data", "scripts"):
            (folder.objects / bucket).mkdir()
        for path in SCRIPTS.glob("*.py"):
            (folder.objects / "scripts" / path.name).write_bytes(path.read_bytes())
        number = 0
        for memory, members in groups.items():
            async with SparkRunner(
                folder, cache_folder(os.environ), Options(warm=False, memory=memory).checked()
            ) as run:
                for name in members:
                    number += 1
                    record = await _record(run, folder, name, number)
                    (RECORDS / f"{name}.txt").write_text(record, "utf-8")
                    print(f"{number:3} of {len(chosen)}  {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--match", default="", help="names of the scripts to record, a regular expression")
    parser.add_argument("--missing", action="store_true", help="only scripts without a record")
    given = parser.parse_args()
    asyncio.run(
        _main(
            [
                name
                for name in names()
                if re.search(given.match, name) and not (given.missing and (RECORDS / f"{name}.txt").exists())
            ]
        )
    )
