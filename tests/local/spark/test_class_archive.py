"""Archives made by a Java that is a shell script; `test_runner` shows that a real JVM uses its archive."""

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dataflow_magic.files import try_lock
from dataflow_magic.local.spark.class_archive import Archive, ServiceArchives, why_unused
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
    raise AssertionError("no archive may be made")


async def test_an_archive_is_made_once_and_used_from_then_on(archive):
    assert archive.options() == []

    assert await archive.make(leave_an_archive)

    assert archive.options()[0] == (
        f"-XX:SharedArchiveFile={archive.path}/base.jsa{os.pathsep}{archive.path}/spark.jsa"
    )
    assert await archive.make(never)
    assert {each.name for each in archive.folder.iterdir()} == {archive.path.name, "making.lock"}


async def test_a_folder_that_cannot_be_written_leaves_java_without_an_archive(archive, tmp_path, caplog):
    (tmp_path / "file").touch()
    locked = Archive(tmp_path / "file" / "cache", archive.java, archive.home)

    assert not await locked.make(never)

    assert locked.options() == []
    assert not locked.remove()
    assert [record.getMessage() for record in caplog.records] == [
        f"no archive of classes can be made or removed in {tmp_path}/file/cache (Not a directory)"
    ] * 2


async def test_a_link_to_the_folder_leads_to_the_same_archive(archive, tmp_path):
    assert await archive.make(leave_an_archive)
    (tmp_path / "link").symlink_to(archive.folder)

    linked = Archive(tmp_path / "link", archive.java, archive.home)

    assert linked.path == archive.path
    assert linked.options()[0] == archive.options()[0]


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


async def test_an_archive_whose_making_was_interrupted_is_made_anew(archive):
    archive.path.mkdir(parents=True)
    for name in ("base.jsa", "spark.jsa"):
        (archive.path / name).write_text("half of it")
    assert archive.options() == []

    assert await archive.make(leave_an_archive)

    assert {each.name for each in archive.path.iterdir()} == {
        "base.jsa",
        "spark.jsa",
        "files.json",
    }


DAMAGES = {
    "truncated": lambda path: os.truncate(path / "spark.jsa", 2),
    "base truncated": lambda path: os.truncate(path / "base.jsa", 0),
    "no archive": lambda path: (path / "spark.jsa").write_text("SPARK"),
    "removed": lambda path: (path / "base.jsa").unlink(),
    "no record": lambda path: (path / "files.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_java_gets_no_archive_whose_files_have_changed(archive, damage):
    """Java 17 crashes with SIGBUS on a truncated file, and refuses to start with one that is no archive."""
    assert await archive.make(leave_an_archive)
    assert not archive.is_damaged()

    damage(archive.path)

    assert archive.options() == []
    assert archive.is_damaged()
    assert await archive.make(leave_an_archive)
    assert not archive.is_damaged()
    assert archive.options() != []


async def test_an_archive_is_not_removed_while_a_process_makes_one(archive):
    assert await archive.make(leave_an_archive)
    lock = try_lock(archive.folder / "making.lock")
    assert lock is not None

    assert not archive.remove()
    assert archive.options() != []

    os.close(lock)
    assert archive.remove()
    assert not archive.path.exists()


@pytest.fixture
def events(caplog):
    """Return a function that gives what the service has logged of archives: reason, and what it did."""
    caplog.set_level(logging.INFO, "dataflow_magic.local")

    def logged() -> list[tuple[str, str]]:
        about = [record.__dict__["about"] for record in caplog.records]
        assert {record.getMessage() for record in caplog.records} <= {
            "a JVM does without the archive of classes"
        }
        assert {each["java"] for each in about} <= {17}
        return [(each["reason"], each["archive"]) for each in about]

    return logged


def refuse(folder: Path) -> Path:
    """Leave the log of a JVM that refused its archive."""
    folder.mkdir()
    (folder / "archive.log").write_text("[warning] Unable to use shared archive file.\n")
    return folder


async def test_an_archive_that_java_refuses_is_removed_once_and_made_anew_once(archive, tmp_path, events):
    assert await archive.make(leave_an_archive)
    service = ServiceArchives(archive.folder)
    await service.make(archive.java, archive.home, never)

    service.check(archive.java, archive.home, refuse(tmp_path / "first"))
    assert service.options(archive.java, archive.home) == []
    await service.make(archive.java, archive.home, leave_an_archive)
    assert service.options(archive.java, archive.home) != []

    service.check(archive.java, archive.home, refuse(tmp_path / "second"))
    await service.make(archive.java, archive.home, never)
    assert service.options(archive.java, archive.home) != []
    assert events() == [
        ("Unable to use shared archive file.", "removed"),
        ("Unable to use shared archive file.", "kept"),
    ]


async def test_a_damaged_archive_is_reported_and_made_anew(archive, events):
    assert await archive.make(leave_an_archive)
    os.truncate(archive.path / "spark.jsa", 2)
    service = ServiceArchives(archive.folder)

    assert service.options(archive.java, archive.home) == []
    assert not archive.path.exists()
    await service.make(archive.java, archive.home, leave_an_archive)

    assert service.options(archive.java, archive.home) != []
    assert events() == [("its files have changed since it was made", "removed")]


async def test_a_service_tries_once_to_make_an_archive(archive):
    service, tries = ServiceArchives(archive.folder), []

    async def fail_and_count(_: Sequence[str]) -> bool:
        tries.append(1)
        return False

    for _ in range(3):
        await service.make(archive.java, archive.home, fail_and_count)

    assert tries == [1]


async def test_a_making_that_a_run_interrupts_leaves_no_files_and_is_tried_again(archive):
    service, begun = ServiceArchives(archive.folder), asyncio.Event()

    async def begin(_: Sequence[str]) -> bool:
        begun.set()
        return await asyncio.Future()

    making = asyncio.ensure_future(service.make(archive.java, archive.home, begin))
    await begun.wait()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    assert [each.name for each in archive.folder.iterdir()] == ["making.lock"]

    await service.make(archive.java, archive.home, leave_an_archive)

    assert archive.options() != []


async def test_an_archive_is_kept_when_java_gives_no_reason(archive, tmp_path, events):
    """A JVM that ends before it opens the archive logs nothing, as does one with -Xshare:off."""
    assert await archive.make(leave_an_archive)
    service = ServiceArchives(archive.folder)
    (tmp_path / "jvm").mkdir()
    (tmp_path / "jvm" / "archive.log").touch()

    service.check(archive.java, archive.home, tmp_path / "jvm")

    assert archive.options() != []
    assert events() == [("Java gives no reason", "kept")]


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
async def test_a_failed_making_leaves_no_files(tmp_path, monkeypatch, does, train):
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
    assert await archive.make(leave_an_archive)
    for age, name in enumerate(("java21-new", "java17-old", "java25-older")):
        folder = archive.folder / name
        shutil.copytree(archive.path, folder)
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    shutil.copytree(archive.path, archive.folder / "java21-half")
    (archive.folder / "java21-half" / "files.json").unlink()
    shutil.rmtree(archive.path)

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
def test_the_log_of_a_jvm_shows_why_it_does_without_the_archive(tmp_path, log, reason):
    if log is not None:
        (tmp_path / "archive.log").write_text(log)

    assert why_unused(tmp_path) == reason
