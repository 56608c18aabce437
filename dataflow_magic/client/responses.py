"""Turns a response into an error, and its ``Date`` into the offset of the clock. Pure: sends nothing.

The vendor sends errors in two documented shapes and some observed ones, so the body decides, not the status alone:
the gateway's ``{"error": {"errorCode", "message", "details"}}`` (``api-gov.ncloud-docs.com/docs/api-call-lgc-errorhandling``,
read 2026-11) and the service's ``{"detail", "errorType"}`` (the vendor's own Cloud Functions sample,
``NaverCloudPlatform/cloud-functions``, execute-workflow).
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from dataflow_magic import errors
from dataflow_magic.client.bounds import MOST_RETRY_AFTER, read_json
from dataflow_magic.signing import MAX_SKEW_MS

__all__ = ["clock_offset", "clock_words", "is_refusal", "raise_for", "vendor_error"]

MOST_WORDS = 200
"""Characters of the vendor's words in a message."""
MOST_TEXT = 10_000
"""Characters of a body in which those words are looked for."""
REFUSALS = {
    400: "the service's checks of a request, before it does anything",
    401: "the gateway's check of the signature, before the service",
    403: "the check of the key's rights",
    404: "no such address at the gateway, or no such job",
    413: "the gateway's limit of a body, before the service",
}
"""The statuses by which the vendor's pages refuse a request, and what refuses it; each leaves the request undone."""
REFUSAL_CODES = frozenset({"bad-parameter", "bad-state", "not-found"})
"""The service's own words for a refusal, whatever 4xx carries them."""
RATE_CODES = frozenset({"400", "410", "420"})
"""The gateway's codes for a request over its quota or rate, which it refuses before the service has it. Any other 429 is of
something else on the way, such as a proxy that may have passed the request on and counted afterwards."""


def raise_for(response: httpx.Response, now: float) -> NoReturn:
    """Raise the error of a response that is not a success.

    Parameters
    ----------
    now
        The clock that signed, in seconds since the epoch: it distinguishes a wrong clock from a wrong key.
    """
    code, words = vendor_error(response)
    status = response.status_code
    said = f": {words}" if words else ""
    retry_after = _retry_after(response)
    if status == 429:
        raise errors.TooManyRequests(
            f"too many requests (429{said})", status=status, code=code, detail=words, retry_after=retry_after
        )
    if status >= 500:
        raise errors.ServiceBroken(
            f"the service failed ({status}{said})", status=status, retry_after=retry_after
        )
    kind, message = _refusal(status, code, said, response, now)
    raise kind(message, status=status, code=code, detail=words)


def is_refusal(status: int, code: str = "") -> bool:
    """Return whether a response certainly means that the service did not carry out the request.

    =============  ======================================================================================
    status         meaning for a start
    =============  ======================================================================================
    2xx            carried out; where the body does not describe the run, its outcome is unknown
    3xx            unknown: of something between, before or after the service had the request
    `REFUSALS`     refused
    429            refused with one of `RATE_CODES`; else unknown
    another 4xx    refused with one of `REFUSAL_CODES`; else unknown, such as a 408 of a proxy or a 409
    5xx, others    unknown: the service or what is before it failed, perhaps after the run was created
    =============  ======================================================================================

    Parameters
    ----------
    code
        The vendor's code in the body, as `vendor_error` returns it.
    """
    if status == 429:
        return code in RATE_CODES | REFUSAL_CODES
    return status in REFUSALS or (400 <= status < 500 and code in REFUSAL_CODES)


def _refusal(
    status: int, code: str, said: str, response: httpx.Response, now: float
) -> tuple[type[errors.RequestRejected], str]:
    if code == "210" or status == 403:
        return errors.NotAllowed, f"not allowed ({status}{said}); the key lacks the permission"
    if status == 401:
        skew = _skew_seconds(response, now)
        if skew is None:  # the service does not say what time it has
            reason = "; check the access key, the secret key and this machine's clock"
        elif abs(skew) * 1000 > MAX_SKEW_MS:
            reason = f": {_clock_is(skew)}, and five minutes are allowed; set the clock"
        else:
            reason = "; check the access key and the secret key"
        return errors.NotSignedIn, f"signature refused ({status}{said}){reason}"
    if code == "bad-parameter":
        return errors.BadParameter, f"refused a value ({status} bad-parameter{said})"
    if code == "bad-state":
        return errors.BadState, f"not possible now ({status} bad-state{said})"
    if status == 404:
        if code in {"", "300"}:
            return errors.NotFound, f"no such address at the gateway ({status}{said})"
        return errors.NotFound, f"not found ({status}{said})"
    if 300 <= status < 400 and (host := _redirect_host(response)):
        return errors.RequestRejected, (
            f"redirected to {host} ({status}), and nothing was sent there; check the target's address and the sign-in of the network"
        )
    return errors.RequestRejected, f"refused ({status}{said})"


def _redirect_host(response: httpx.Response) -> str:
    try:
        host = urlsplit(response.headers.get("location", "")).hostname or ""
    except ValueError:
        return ""
    return _one_line(host)


def clock_offset(response: httpx.Response, sent: float, answered: float) -> float | None:
    """Return how many seconds the service's clock is ahead of this machine's, by the ``Date`` of a response.

    Parameters
    ----------
    sent, answered
        This machine's seconds since the epoch before the request and after its response. The service dates the response
        between the two, so their middle is compared.

    Returns
    -------
    float or None
        Exact to a second, the unit of the header, and half the request's time. None without the header, and for a response
        from a cache, which has an ``Age`` (RFC 9111, section 5.1).
    """
    served = _date(response.headers.get("date", ""))
    return None if served is None or "age" in response.headers else served + 0.5 - (sent + answered) / 2


def clock_words(offset: float) -> str:
    """Return a sentence about a clock that is off; empty for 0."""
    return f"{_clock_is(-offset)}; requests are signed with its time" if offset else ""


def vendor_error(response: httpx.Response) -> tuple[str, str]:
    """Return the vendor's code and words from a body of any shape and content type."""
    try:
        body = read_json(response.content)
    except (ValueError, RecursionError):
        return "", _one_line(re.sub(r"<[^>]*>", " ", _text(response)[:2000]))
    if not isinstance(body, dict):
        return "", _one_line(str(body))
    gateway = body.get("error")
    if isinstance(gateway, dict):
        return str(gateway.get("errorCode") or ""), _words(gateway.get("message"), gateway.get("details"))
    old = body.get("responseError")
    if isinstance(old, dict):
        return str(old.get("returnCode") or ""), _words(old.get("returnMessage"))
    code = body.get("errorType") or body.get("errorCode") or ""
    return str(code), _words(gateway, body.get("message"), body.get("detail"))


def _text(response: httpx.Response) -> str:
    try:
        return response.text
    except (ValueError, TypeError, AssertionError):
        # The response names a codec of Python that is not for text ("hex"), or one that does not fit its bytes.
        return response.content.decode(errors="replace")


def _words(*parts: object) -> str:
    return ". ".join(dict.fromkeys(_one_line(str(part)).rstrip(".") for part in parts if part))


def _one_line(text: str) -> str:
    return " ".join(text[:MOST_TEXT].split())[:MOST_WORDS]


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds to wait as the service asks, up to `MOST_RETRY_AFTER`; None for anything but seconds or a date."""
    text = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), MOST_RETRY_AFTER)
    date = _date(text)
    own = _date(response.headers.get("date", ""))
    return None if date is None or own is None else min(max(0.0, date - own), MOST_RETRY_AFTER)


def _skew_seconds(response: httpx.Response, now: float) -> float | None:
    served = _date(response.headers.get("date", ""))
    return None if served is None else now - served


def _date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        # Python reads a date without a zone in this machine's zone.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _clock_is(ahead: float) -> str:
    return (
        f"this machine's clock is {_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the service's"
    )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{round(seconds)} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
