"""The keys of a data folder: made once, private from the beginning, refused where another user may know them."""

import os
import stat

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.keys import Keys, given_keys, kept_keys
from dataflow_magic.local.launch import peek_at


def test_each_folder_has_keys_of_its_own_and_keeps_them(tmp_path):
    first, second = kept_keys(tmp_path / "a.env"), kept_keys(tmp_path / "b.env")

    assert first.access_key != second.access_key
    assert first.secret_key != second.secret_key
    assert len(first.secret_key) >= 40
    assert kept_keys(tmp_path / "a.env") == first


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_this_user_reads_the_keys_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        kept_keys(tmp_path / "keys.env")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "keys.env").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.env"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601, 0o666])
def test_keys_that_another_user_may_know_are_refused(tmp_path, mode):
    file = tmp_path / "keys.env"
    kept_keys(file)
    file.chmod(mode)

    with pytest.raises(ConfigError, match=r"other users may know the keys .* delete .*keys.env"):
        kept_keys(file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "DATAFLOW_LOCAL_ACCESS_KEY=a\n",
        "DATAFLOW_LOCAL_ACCESS_KEY=\nDATAFLOW_LOCAL_SECRET_KEY=\n",
        "DATAFLOW_LOCAL_ACCESS_KEY=a\nDATAFLOW_LOCAL_SECRET_KEY=b c\n",
        "x" * 5000,
    ],
    ids=["empty", "binary", "cut off", "empty keys", "a blank", "long"],
)
def test_a_damaged_file_of_keys_is_refused(tmp_path, text):
    file = tmp_path / "keys.env"
    file.touch(mode=0o600)
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"damaged; delete .*keys.env, and the next start makes new keys"):
        kept_keys(file)
    assert file.read_text() == text


def test_a_link_a_folder_and_a_pipe_are_no_keys(tmp_path):
    kept_keys(tmp_path / "elsewhere.env")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere.env")
    (tmp_path / "broken").symlink_to(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)

    for name in ("link", "broken", "folder", "pipe"):
        with pytest.raises(ConfigError, match="keys"):
            kept_keys(tmp_path / name)
    assert not (tmp_path / "missing").exists()


def test_the_environment_gives_both_keys_or_none():
    both = {"DATAFLOW_LOCAL_ACCESS_KEY": "a", "DATAFLOW_LOCAL_SECRET_KEY": "s"}

    assert given_keys(both) == Keys("a", "s")
    assert given_keys({}) is None
    for name in both:
        with pytest.raises(ConfigError, match=f"{name} is set and .* is not; set both or neither"):
            given_keys({name: "x"})


@pytest.mark.parametrize(
    ("endpoint", "is_found"),
    [
        ("http://127.0.0.1:8970", True),
        ("http://localhost:8970", True),
        ("http://127.0.0.1:8971", False),
        ("http://127.0.0.2:8970", False),
        ("http://[::1]:8970", False),
        ("https://127.0.0.1:8970", False),
        ("http://127.0.0.1", False),
    ],
)
def test_the_service_of_a_folder_is_found_only_where_it_listens(tmp_path, endpoint, is_found):
    folder = DataFolder(tmp_path / "local")
    folder.make()
    address = Address("http://127.0.0.1:8970", "a", "s", 1)
    folder.write_address(address)

    assert peek_at(folder, endpoint) is None  # no process serves it
    lock = folder.own()
    try:
        assert peek_at(folder, endpoint) == (address if is_found else None)
    finally:
        os.close(lock)
