"""Live runs: the one thread, its event loop, and all that runs on it. Knows no magic and no local service."""
