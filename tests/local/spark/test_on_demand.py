import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from dataflow_magic.local.spark.on_demand import OnDemand

pytestmark = pytest.mark.anyio

SECONDS = 20.0


@dataclass
class Echoes:
    """Servers that return each line they get behind their own number."""

    started: int = 0
    stopped: list[int] = field(default_factory=list)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    servers: dict[int, asyncio.Server] = field(default_factory=dict)

    async def start(self) -> tuple[int, int]:
        self.started += 1
        await self.may.wait()
        if self.error:
            raise self.error
        number = self.started

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(b"%d: " % number + line)
            writer.close()

        self.servers[number] = server = await asyncio.start_server(echo, "127.0.0.1", 0)
        return number, server.sockets[0].getsockname()[1]

    async def stop(self, number: int) -> None:
        self.stopped.append(number)
        self.servers[number].close()

    @asynccontextmanager
    async def served(self, *, idle_seconds: float = 600.0, quick: bool = True):
        if quick:
            self.may.set()
        async with OnDemand(self.start, self.stop, idle_seconds=idle_seconds) as port:
            yield port


async def echo_of(port: int, word: str) -> str:
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{word}\n".encode())
        writer.write_eof()
        answer = b""
        with suppress(ConnectionResetError):
            answer = await reader.read()
        writer.close()
        return answer.decode()


async def until(holds) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_the_first_connection_starts_the_server_and_later_ones_share_it():
    echoes = Echoes()
    async with echoes.served(quick=False) as served:
        await asyncio.sleep(0.02)
        assert (echoes.started, served.is_running) == (0, False)
        echoes_of_both = [asyncio.ensure_future(echo_of(served.port, word)) for word in ("one", "two")]
        await asyncio.sleep(0.05)

        echoes.may.set()

        assert [await each for each in echoes_of_both] == ["1: one\n", "1: two\n"]
        assert await echo_of(served.port, "three") == "1: three\n"
        assert served.is_running
    assert echoes.stopped == [1]
    assert not served.is_running


async def test_an_idle_server_is_ended_and_the_next_connection_starts_another():
    echoes = Echoes()
    async with echoes.served(idle_seconds=0.05) as served:
        assert await echo_of(served.port, "one") == "1: one\n"
        await until(lambda: echoes.stopped == [1])

        assert await echo_of(served.port, "two") == "2: two\n"


async def test_a_silent_connection_keeps_the_server_running():
    echoes = Echoes()
    async with echoes.served(idle_seconds=0.02) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"1: one\n"
        await served.end_if_idle()
        await asyncio.sleep(0.1)

        writer.write(b"two\n")

        assert await reader.readline() == b"1: two\n"
        assert echoes.stopped == []
        writer.close()


async def test_a_server_ended_while_idle_starts_again_with_the_next_connection():
    echoes = Echoes()
    async with echoes.served() as served:
        assert await echo_of(served.port, "one") == "1: one\n"
        await until(lambda: not served._connections)

        await served.end_if_idle()

        assert echoes.stopped == [1]
        assert await echo_of(served.port, "two") == "2: two\n"


async def test_a_failed_start_closes_the_connection_and_the_next_one_tries_again(caplog):
    echoes = Echoes(error=ValueError("no room"))
    async with echoes.served() as served:
        assert await echo_of(served.port, "one") == ""
        assert "ValueError: no room" in caplog.text

        echoes.error = None

        assert await echo_of(served.port, "two") == "2: two\n"


async def test_leaving_closes_the_connections_and_ends_the_server():
    echoes = Echoes()
    async with echoes.served() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"1: one\n"

    assert await reader.read() == b""
    writer.close()
    assert echoes.stopped == [1]
