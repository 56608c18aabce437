import sys

print("loaded 3 of 4 tables")
sys.exit(3)
