"""A run's logs: where they lie, and their lines as they come."""
