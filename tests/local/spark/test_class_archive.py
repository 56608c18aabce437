"""Archives made by a Java that is a shell script; that a real one uses its archive is seen in `test_carry`."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dataflow_magic.files import try_lock
from dataflow_magic.local.spark.class_archive import Archive, why_unused
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


async def test_the_base_of_an_archive_stays_where_the_archive_was_made(archive):
    """An archive holds the path of its base, and Java 21 and 25 use it only while a file is there."""
    seen: list[Path] = []

    async def train(options: Sequence[str]) -> bool:
        seen.append(Path(options[0].removeprefix("-XX:SharedArchiveFile=")))
        return await leave_an_archive(options)

    assert await archive.make(train)

    (base,) = seen
    assert base.is_file()
    assert f"={base}{os.pathsep}" in archive.options()[0]


async def test_an_archive_whose_making_was_killed_is_made_anew(archive):
    archive.path.mkdir(parents=True)
    for name in ("base.jsa", "new.jsa"):
        (archive.path / name).write_text("half of it")
    assert archive.options() == []

    assert await archive.make(leave_an_archive)

    assert {each.name for each in archive.path.iterdir()} == {"base.jsa", "spark.jsa"}


async def test_a_cache_that_was_moved_has_no_archive(archive, tmp_path):
    assert await archive.make(leave_an_archive)

    moved = archive.folder.rename(tmp_path / "moved")

    assert Archive(moved, archive.java, archive.home).options() == []


async def test_no_java_gets_the_tag_of_a_log_it_does_not_have(archive):
    """With one Java 17 refuses to start; of a combination of tags it does not have, Java 25 warns in the run's log."""
    newer = Archive(archive.folder, Java(archive.java.home, 25, "JAVA_HOME"), archive.home)
    assert await archive.make(leave_an_archive)
    assert await newer.make(leave_an_archive)

    assert "-Xlog:aot*=off" in newer.options()
    assert not [option for option in archive.options() if "aot" in option]


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
    monkeypatch.setattr("dataflow_magic.local.spark.class_archive._BASE_DUMP_SECONDS", 0.5)
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
        (folder / "spark.jsa").touch()
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    (archive.folder / "java21-half").mkdir()

    assert await archive.make(leave_an_archive)

    assert {each.name for each in archive.folder.glob("java*")} == {
        archive.path.name,
        "java21-new",
        "java17-old",
    }


USED = """\
[info] trying to map /cache/java17-1/spark.jsa
[info] optimized module handling: disabled because archive was created without optimized module handling
[info] Mapped static  region #0 at base 0x00007f1c1c000000 top 0x00007f1c1c447000 (ReadWrite)
[info] Mapped dynamic region #0 at base 0x00007f1c1cba3000 top 0x00007f1c20e4f000 (ReadWrite)
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (None, None),
        (USED, None),
        ("", "Java gives no reason"),
        (
            "[info] trying to map /cache/java25-1/spark.jsa\n"
            "[warning] Base archive /cache/new-1/base.jsa does not exist\n"
            "[warning] Unable to read the file header.\n"
            "[error  ] Loading dynamic archive failed.\n",
            "Base archive /cache/new-1/base.jsa does not exist",
        ),
        (
            "[info] UseSharedSpaces: Unable to use shared archive.\n"
            "The saved state of UseCompressedOops is different from runtime, CDS will be disabled.\n"
            "[info] UseSharedSpaces: Unable to map shared spaces\n",
            "Unable to use shared archive. "
            "The saved state of UseCompressedOops is different from runtime, CDS will be disabled.",
        ),
        (
            "[warning] Unable to use shared archive file.\n"
            "[       ] The saved state of UseCompressedOops is different from runtime, CDS will be disabled.\n",
            "Unable to use shared archive file. "
            "The saved state of UseCompressedOops is different from runtime, CDS will be disabled.",
        ),
        (
            f"{USED}[info] UseSharedSpaces: shared class paths mismatch (hint: enable -Xlog:class+path=info)\n"
            "[warning] Unable to use shared archive. The top archive failed to load: /cache/java17-1/spark.jsa\n",
            "shared class paths mismatch (hint: enable -Xlog:class+path=info)",
        ),
    ],
    ids=["no JVM", "used", "-Xshare:off", "base gone", "Java 17, heap", "Java 25, heap", "class path"],
)
async def test_the_log_of_a_jvm_says_whether_it_uses_the_archive_and_why_not(tmp_path, log, reason):
    if log is not None:
        (tmp_path / "archive.log").write_text(log)

    assert why_unused(tmp_path) == reason
