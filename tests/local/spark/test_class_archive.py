"""Archives made by a Java that is a shell script; that a real one uses its archive is seen in `test_carry`."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dataflow_magic.files import try_lock
from dataflow_magic.local.spark.class_archive import Archive
from dataflow_magic.local.spark.java import Java

pytestmark = pytest.mark.anyio

DUMPS = 'for option; do case $option in -XX:SharedArchiveFile=*) echo base > "${option#*=}";; esac; done'


@pytest.fixture
def archive(tmp_path):
    return an_archive(tmp_path)


def an_archive(tmp_path: Path, *, does: str = DUMPS, release: str = 'JAVA_VERSION="17.0.1"\n') -> Archive:
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    (home / "bin" / "java").write_text(f"#!/bin/sh\n{does}\n")
    (home / "bin" / "java").chmod(0o755)
    (home / "release").write_text(release)
    (tmp_path / "spark" / "jars").mkdir(parents=True, exist_ok=True)
    (tmp_path / "spark" / "jars" / "spark-core.jar").touch()
    return Archive(tmp_path / "cache", Java(home, 17, "JAVA_HOME"), tmp_path / "spark")


async def leave_an_archive(options: Sequence[str]) -> bool:
    base, spark, *_ = options
    leave(base.removeprefix("-XX:SharedArchiveFile="), spark.removeprefix("-XX:ArchiveClassesAtExit="))
    return True


def leave(base: str, spark: str) -> None:
    assert Path(base).read_text() == "base\n"
    Path(spark).write_text("spark")


async def fail(_: Sequence[str]) -> bool:
    return False


async def never(_: Sequence[str]) -> bool:
    raise AssertionError("nothing is to be made")


async def test_an_archive_is_made_once_and_used_from_then_on(archive):
    assert archive.options() == []

    assert await archive.make(leave_an_archive)

    assert archive.options()[0] == (
        f"-XX:SharedArchiveFile={archive.path}/base.jsa{os.pathsep}{archive.path}/spark.jsa"
    )
    assert await archive.make(never)
    assert {each.name for each in archive.folder.iterdir()} == {archive.path.name, "making.lock"}


async def test_another_java_or_spark_has_another_archive(archive, tmp_path):
    assert await archive.make(leave_an_archive)

    assert an_archive(tmp_path, release='JAVA_VERSION="17.0.15"\n').options() == []
    (tmp_path / "spark" / "jars" / "spark-sql.jar").touch()
    assert archive.options() == []


@pytest.mark.parametrize(
    ("does", "train"),
    [("exit 1", never), (DUMPS, fail), ("exec sleep 600", never)],
    ids=["no base", "a training that fails", "a Java that hangs"],
)
async def test_what_cannot_be_made_leaves_nothing(tmp_path, monkeypatch, does, train):
    monkeypatch.setattr("dataflow_magic.local.spark.class_archive._DUMP_SECONDS", 0.5)
    archive = an_archive(tmp_path, does=does)

    assert not await archive.make(train)

    assert archive.options() == []
    assert [each.name for each in archive.folder.iterdir()] == ["making.lock"]


async def test_only_one_process_makes_archives(archive):
    archive.folder.mkdir()
    lock = try_lock(archive.folder / "making.lock")
    assert lock is not None

    assert not await archive.make(never)

    os.close(lock)


async def test_only_the_newest_of_other_javas_archives_are_kept(archive):
    for age, name in enumerate(("java21-new", "java17-old", "java25-older")):
        folder = archive.folder / name
        folder.mkdir(parents=True)
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))

    assert await archive.make(leave_an_archive)

    assert {each.name for each in archive.folder.glob("java*")} == {
        archive.path.name,
        "java21-new",
        "java17-old",
    }
