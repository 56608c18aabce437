"""Spark processes: Java, JVMs, scripts, event logs, the catalog. Knows no HTTP and no database."""
