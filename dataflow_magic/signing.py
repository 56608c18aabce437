"""Signs and verifies by API Gateway signature v2. Pure: knows no clock, no network and no encoding of targets.

Source: the contract of every Data Flow call, ``api.ncloud-docs.com/docs/common-ncpapi`` (read 2026-11): the string
``METHOD SP TARGET LF TIMESTAMP LF ACCESS_KEY``, HMAC-SHA256 with the secret key, base64. The page prints no numeric
example; the vectors in ``tests/test_signing.py`` were computed without this module.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

__all__ = [
    "ACCESS_KEY_HEADER",
    "MAX_SKEW_MS",
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "key_fault",
    "sign",
    "verify",
]

TIMESTAMP_HEADER = "x-ncp-apigw-timestamp"
ACCESS_KEY_HEADER = "x-ncp-iam-access-key"
SIGNATURE_HEADER = "x-ncp-apigw-signature-v2"

MAX_SKEW_MS = 300_000
"""The gateway refuses a timestamp further than this from its clock (common-ncpapi: five minutes)."""


QUOTES = frozenset("\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb")


def key_fault(key: str) -> str:
    """Return what a key holds that no key has, in words without the key; empty where it has nothing of the kind.

    The vendor's keys are letters and digits. Blanks and quotes come from copying and from files that quote values; a
    header can carry no control character and nothing beyond ASCII.
    """
    if any(map(str.isspace, key)):
        return "a blank"
    if not QUOTES.isdisjoint(key):
        return "a quotation mark"
    return "" if key.isascii() and key.isprintable() else "a character that no key has"


def sign(method: str, target: bytes, timestamp_ms: int, access_key: str, secret_key: str) -> str:
    """Return the value of the signature header.

    Parameters
    ----------
    method
        HTTP method; sent and signed in upper case.
    target
        The request target exactly as it is sent: ``/api/v1/...`` with its query and percent-escapes.
    timestamp_ms
        Milliseconds since the epoch, the same number as in the timestamp header.

    Returns
    -------
    str
        44 characters of standard base64, padding included.
    """
    message = b"".join(
        [method.upper().encode(), b" ", target, b"\n", str(timestamp_ms).encode(), b"\n", access_key.encode()]
    )
    return base64.b64encode(hmac.digest(secret_key.encode(), message, hashlib.sha256)).decode()


def verify(
    signature: str, method: str, target: bytes, timestamp_ms: int, access_key: str, secret_key: str
) -> bool:
    """Return whether ``signature`` equals the result of `sign`, compared in constant time."""
    expected = sign(method, target, timestamp_ms, access_key, secret_key)
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
