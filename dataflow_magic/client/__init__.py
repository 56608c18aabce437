"""Requests out: typed, signed calls to one service, and its object storage. Knows no thread, no polling, no display."""

from dataflow_magic.client.auth import SignedAuth
from dataflow_magic.client.client import Client
from dataflow_magic.client.sending import Transport

__all__ = ["Client", "SignedAuth", "Transport"]
