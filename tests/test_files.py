import io
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.files import InvalidKey, is_locked, object_path, remove_folder, try_lock, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_write_makes_missing_folders_and_returns_the_size(tmp_path):
    assert write_whole(tmp_path / "a" / "b" / "c.txt", io.BytesIO("매출\r\n".encode())) == 8

    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "매출\r\n".encode()
    assert names(tmp_path / "a" / "b") == ["c.txt"]


def test_a_replaced_file_loses_its_checksum(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("old")
    (tmp_path / ".c.csv.crc").write_text("of old")
    (tmp_path / ".d.csv.crc").write_text("of another")

    write_whole(path, io.BytesIO(b"new"))

    assert path.read_bytes() == b"new"
    assert names(tmp_path) == [".d.csv.crc", "c.csv"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError("the source went away")
            return super().read(size)

    path = tmp_path / "c.csv"
    path.write_text("old")
    (tmp_path / ".c.csv.crc").write_text("of old")

    with pytest.raises(OSError, match="the source went away"):
        write_whole(path, Broken(b"new"))

    assert path.read_text() == "old"
    assert names(tmp_path) == [".c.csv.crc", "c.csv"]


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "c.csv").mkdir()
    (tmp_path / ".c.csv.crc").write_text("whatever")

    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "c.csv", io.BytesIO(b"new"))

    assert names(tmp_path) == [".c.csv.crc", "c.csv"]


def test_the_longest_name_can_be_written(tmp_path):
    write_whole(tmp_path / ("x" * 255), io.BytesIO(b"new"))

    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"


def test_a_killed_writer_leaves_the_old_file_and_a_hidden_part(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("old")
    script = (
        "import sys; from pathlib import Path; from dataflow_magic.files import is_locked, remove_folder, try_lock, write_whole\n"
        "write_whole(Path(sys.argv[1]), sys.stdin.buffer)"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, path], stdin=subprocess.PIPE)
    try:
        assert writer.stdin is not None
        writer.stdin.write(bytes(3 << 20))
        writer.stdin.flush()
    finally:
        writer.kill()
        writer.communicate()

    assert path.read_text() == "old"
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["c.csv"]


def test_a_folder_is_removed_while_a_process_still_writes_into_it(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    over = time.monotonic() + 0.3

    def write() -> None:
        while time.monotonic() < over:
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                (folder / "last").touch()

    writer = threading.Thread(target=write)
    writer.start()

    remove_folder(folder)
    writer.join()
    remove_folder(folder)

    assert not folder.exists()
    remove_folder(folder)  # nothing to do


def test_a_removal_ends_after_its_last_try(tmp_path, monkeypatch):
    monkeypatch.setattr("dataflow_magic.files.REMOVAL_SECONDS", 0.0)
    (tmp_path / "file").write_text("no folder")

    remove_folder(tmp_path / "file")

    assert (tmp_path / "file").exists()


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path):
    file = tmp_path / "lock"
    held = try_lock(file)
    assert held is not None

    assert is_locked(file)
    assert try_lock(file) is None
    os.close(held)
    assert not is_locked(file)


def test_shared_locks_exclude_only_an_exclusive_one(tmp_path):
    file = tmp_path / "lock"
    one, two = try_lock(file, shared=True), try_lock(file, shared=True)
    assert one is not None
    assert two is not None

    assert not is_locked(file)
    assert try_lock(file) is None
    os.close(one)
    os.close(two)


def test_is_locked_makes_no_file(tmp_path):
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_in_a_missing_folder_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        try_lock(tmp_path / "none" / "lock")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd.py",
        "..",
        "scripts/../../x.py",
        "scripts/./x.py",
        "scripts//x.py",
        "scripts/a//",
        "scripts\\..\\x.py",
        "scripts/x\0.py",
        "scripts/\ud800.py",
        "s3a://scripts/x.py",
        "scripts/" + "x" * 300,
        "scripts/" + "x/" * 600,
    ],
    ids=ascii,
)
def test_an_invalid_key_is_refused(tmp_path, key):
    with pytest.raises(InvalidKey, match="is not a path in object storage: write bucket/key"):
        object_path(tmp_path, key)


@given(st.text(st.sampled_from("./\\ a\0매"), max_size=12))
def test_an_object_path_never_leaves_the_folder(key):
    objects = Path("/objects")

    try:
        path = object_path(objects, key)
    except InvalidKey:
        return

    assert objects in path.parents
    assert ".." not in path.parts
