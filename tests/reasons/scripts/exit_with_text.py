import sys

sys.exit("no rows for 2026-11-09: run the load first")
