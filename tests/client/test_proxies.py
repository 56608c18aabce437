import ipaddress

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataflow_magic.client.proxies import proxy_of

CLOUD = "https://dataflow.apigw.ntruss.com"
PROXY = "http://proxy.test:3128"
LABELS = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9]", fullmatch=True)


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ({}, None),
        ({"https": PROXY}, PROXY),
        ({"https": "proxy.test:3128"}, PROXY),
        ({"http": PROXY}, None),
        ({"all": PROXY}, PROXY),
        ({"https": PROXY, "all": "http://other.test"}, PROXY),
        ({"https": "", "all": PROXY}, PROXY),
        ({"https": PROXY, "no": ""}, PROXY),
        ({"https": PROXY, "no": "*"}, None),
        ({"https": PROXY, "no": "localhost, .ntruss.com"}, None),
        ({"https": PROXY, "no": "localhost .NTRUSS.com"}, None),
        ({"https": PROXY, "no": "*.apigw.ntruss.com"}, None),
        ({"https": PROXY, "no": "dataflow.apigw.ntruss.com:443"}, None),
        ({"https": PROXY, "no": "dataflow.apigw.ntruss.com:8443"}, PROXY),
        ({"https": PROXY, "no": "https://dataflow.apigw.ntruss.com/"}, None),
        ({"https": PROXY, "no": "truss.com,apigw,10.0.0.0/8"}, PROXY),
    ],
)
def test_the_proxy_of_the_scheme_is_used_unless_an_exception_covers_the_host(proxies, expected):
    assert proxy_of(CLOUD, proxies) == expected


@given(st.lists(st.text() | st.from_regex(r"[\[\]:./*%0-9a-f]{0,20}", fullmatch=True)).map(",".join))
def test_no_entry_of_no_proxy_keeps_the_service_out_of_reach(entries):
    assume("*" not in entries)
    proxy = proxy_of("https://service.invalid", {"https": PROXY, "no": entries})

    assert proxy in {PROXY, None}
    httpx.AsyncClient(proxy=proxy, trust_env=False, verify=False)  # noqa: S501 - sends nothing
    if "invalid" not in entries:
        assert proxy == PROXY


@given(st.ip_addresses(), st.data(), st.sampled_from([80, 8080]))
def test_an_address_and_a_network_around_it_are_exceptions_in_every_spelling(address, data, port):
    bits = data.draw(st.integers(1, address.max_prefixlen))
    network = ipaddress.ip_network((address, bits), strict=False)
    host = f"[{address}]" if address.version == 6 else str(address)
    entry = data.draw(st.sampled_from([str(address), host, f"{host}:{port}", str(network)]))
    endpoint = f"http://{host}:{port}"

    assert proxy_of(endpoint, {"http": PROXY, "no": f"x.test, {entry}"}) is None
    assert proxy_of(endpoint, {"http": PROXY, "no": f"{host}:{port + 1}"}) == PROXY
    other = ipaddress.ip_network((int(address) ^ (1 << (address.max_prefixlen - 1)), 1), strict=False)
    assert proxy_of(endpoint, {"http": PROXY, "no": str(other)}) == PROXY


@given(LABELS, st.lists(LABELS, min_size=1, max_size=3), LABELS)
def test_a_domain_covers_itself_and_what_is_below_it_and_nothing_else(sub, labels, other):
    domain = ".".join([*labels, "test"])
    for entry in (domain, f".{domain}", f"*.{domain}", domain.upper()):
        assert proxy_of(f"https://{domain}", {"all": PROXY, "no": entry}) is None
        assert proxy_of(f"https://{sub}.{domain}", {"all": PROXY, "no": entry}) is None
        assert proxy_of(f"https://{other}{domain}", {"all": PROXY, "no": entry}) == PROXY
        assert proxy_of("https://test", {"all": PROXY, "no": entry}) == PROXY
