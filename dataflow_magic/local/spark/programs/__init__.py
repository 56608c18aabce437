"""Programs that run inside Spark's own processes. They import nothing of this package."""
