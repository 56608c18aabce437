"""A run as a row: on disk and as a DataFrame. Knows no live run and no service."""
