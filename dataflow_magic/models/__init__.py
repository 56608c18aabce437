"""Frozen values: wire types, requests, what is known of a run. Pure; imports nothing else of this package."""
