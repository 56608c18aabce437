"""What this user and machine set: the target, the keys, the folders. Reads one file; knows no service and no run."""
