"""The command line: what it prints, its exit codes, and the local service as a separate process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dataflow_magic import Client, JobCondition
from dataflow_magic.cli.main import main
from dataflow_magic.errors import BadParameter, NotSignedIn
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.keys import kept_keys
from tests.local_service import no_credentials

COMMAND = Path(sys.executable).with_name("dataflow-magic")
PATIENCE = 60.0


@asynccontextmanager
async def command(*arguments: str | Path, **environment: str) -> AsyncIterator[Process]:
    """Start the installed command; it is killed if it still runs at the end."""
    changes = {**os.environ, **no_credentials(), **environment}
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *map(str, arguments),
        env={name: value for name, value in changes.items() if value is not None},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode()


async def endpoint_of(process: Process) -> str:
    found = re.search(r"http://[0-9.]+:\d+", await first_line(process))
    assert found
    return found[0]


async def ended(process: Process) -> tuple[int | None, str, str]:
    """Return the exit code and what was printed since, on both streams."""
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def job_names(endpoint: str, access_key: str, secret_key: str) -> list[str]:
    async with Client(access_key, secret_key, endpoint) as client:
        return [job.name for job in (await client.list_jobs()).items]


@pytest.mark.anyio
async def test_local_prints_its_address_and_the_file_of_its_keys_once_it_serves(tmp_path):
    async with command("local", "--port", "0", "--data", tmp_path) as process:
        line = await first_line(process)
        printed = re.fullmatch(
            r"Data Flow service at (http://127\.0\.0\.1:\d+), data in (.+), keys in (.+)\n", line
        )

        assert printed
        assert printed[2] == str(tmp_path)
        assert printed[3] == str(tmp_path / "keys.env")
        keys = kept_keys(tmp_path / "keys.env")
        assert keys.access_key not in line
        assert keys.secret_key not in line
        assert await job_names(printed[1], keys.access_key, keys.secret_key) == ["daily_delays", "slow_count"]
        with pytest.raises(NotSignedIn):
            await job_names(printed[1], "LOCAL-ACCESS-KEY", "LOCAL-SECRET-KEY")


@pytest.mark.anyio
async def test_a_later_start_of_a_folder_accepts_the_same_keys(tmp_path):
    async with command("local", "--port", "0", "--data", tmp_path) as process:
        await endpoint_of(process)
        first = kept_keys(tmp_path / "keys.env")
        process.terminate()
        await ended(process)
    async with command("local", "--port", "0", "--data", tmp_path) as process:
        endpoint = await endpoint_of(process)

        assert await job_names(endpoint, first.access_key, first.secret_key) == ["daily_delays", "slow_count"]


@pytest.mark.anyio
async def test_local_accepts_only_the_keys_of_its_environment_and_prints_neither(tmp_path):
    keys = {"DATAFLOW_LOCAL_ACCESS_KEY": "mine-4f1d09", "DATAFLOW_LOCAL_SECRET_KEY": "hush-77ab21"}
    async with command("local", "--port", "0", "--data", tmp_path, **keys) as process:
        line = await first_line(process)
        endpoint = line.split()[4].rstrip(",")

        assert await job_names(endpoint, "mine-4f1d09", "hush-77ab21") == ["daily_delays", "slow_count"]
        with pytest.raises(NotSignedIn):
            await job_names(endpoint, "LOCAL-ACCESS-KEY", "LOCAL-SECRET-KEY")
        process.terminate()
        _, out, err = await ended(process)
        for key in keys.values():
            assert key not in line + out + err


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--contract", "2026-10"], {}), ([], {"DATAFLOW_LOCAL_CONTRACT": "2026-10"})],
    ids=["option", "environment"],
)
async def test_local_follows_the_given_version_of_the_api_reference(tmp_path, arguments, environment):
    async with command("local", "--port", "0", "--data", tmp_path, *arguments, **environment) as process:
        endpoint = await endpoint_of(process)

        keys = kept_keys(tmp_path / "keys.env")
        async with Client(keys.access_key, keys.secret_key, endpoint) as client:
            job = (await client.list_jobs(name="slow_count")).items[0]
            # Nothing else than the newest pages refuses this one.
            with pytest.raises(BadParameter, match="timeout: Input should be greater than or equal to 1"):
                await client.execute_job(job.job_id, JobCondition(timeout=0).over(job.condition))


@pytest.mark.anyio
async def test_an_unknown_contract_is_one_line_and_code_3(tmp_path):
    async with command("local", "--data", tmp_path, DATAFLOW_LOCAL_CONTRACT="g2") as process:
        assert await ended(process) == (
            3,
            "",
            "dataflow-magic: DATAFLOW_LOCAL_CONTRACT is 'g2'; set it to executejob or 2026-10\n",
        )


@pytest.mark.anyio
async def test_local_keeps_its_data_in_the_home_by_default(tmp_path):
    async with command("local", "--port", "0", DATAFLOW_MAGIC_HOME=str(tmp_path)) as process:
        assert f", data in {tmp_path / 'local'}, " in await first_line(process)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["terminated", "interrupted"]
)
async def test_local_ends_silently_and_removes_its_address(tmp_path, number, code):
    folder = DataFolder(tmp_path)
    async with command("local", "--port", "0", "--data", tmp_path) as process:
        endpoint = await endpoint_of(process)
        address = folder.read_address()
        assert address is not None
        assert (address.endpoint, address.pid) == (endpoint, process.pid)
        process.send_signal(number)

        assert await ended(process) == (code, "", "")
        assert folder.read_address() is None


@pytest.mark.anyio
async def test_an_interrupt_ends_a_command_that_was_started_with_sigint_ignored(tmp_path):
    objects = tmp_path / "data" / "objects"
    arguments = [COMMAND, "local", "put", "--data", tmp_path / "data", "-", "bucket/key"]
    process = await asyncio.create_subprocess_exec(
        # As a shell script starts a command in the background.
        *("sh", "-c", 'trap "" INT; exec "$@"', "sh", *map(str, arguments)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        while not objects.exists():  # noqa: ASYNC110 - nothing announces a folder
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)

    assert await ended(process) == (130, "", "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ("DATAFLOW_LOCAL_ACCESS_KEY", "DATAFLOW_LOCAL_SECRET_KEY"),
        ("DATAFLOW_LOCAL_SECRET_KEY", "DATAFLOW_LOCAL_ACCESS_KEY"),
    ],
)
async def test_local_refuses_one_key_alone(tmp_path, present, missing):
    async with command("local", "--data", tmp_path, **{present: "mine-4f1d09"}) as process:
        assert await ended(process) == (
            3,
            "",
            f"dataflow-magic: {present} is set and {missing} is not; set both or neither\n",
        )


@pytest.mark.anyio
async def test_local_listens_on_any_address_with_other_keys(tmp_path):
    keys = {"DATAFLOW_LOCAL_ACCESS_KEY": "mine-4f1d09", "DATAFLOW_LOCAL_SECRET_KEY": "hush-77ab21"}
    arguments = ["local", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path]  # noqa: S104
    async with command(*arguments, **keys) as process:
        endpoint = await endpoint_of(process)
        assert endpoint.startswith("http://127.0.0.1:")

        # Another address of this machine.
        elsewhere = endpoint.replace("127.0.0.1", "127.0.0.2")
        assert await job_names(elsewhere, "mine-4f1d09", "hush-77ab21") == ["daily_delays", "slow_count"]


@pytest.mark.anyio
async def test_a_port_in_use_is_one_line_and_code_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with command("local", "--port", str(port), "--data", tmp_path) as process:
            assert await ended(process) == (
                3,
                "",
                f"dataflow-magic: port {port} of 127.0.0.1 cannot be used (Address already in use); "
                "give another --port\n",
            )


@pytest.mark.anyio
async def test_a_folder_that_is_already_served_is_one_line_and_code_3(tmp_path):
    async with command("local", "--port", "0", "--data", tmp_path) as process:
        endpoint = await endpoint_of(process)
        async with command("local", "--port", "0", "--data", tmp_path) as second:
            assert await ended(second) == (
                3,
                "",
                f"dataflow-magic: a local service already serves {tmp_path} at {endpoint}, "
                f"process {process.pid}; use it, or give another --data\n",
            )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["local", "--port", "65536"],
        ["local", "--port", "-1"],
        ["local", "--port", "1e3"],
        ["local", "--port", "٣"],
        # If it were taken, this folder would not be.
        ["local", "--por", "0", "--data", "/dev/null/no"],
        ["local", "--contract", "g2"],
        ["local", "--host", "localhost"],
        ["local", "folder"],
        ["demo", "a.ipynb", "b.ipynb"],
    ],
    ids=[
        "no command",
        "unknown command",
        "port too high",
        "negative port",
        "port not whole",
        "port in other digits",
        "abbreviated option",
        "no such contract",
        "a host that is no address",
        "stray word",
        "two notebooks",
    ],
)
def test_a_usage_error_is_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)

    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: dataflow-magic")


def test_a_missing_notebook_is_one_line_and_code_3(tmp_path, capsys):
    missing = tmp_path / "missing.ipynb"

    assert main(["demo", str(missing), "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr() == (
        "",
        f"dataflow-magic: no notebook '{missing}'; give the path of a notebook\n",
    )
    assert not (tmp_path / "out").exists()


def test_help_names_the_default_port_and_the_variables_of_the_keys(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["local", "--help"])

    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "default 8970" in text
    assert "DATAFLOW_LOCAL_ACCESS_KEY" in text
