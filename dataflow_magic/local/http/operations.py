"""One operation of the service's API, as both its route and its OpenAPI document need it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address.

    Parameters
    ----------
    method, path
        Of the request; the path has its parameters in braces.
    name
        The vendor's name where the operation is the vendor's.
    handler
        Method of `Handlers`. It gets the request, then by name what path and body give: ``job`` or ``run``, ``body``.
        It runs on a thread and returns a value of the type `response`.
    response, body
        Types pydantic can describe; without a body None.
    body_required
        Whether an empty body is an error; else it counts as ``{}``.
    query
        JSON schema of each query parameter.
    signed
        Whether the gateway asks for a signature.
    has_quota
        Whether the gateway's 429 is possible.
    """

    method: str
    path: str
    name: str
    handler: Callable[..., Any]
    response: Any
    body: Any = None
    body_required: bool = True
    query: Mapping[str, Any] = field(default_factory=dict)
    signed: bool = True
    has_quota: bool = False
