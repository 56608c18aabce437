"""The service's object storage: buckets as plain folders, and the sample jobs. Knows no HTTP and no Spark."""
