import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import Address, DataFolder
from tests.local.scripted import eventually

ADDRESS = Address("http://127.0.0.1:4242", "local-ab", "s3cr3t", 4711)


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "home" / "local")
    folder.make()
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_this_user_can_open_a_new_folder(tmp_path):
    before = os.umask(0)
    try:
        folder = DataFolder(tmp_path / "home" / "local")
        folder.make()
    finally:
        os.umask(before)

    assert mode(folder.path) == 0o700
    assert folder.objects.is_dir()


@given(
    st.sampled_from([*":;,[]{}*?\\\n\t\x7f\u00a0\u200b", "\udcff"]),
    st.sampled_from(["data", "운영 데이터", "a#b%41"]),
    st.integers(0, 4),
)
def test_a_folder_that_java_or_spark_would_read_as_another_is_refused_before_it_is_made(
    tmp_path_factory, character, name, place
):
    home = tmp_path_factory.mktemp("odd") / (name[:place] + character + name[place:])
    with pytest.raises(ConfigError) as caught:
        DataFolder(home / "local").make()

    assert f"do not read {character!a} as part of a path; give another --data" in str(caught.value)
    assert not home.exists()


@given(st.text(st.sampled_from("ab()#%&=+!$~@'\"|<> 운é"), min_size=1, max_size=12))
def test_any_other_sign_may_be_in_the_name_of_a_folder(tmp_path_factory, name):
    folder = DataFolder(tmp_path_factory.mktemp("odd") / name / "local")
    folder.make()

    assert folder.objects.is_dir()


@pytest.mark.parametrize("wide", [0o750, 0o755, 0o701, 0o777])
def test_an_existing_folder_keeps_its_files_and_is_closed_to_others(folder, wide):
    (folder.objects / "bucket").mkdir()
    files = [folder.database.with_name(folder.database.name + end) for end in ("", "-wal", "-shm")]
    files += [folder.log, folder.log.with_name("service.log.1"), folder.printed, folder.service_lock]
    other = folder.path / "notes.txt"
    for file in (*files, other):
        file.touch()
        file.chmod(0o666)
    for path in (folder.path, folder.objects):
        path.chmod(wide)

    folder.make()

    assert [mode(folder.path), mode(folder.objects)] == [0o700, 0o700]
    assert {mode(file) for file in files} == {0o600}
    assert mode(other) == 0o666  # not the service's
    assert (folder.objects / "bucket").is_dir()


def test_a_folder_that_users_share_is_refused_and_left_as_it_is(tmp_path):
    tmp_path.chmod(0o1777)

    with pytest.raises(ConfigError, match=r"users share the folder .*; give another --data"):
        DataFolder(tmp_path).make()
    assert mode(tmp_path) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", [".", "objects", "state.sqlite3"])
def test_what_another_user_owns_is_refused(folder, name):
    folder.database.touch()
    os.chown(folder.path / name, 12345, -1)

    with pytest.raises(
        ConfigError, match=r"user 12345 owns .*, not the user of the service, \d+; give another"
    ):
        folder.make()


def test_a_link_among_the_files_is_left_alone(folder, tmp_path):
    target = tmp_path / "target"
    target.touch()
    target.chmod(0o644)
    folder.log.symlink_to(target)

    folder.make()

    assert mode(target) == 0o644


@pytest.mark.parametrize("blocked", ["home", "home/local", "home/local/objects"])
def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path, blocked):
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file in the way")

    with pytest.raises(ConfigError) as refused:
        DataFolder(tmp_path / "home" / "local").make()

    message = str(refused.value)
    assert message.startswith(f"the data folder {tmp_path}/home/local cannot be used (")
    assert message.endswith("); give another --data, or set DATAFLOW_MAGIC_HOME to a folder that can")
    assert "\n" not in message


def test_an_address_is_read_as_it_was_written(folder):
    folder.write_address(ADDRESS)

    assert folder.read_address() == ADDRESS


def test_only_this_user_can_read_the_keys(folder):
    before = os.umask(0)
    try:
        folder.write_address(ADDRESS)
    finally:
        os.umask(before)

    assert mode(folder.path / "service.json") == 0o600
    assert sorted(path.name for path in folder.path.iterdir()) == ["objects", "service.json"]


def test_a_new_address_replaces_the_old_one_and_a_half_written_one(folder):
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", 1))
    (folder.path / "service.new").write_text("half")
    (folder.path / "service.new").chmod(0o644)

    folder.write_address(ADDRESS)

    assert folder.read_address() == ADDRESS
    assert mode(folder.path / "service.json") == 0o600


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"endpoint": "x"}', '{"endpoint": 1, "x": 2}', "null", b"\xff"],
    ids=["empty", "cut off", "a list", "no fields", "a field", "another field", "null", "not UTF-8"],
)
def test_a_broken_address_is_none(folder, content):
    content = content if isinstance(content, bytes) else content.encode()
    (folder.path / "service.json").write_bytes(content)

    assert folder.read_address() is None


def test_removing_a_missing_address_is_no_error(folder):
    folder.write_address(ADDRESS)

    folder.remove_address()
    folder.remove_address()

    assert folder.read_address() is None


def test_the_repr_of_an_address_hides_its_keys():
    assert repr(ADDRESS) == "Address('http://127.0.0.1:4242', pid=4711)"
    assert f"{ADDRESS}" == repr(ADDRESS)


@pytest.mark.parametrize(
    ("first_shared", "second_shared", "both"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
    ids=["shared and shared", "shared and exclusive", "exclusive and shared", "exclusive and exclusive"],
)
def test_a_lock_has_one_exclusive_holder_or_many_shared_ones(folder, first_shared, second_shared, both):
    first = try_lock(folder.users_lock, shared=first_shared)
    second = try_lock(folder.users_lock, shared=second_shared)

    assert first is not None
    assert (second is not None) is both
    for lock in filter(None, (first, second)):
        os.close(lock)


def test_a_lock_ends_with_its_descriptor(folder):
    lock = try_lock(folder.service_lock)
    assert lock is not None
    os.close(lock)

    again = try_lock(folder.service_lock)

    assert again is not None
    os.close(again)


HOLDER = """
import os, subprocess, sys
from pathlib import Path

from dataflow_magic.files import try_lock
hold = try_lock(Path(sys.argv[1]), shared=True)
{more}
print("held", flush=True)
sys.stdin.read()
"""
FORKED = """
if os.fork() == 0:
    os.close(hold)  # closes a copy; the lock stays
    sys.stdin.read()
    os._exit(0)
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
"""
STARTED_A_PROGRAM = """
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], close_fds=False)
"""


@contextmanager
def holder(lock: Path, more: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock; the processes it starts end with its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(more=more), lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert cast("IO[str]", process.stdout).readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def is_free(lock: Path) -> bool:
    descriptor = try_lock(lock)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def test_a_killed_process_holds_no_lock(folder):
    with holder(folder.users_lock) as process:
        assert not is_free(folder.users_lock)

        process.kill()

        eventually(lambda: is_free(folder.users_lock))


def test_a_program_that_a_user_starts_does_not_keep_its_lock(folder):
    with holder(folder.users_lock, STARTED_A_PROGRAM) as process:
        process.kill()

        eventually(lambda: is_free(folder.users_lock))


def test_a_fork_of_a_user_keeps_its_lock(folder):
    with holder(folder.users_lock, FORKED) as process:
        process.kill()
        process.wait()
        assert not is_free(folder.users_lock)

        cast("IO[str]", process.stdin).close()  # ends the fork

        eventually(lambda: is_free(folder.users_lock))
        process.stdin = None
