import io
import os
from datetime import datetime
from pathlib import Path

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.objects.objects import Entry, list_objects, put, remove
from dataflow_magic.models.wire import KST

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=KST)


@pytest.fixture
def objects(tmp_path):
    return tmp_path / "objects"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with some files."""
    folder = tmp_path / "here"
    (folder / "tables" / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("a")
    (folder / "b.csv").write_text("bb")
    (folder / "tables" / "c.csv").write_text("ccc")
    (folder / "tables" / "deep" / "d.csv").write_text("dddd")
    monkeypatch.chdir(folder)
    return folder


def put_all(objects: Path, sources: list[str], destination: str, stdin: bytes = b"") -> list[tuple[str, int]]:
    return list(put(objects, sources, destination, io.BytesIO(stdin)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def keys(objects: Path) -> list[str]:
    return sorted(path.relative_to(objects).as_posix() for path in objects.rglob("*") if path.is_file())


# Putting


@pytest.mark.parametrize(
    ("sources", "destination", "there"),
    [
        (["a.csv"], "bucket/in/", [("bucket/in/a.csv", 1)]),
        (["a.csv"], "bucket/in", [("bucket/in", 1)]),
        (["a.csv"], "bucket", [("bucket/a.csv", 1)]),
        (["a.csv"], "s3a://bucket/in/x.csv", [("bucket/in/x.csv", 1)]),
        (["a.csv", "b.csv"], "s3://bucket/in", [("bucket/in/a.csv", 1), ("bucket/in/b.csv", 2)]),
        (["tables"], "bucket/in/", [("bucket/in/tables/c.csv", 3), ("bucket/in/tables/deep/d.csv", 4)]),
        (["tables/"], "bucket/in", [("bucket/in/tables/c.csv", 3), ("bucket/in/tables/deep/d.csv", 4)]),
        (["./tables/deep", "a.csv"], "bucket", [("bucket/deep/d.csv", 4), ("bucket/a.csv", 1)]),
    ],
    ids=[
        "a file into a folder", "a file under a name", "a file into a bucket", "a scheme", "several files", "a folder",
        "a folder by its name alone", "a folder and a file",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("here")
def test_files_and_folders_are_put(objects, sources, destination, there):
    assert put_all(objects, sources, destination) == there
    assert keys(objects) == sorted(key for key, _ in there)
    for key, size in there:
        assert (objects / key).stat().st_size == size


@pytest.mark.usefixtures("here")
def test_a_file_goes_into_an_existing_folder(objects):
    (objects / "bucket" / "in").mkdir(parents=True)

    assert put_all(objects, ["a.csv"], "bucket/in") == [("bucket/in/a.csv", 1)]


def test_the_current_folder_is_put_under_its_name(objects, here, monkeypatch):
    monkeypatch.chdir(here / "tables" / "deep")

    assert put_all(objects, ["."], "bucket/") == [("bucket/deep/d.csv", 4)]


def test_standard_input_is_put_under_a_name(objects):
    assert put_all(objects, ["-"], "bucket/in/x.csv", b"a\r\nb") == [("bucket/in/x.csv", 4)]
    assert (objects / "bucket" / "in" / "x.csv").read_bytes() == b"a\r\nb"


@pytest.mark.parametrize("destination", ["bucket/in/", "bucket"])
@pytest.mark.usefixtures("here")
def test_standard_input_without_a_name_is_refused(objects, destination):
    with pytest.raises(ConfigError) as refused:
        put_all(objects, ["a.csv", "-"], destination)

    assert str(refused.value) == "standard input has no name; write bucket/key as the destination"
    assert not objects.exists()


@pytest.mark.parametrize(
    "destination", ["../out/", "bucket/../../out", "/etc/", "https://bucket/in/", "", "bucket//in/"]
)
@pytest.mark.usefixtures("here")
def test_a_path_out_of_the_objects_is_refused_and_nothing_is_written(objects, destination):
    with pytest.raises(ConfigError, match="is not a path in object storage: write bucket/key"):
        put_all(objects, ["a.csv"], destination)

    assert not objects.exists()


def test_only_files_of_a_folder_are_put(objects, here):
    os.mkfifo(here / "tables" / "pipe")
    (here / "tables" / "broken").symlink_to("nowhere")
    (here / "tables" / "loop").symlink_to(here, target_is_directory=True)
    (here / "tables" / "link.csv").symlink_to(here / "a.csv")

    assert [key for key, _ in put_all(objects, ["tables"], "bucket/")] == [
        "bucket/tables/c.csv",
        "bucket/tables/link.csv",
        "bucket/tables/deep/d.csv",
    ]


@pytest.mark.usefixtures("here")
def test_a_missing_file_is_named(objects):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'none\.csv'"):
        put_all(objects, ["none.csv"], "bucket/")


# Listing


@pytest.fixture
def filled(objects):
    for key in ("bucket/a.csv", "bucket/in/b.csv", "bucket/in/.b.csv.crc", "bucket/in/_SUCCESS", "other/.x"):
        path = objects / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1234567"[: len(path.name)])
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    (objects / "a file beside the buckets").touch()
    (objects / "bucket" / "up").symlink_to(objects / "bucket")
    return objects


@pytest.mark.parametrize(
    ("path", "recursive", "entries"),
    [
        ("bucket", False, [Entry("bucket/a.csv", 5, NOON), Entry("bucket/in/"), Entry("bucket/up/")]),
        ("s3a://bucket/", False, [Entry("bucket/a.csv", 5, NOON), Entry("bucket/in/"), Entry("bucket/up/")]),
        ("bucket/in/", False, [Entry("bucket/in/_SUCCESS", 7, NOON), Entry("bucket/in/b.csv", 5, NOON)]),
        ("bucket/in/b.csv", False, [Entry("bucket/in/b.csv", 5, NOON)]),
        (
            "bucket",
            True,
            [
                Entry("bucket/a.csv", 5, NOON),
                Entry("bucket/in/_SUCCESS", 7, NOON),
                Entry("bucket/in/b.csv", 5, NOON),
                Entry("bucket/up/"),
            ],
        ),
        ("other", True, []),
    ],
    ids=["a bucket", "a bucket as scripts spell it", "a folder", "an object", "all below", "nothing but hidden files"],
)  # fmt: skip
def test_a_listing_holds_what_scripts_see(filled, path, recursive, entries):
    assert list_objects(filled, path, recursive=recursive) == entries


def test_without_a_path_the_buckets_are_listed(filled):
    (filled / "a file beside the buckets").unlink()

    assert list_objects(filled) == [Entry("bucket/"), Entry("other/")]
    assert list_objects(filled / "none") == []


def test_a_missing_path_is_not_listed(filled):
    with pytest.raises(ConfigError) as refused:
        list_objects(filled, "bucket/none/")

    assert str(refused.value) == (
        f"no object or folder 'bucket/none/' in {filled}; dataflow-magic local ls lists the buckets"
    )


# Removing


def test_an_object_is_removed_with_its_checksum(filled):
    remove(filled, "s3a://bucket/in/b.csv")

    assert names(filled / "bucket" / "in") == ["_SUCCESS"]


def test_a_folder_is_removed_only_recursively(filled):
    with pytest.raises(ConfigError, match=r"^'bucket/in' is a folder; -r removes it with its content$"):
        remove(filled, "bucket/in")
    assert (filled / "bucket" / "in" / "b.csv").exists()

    remove(filled, "bucket/in", recursive=True)
    assert not (filled / "bucket" / "in").exists()


def test_only_the_link_is_removed_of_a_link(filled):
    remove(filled, "bucket/up", recursive=True)

    assert names(filled / "bucket") == ["a.csv", "in"]


@pytest.mark.parametrize("path", ["bucket/none", "none/none", "bucket/a.csv/x"])
def test_a_missing_object_is_not_removed(filled, path):
    with pytest.raises(ConfigError) as refused:
        remove(filled, path)

    assert str(refused.value) == f"no object {path!r} in {filled}; dataflow-magic local ls lists them"


def test_a_path_out_of_the_objects_is_not_removed(filled):
    with pytest.raises(ConfigError, match="is not a path in object storage"):
        remove(filled, "../here", recursive=True)
