import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic import errors
from dataflow_magic.client import Client
from dataflow_magic.client.bounds import MOST_BYTES, MOST_NESTING, OverBound, check_items, read_json
from tests.client.fakes import ACCESS, CONDITION, JOB, NOW, RUN, SECRET

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_no_pauses")]

MIB = 2**20
ASK = "; check that https://dataflow.apigw.ntruss.com is a Data Flow service"
LARGE = "the response is larger than 64 MiB, the limit"


@dataclass
class Streaming:
    """A service whose bodies are streams; counts the bytes that were read of them."""

    chunks: Callable[[], AsyncIterator[bytes]]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    sent: int = 0
    is_closed: bool = False

    def __call__(self, _: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(self.status, headers=self.headers, stream=_Body(self))

    def client(self, **options: Any) -> Client:
        return Client(ACCESS, SECRET, transport=httpx.MockTransport(self), now=lambda: NOW, **options)


@dataclass
class _Body(httpx.AsyncByteStream):
    service: Streaming

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.service.chunks():
            self.service.sent += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.service.is_closed = True


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * MIB


async def dripping() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(0.001)


def once(content: bytes, size: int = 65_536) -> Callable[[], AsyncIterator[bytes]]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    return chunks


# Bytes


@pytest.mark.parametrize("status", [200, 429])
async def test_an_endless_body_is_read_up_to_the_limit_and_not_asked_for_again(status):
    service = Streaming(endless, status)

    with pytest.raises(errors.ServiceBroken) as caught:
        await service.client().get_job("J")

    assert str(caught.value) == LARGE + ASK
    assert caught.value.status == status
    assert service.sent == MOST_BYTES + MIB
    assert service.requests == 1
    assert service.is_closed


async def test_the_body_of_a_refused_clock_is_read_up_to_the_limit():
    service = Streaming(endless, 401, {"date": "Thu, 20 Mar 2025 20:00:00 GMT"})

    with pytest.raises(errors.ServiceBroken, match="larger than 64 MiB"):
        await service.client().get_job("J")

    assert service.sent == MOST_BYTES + MIB


@pytest.mark.parametrize("status", [200, 400])
async def test_an_endless_answer_to_a_start_leaves_its_outcome_unknown(status):
    service = Streaming(endless, status)

    with pytest.raises(errors.OutcomeUnknown) as caught:
        await service.client().execute_job("J", CONDITION)

    assert f"was lost ({LARGE})" in str(caught.value)
    assert service.requests == 1


@pytest.mark.parametrize("coding", ["GZIP", "deflate"])
async def test_a_packed_body_is_bounded_by_what_it_unpacks_to(coding):
    packer = zlib.compressobj(wbits=15 if coding == "deflate" else 31)
    bomb = b"".join([*(packer.compress(b" " * MIB) for _ in range(100)), packer.flush()])
    service = Streaming(once(bomb, 4096), headers={"content-encoding": coding})

    with pytest.raises(errors.ServiceBroken, match="larger than 64 MiB"):
        await service.client().get_job("J")

    assert service.sent < len(bomb) * 65 / 100 + 4096


async def test_a_body_that_is_packed_twice_is_not_unpacked_twice():
    twice = gzip.compress(gzip.compress(json.dumps(JOB).encode()))
    service = Streaming(once(twice), headers={"content-encoding": "gzip, gzip"})

    with pytest.raises(errors.ServiceBroken, match="something that is not a Job"):
        await service.client().get_job("J")


@pytest.mark.parametrize("size", [1, 7, 65_536])
@pytest.mark.parametrize("coding", ["", "identity", "gzip"])
async def test_a_body_in_pieces_is_read_whole(coding, size):
    content = json.dumps({**JOB, "note": "매출" * 50}).encode()
    body = gzip.compress(content) if coding == "gzip" else content
    service = Streaming(once(body, size), headers={"content-encoding": coding} if coding else {})

    assert (await service.client().get_job("J")).to_wire()["note"] == "매출" * 50


# Time


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda c: c.get_job("J"), errors.ServiceBroken),
        (lambda c: c.execute_job("J", CONDITION), errors.OutcomeUnknown),
    ],
    ids=["read", "start"],
)
async def test_a_body_that_drips_is_read_for_a_limited_time(call, kind):
    service = Streaming(dripping)
    client = service.client(timeout=-6.6)  # 20 s for a connection and three timeouts are 0.2 s

    with pytest.raises(kind, match=r"the response did not end within 0\.2 s, the limit"):
        async with asyncio.timeout(10):
            await call(client)

    assert service.requests == 1
    assert service.is_closed


# Items, values, nesting


def page(count: int) -> bytes:
    return json.dumps({"list": [RUN] * count}).encode()


async def test_a_page_may_have_ten_thousand_items():
    service = Streaming(once(page(10_000)))

    assert len((await service.client().list_executions("J")).items) == 10_000


async def test_a_page_may_have_as_many_items_as_were_asked_for():
    service = Streaming(once(page(10_001)))

    assert len((await service.client().list_executions("J", limit=10_001)).items) == 10_001


@pytest.mark.parametrize(
    "read",
    [
        lambda c: c.list_executions("J"),
        lambda c: c.list_jobs(),
        lambda c: anext(c.deltas("J", {})),
        lambda c: anext(c.deltas("J", {RUN["jobExecutionId"]: None})),
    ],
    ids=["runs", "jobs", "deltas of none", "deltas of one run"],
)
async def test_a_page_with_more_items_is_refused(read):
    service = Streaming(once(page(10_001)))

    with pytest.raises(errors.ServiceBroken, match="the page has more than 10,000 items, the limit"):
        await read(service.client())


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[]," * 600_000 + b"[]]", b"[" + b"1," * 1_000_001 + b"1]", b'{"list": [' + b"{}," * 600_000 + b"{}]}"],
    ids=["lists", "numbers", "objects"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda c: c.list_executions("J"), errors.ServiceBroken),
        (lambda c: c.execute_job("J", CONDITION), errors.OutcomeUnknown),
    ],
    ids=["page", "start"],
)
async def test_a_body_of_too_many_values_is_not_parsed(call, kind, body):
    with pytest.raises(kind, match="the response has more than 1,000,000 values, the limit"):
        await call(Streaming(once(body)).client())


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda c: c.get_execution("J", "R"), errors.ServiceBroken),
        (lambda c: anext(c.deltas("J", {"r": None})), errors.ServiceBroken),
        (lambda c: c.execute_job("J", CONDITION), errors.OutcomeUnknown),
    ],
    ids=["run", "deltas", "start"],
)
async def test_a_body_that_nests_too_deep_is_not_parsed(call, kind):
    body = json.dumps({**RUN, "x": 1}).replace("1}", "[" * 64 + "]" * 64 + "}").encode()

    with pytest.raises(kind, match="the response nests deeper than 64 levels, the limit"):
        await call(Streaming(once(body)).client())


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


TEXT = st.text(st.sampled_from('[]{}",\\:a'), max_size=6)


@given(
    st.recursive(
        st.none() | st.integers(0, 9) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=12,
    ),
    st.lists(st.booleans() | TEXT, min_size=58, max_size=66),
)
def test_nesting_is_counted_whatever_texts_stand_between(value, shells):
    for shell in shells:
        value = {shell: value, "]": shell} if isinstance(shell, str) else ["[", value, "]"]
    content = json.dumps(value).encode()

    if depth(value) > MOST_NESTING:
        with pytest.raises(OverBound, match="nests deeper than 64"):
            read_json(content)
    else:
        assert read_json(content) == value


@pytest.mark.parametrize("content", [b"[" * 100_000, b"]" * 100_000, b'"' * 100_001, b"[}" * 100, b'{"a'])
def test_unbalanced_text_is_no_json_and_takes_no_time(content):
    with pytest.raises((ValueError, RecursionError)) as caught:
        read_json(content)

    assert caught.type is not OverBound


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_between_systems_is_utf_8(encoding):
    with pytest.raises(UnicodeDecodeError):
        read_json('{"매출": "\\ud800"}'.encode(encoding))


def test_a_limit_below_the_most_items_is_no_limit_of_the_page():
    check_items(10_000, 1)

    with pytest.raises(OverBound):
        check_items(10_001, 1)
