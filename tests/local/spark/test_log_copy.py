import asyncio
import logging

import pytest

from dataflow_magic.local.spark.log_copy import _Copy, copy_lines
from tests.local.scripted import eventually


@pytest.mark.anyio
async def test_lines_are_copied_while_they_come_and_the_rest_at_the_end(tmp_path):
    source, target = tmp_path / "jvm.log", tmp_path / "console.log"
    source.write_bytes(b"at its start\n")
    target.write_bytes(b"printed\n")

    async with copy_lines(source, target, 0.01):
        with source.open("ab") as log:
            log.write("batch 매출\nhalf".encode())
            log.flush()
            await asyncio.to_thread(eventually, lambda: target.read_text("utf-8") == "printed\nbatch 매출\n")
            log.write(b" a line\nlast")

    assert target.read_text("utf-8") == "printed\nbatch 매출\nhalf a line\nlast"


def test_a_log_that_comes_later_is_copied_whole_and_one_that_was_cut_goes_on_at_its_end(tmp_path):
    source, target = tmp_path / "jvm.log", tmp_path / "console.log"
    copy = _Copy(source, target)

    source.write_bytes(b"one\ntwo\nthree\n")
    assert copy.next()
    source.write_bytes(b"[cut]\n")
    assert copy.next()
    source.write_bytes(b"[cut]\nfour\n")
    assert copy.next()

    assert target.read_bytes() == b"one\ntwo\nthree\nfour\n"


@pytest.mark.anyio
async def test_more_than_one_part_is_copied_at_the_end(tmp_path):
    source, target = tmp_path / "jvm.log", tmp_path / "console.log"

    async with copy_lines(source, target, 60.0):
        source.write_bytes(b"a line of some length\n" * 200_000)

    assert target.read_bytes() == source.read_bytes()


@pytest.mark.anyio
async def test_an_error_is_logged_and_not_raised(tmp_path, caplog):
    source = tmp_path / "jvm.log"
    (tmp_path / "console.log").mkdir()

    with caplog.at_level(logging.WARNING):
        async with copy_lines(source, tmp_path / "console.log", 0.01):
            source.write_bytes(b"one\n")
            await asyncio.to_thread(
                eventually, lambda: "jvm.log cannot be copied: Is a directory" in caplog.text
            )
