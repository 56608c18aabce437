"""Symbolic links in the object folder: those out of it are never followed."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflow_magic.client.objects import FolderObjects, NoObject
from dataflow_magic.errors import ConfigError, DataflowError
from dataflow_magic.files import InvalidKey
from dataflow_magic.local.objects.objects import Entry, list_objects, put, remove
from dataflow_magic.local.objects.samples import install_samples
from dataflow_magic.local.spark.script import find_script

pytestmark = pytest.mark.anyio


def absolute(link: Path, target: Path) -> None:
    link.symlink_to(target)


def relative(link: Path, target: Path) -> None:
    link.symlink_to(Path("../" * len(link.parent.parts)) / target.relative_to("/"))


def chain(link: Path, target: Path) -> None:
    (link.parent / "first").symlink_to(target)
    (link.parent / "second").symlink_to("first")
    link.symlink_to("second")


def detour(link: Path, target: Path) -> None:
    """A link to a folder inside, and from there by .. to the outside."""
    inside = link.parent / "inside"
    inside.mkdir()
    link.symlink_to(inside / Path("../" * len(inside.parts)) / target.relative_to("/"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the objects, with a name that begins like theirs."""
    folder = tmp_path / "objects-of-another"
    (folder / "in").mkdir(parents=True)
    for path in (folder / "job.py", folder / "in" / "job.py"):
        path.write_text("private")
    return folder


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    (folder / "bucket").mkdir(parents=True)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


LINKS = pytest.mark.parametrize("make", [absolute, relative, chain, detour])
PLACES = pytest.mark.parametrize(
    ("link", "target", "key"),
    [
        ("other", "", "other/job.py"),
        ("other", "", "other/in/job.py"),
        ("bucket/in", "in", "bucket/in/job.py"),
        ("bucket/job.py", "job.py", "bucket/job.py"),
        ("bucket/none.py", "none.py", "bucket/none.py"),
    ],
    ids=["a bucket", "below a bucket", "a prefix", "an object", "dangling"],
)


@LINKS
@PLACES
async def test_a_link_out_of_the_objects_is_neither_read_nor_written(
    objects, outside, make: Callable[[Path, Path], None], link, target, key
):
    make(objects / link, outside / target)
    before = content(outside)
    source = objects.parent / "job.py"
    source.write_text("new")
    why = "leads out of .* by a symbolic link: remove the link or copy its target"

    with pytest.raises(ConfigError, match=why):
        list(put(objects, [str(source)], key, io.BytesIO()))
    with pytest.raises(ConfigError, match=why):
        list_objects(objects, key)
    with pytest.raises(InvalidKey, match=why):
        find_script(objects, key, "job")
    store = FolderObjects(objects)
    with pytest.raises(NoObject, match=why):
        await store.tail(key, 10)
    for act in store.read(key), store.put(key, b"new"):
        with pytest.raises(DataflowError, match=why):
            await act

    assert content(outside) == before


@LINKS
@pytest.mark.parametrize(
    ("link", "target"),
    [("other", ""), ("bucket/in", "in"), ("bucket/job.py", "job.py"), ("bucket/x", "none")],
)
def test_a_link_out_of_the_objects_is_listed_by_name_and_removed_alone(objects, outside, make, link, target):
    make(objects / link, outside / target)
    before = content(outside)

    listed = [entry for entry in list_objects(objects, recursive=True) if entry.key == link]
    assert listed == [Entry(link)]
    remove(objects, link, recursive=True)

    assert not (objects / link).is_symlink()
    assert content(outside) == before


@LINKS
def test_nothing_behind_a_link_is_removed(objects, outside, make):
    make(objects / "other", outside)
    before = content(outside)

    for path in ("other/in", "other/job.py", "other/in/job.py", "other/none"):
        with pytest.raises(ConfigError, match="leads out of"):
            remove(objects, path, recursive=True)

    assert content(outside) == before


@LINKS
def test_the_script_in_a_folder_is_no_link_out_of_the_objects(objects, outside, make):
    make(objects / "bucket" / "job.py", outside / "job.py")

    for name in ("job", "another"):
        with pytest.raises(InvalidKey, match="leads out of"):
            find_script(objects, "bucket/", name)


@pytest.mark.parametrize("target", ["loop", "other"])
def test_a_loop_of_links_leads_nowhere(objects, target):
    (objects / "bucket" / "loop").symlink_to(target)
    (objects / "bucket" / "other").symlink_to("loop")

    assert [entry.key for entry in list_objects(objects, "bucket", recursive=True)] == [
        "bucket/loop/",
        "bucket/other/",
    ]
    with pytest.raises(ConfigError, match="no object or folder"):
        list_objects(objects, "bucket/loop/x")
    remove(objects, "bucket/loop", recursive=True)
    assert not (objects / "bucket" / "loop").is_symlink()


async def test_a_link_inside_the_objects_is_followed_also_when_their_folder_is_a_link(objects):
    (objects / "bucket" / "job.py").write_text("job")
    (objects / "other").symlink_to("bucket")
    (objects.parent / "alias").symlink_to(objects)

    for folder in (objects, objects.parent / "alias"):
        assert await FolderObjects(folder).read("other/job.py") == b"job"
        assert find_script(folder, "other/", "job").read_text() == "job"


def test_samples_are_not_written_through_a_link(objects, outside):
    (objects / "dataflow-sample").symlink_to(outside)
    before = content(outside)

    install_samples(objects)

    assert content(outside) == before
