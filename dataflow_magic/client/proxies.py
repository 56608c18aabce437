"""Which proxy of the environment leads to a service. Pure.

httpx reads the variables too, and refuses to be made for an entry of ``NO_PROXY`` that it cannot read, such as ``[::1]`` or
``fd00::/8``: the service would be out of reach. Its client serves any address; ours serves one, so one answer is enough.

Source for ``NO_PROXY``: curl's manual, and Go's ``golang.org/x/net/http/httpproxy``, which adds networks and ports.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["proxy_of"]

PORTS = {"http": 80, "https": 443}


def proxy_of(endpoint: str, proxies: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for an address; None where it is reached directly.

    Parameters
    ----------
    endpoint
        With a scheme and a host.
    proxies
        As `urllib.request.getproxies` returns them: by scheme, by ``all``, and the exceptions by ``no``.
    """
    parts = urlsplit(endpoint)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    host, port = (parts.hostname or "").rstrip("."), parts.port or PORTS.get(parts.scheme)
    if not proxy or any(_covers(entry, host, port) for entry in re.split(r"[,\s]+", proxies.get("no", ""))):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of ``NO_PROXY`` covers an address; an entry that names nothing covers nothing."""
    entry = entry.strip().lower().rpartition("://")[2].rstrip("/")
    if entry == "*":
        return True
    name, _, digits = entry.rpartition(":")
    # A colon of an IPv6 address separates no port unless the address is in brackets.
    if digits.isdecimal() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(entry, strict=False)
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:  # a name: only the proxy or DNS knows its address
            return False
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
