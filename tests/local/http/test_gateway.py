"""Which requests the gateway takes by their Host header."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.local.http.faults import Faults
from dataflow_magic.local.http.gateway import Gateway, cut, names_this_service
from dataflow_magic.local.keys import Keys

LOOPBACK_HOSTS = st.one_of(
    st.sampled_from(["localhost", "LOCALHOST", "LocalHost", "[::1]", "[0:0:0:0:0:0:0:1]"]),
    st.integers(0, 2**24 - 1).map(lambda n: f"127.{n >> 16}.{n >> 8 & 255}.{n & 255}"),
)
PORTS = st.one_of(st.just(""), st.integers(0, 65535).map(":{}".format))
LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


def scope(*hosts: str, server: tuple[str, int] | None = ("192.168.7.5", 8970)) -> dict[str, Any]:
    return {"headers": [(b"host", host.encode()) for host in hosts], "server": server}


@given(LOOPBACK_HOSTS, PORTS)
def test_a_loopback_name_with_any_port_is_answered(host, port):
    assert names_this_service(scope(host + port))


@given(NAMES, PORTS)
def test_any_other_name_is_refused(name, port):
    assert names_this_service(scope(name + port)) == (name == "localhost")


@given(NAMES, LOOPBACK_HOSTS, PORTS)
def test_a_loopback_name_inside_another_is_refused(name, host, port):
    for wrong in (
        f"{host}.{name}.x",
        f"{name}@{host}",
        f"{host}@{name}",
        f"{host}.",
        f"{host}/",
        f"{host}:",
        f" {host}",
    ):
        assert not names_this_service(scope(wrong + port))


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8970",
        "localhost:65536",
        "localhost:-1",
        "localhost:80:80",
        "localhost:\u0663",
        "127.1",
        "127.0.0.01",
        "0x7f.0.0.1",
        "2130706433",
        "128.0.0.1",
        "0.0.0.0:8970",
        "::1",
        "[::1",
        "[::1%lo]",
        "[::1%25lo]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "localhost,evil.example",
        "localhost evil.example",
        "192.168.7.6:8970",
        "192.168.7.5:8971",
        "192.168.7.5",
    ],
)
def test_a_host_that_is_no_address_of_the_service_is_refused(host):
    assert not names_this_service(scope(host))


def test_no_host_and_several_hosts_are_refused():
    assert not names_this_service(scope())
    assert not names_this_service(scope("localhost", "localhost"))
    assert not names_this_service(scope("localhost", "evil.example"))


def test_the_address_and_port_that_took_the_request_are_answered():
    assert names_this_service(scope("192.168.7.5:8970"))
    assert names_this_service(scope("192.168.7.5", server=("192.168.7.5", 80)))
    assert names_this_service(scope("[2001:db8::5]:8970", server=("2001:db8::5", 8970)))
    assert not names_this_service(scope("192.168.7.5:8970", server=None))


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/local/v1/health", "/api/v1/jobs", "/nowhere"])
async def test_a_wrong_host_is_the_gateway_s_403_before_the_application(path):
    reached = []

    async def app(*_: object) -> None:
        reached.append(path)

    gateway = Gateway(app, Keys("a", "s"), lambda: 0.0, Faults(), cut)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway)) as http:
        response = await http.get(f"http://127.0.0.1{path}", headers={"host": "evil.example"})

    assert (response.status_code, response.json()) == (
        403,
        {
            "error": {
                "errorCode": "210",
                "message": "Permission Denied",
                "details": "The Host header names no address of this service.",
            }
        },
    )
    assert reached == []
