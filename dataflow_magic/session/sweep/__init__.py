"""Sweeps: many runs of one cell. `handle` has the live handle, `sending` starts the runs."""
