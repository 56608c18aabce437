"""Locks end with who holds them, and looking for one leaves nothing behind."""

import os

import pytest

from dataflow_magic.locks import is_locked, try_lock


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path):
    file = tmp_path / "lock"
    held = try_lock(file)
    assert held is not None

    assert is_locked(file)
    assert try_lock(file) is None
    os.close(held)
    assert not is_locked(file)


def test_shared_locks_are_held_together_and_are_not_a_whole_one(tmp_path):
    file = tmp_path / "lock"
    one, two = try_lock(file, shared=True), try_lock(file, shared=True)
    assert one is not None
    assert two is not None

    assert not is_locked(file)
    assert try_lock(file) is None
    os.close(one)
    os.close(two)


def test_looking_for_a_lock_makes_no_file(tmp_path):
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_below_no_folder_cannot_be_taken(tmp_path):
    with pytest.raises(FileNotFoundError):
        try_lock(tmp_path / "none" / "lock")
