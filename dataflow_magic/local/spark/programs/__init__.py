"""Programs that run in the script's process. They import nothing from this package."""
