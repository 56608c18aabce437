"""The embedded local Data Flow service."""
