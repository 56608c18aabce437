import sys

try:
    month = int("13th")
except ValueError as error:
    print(f"ERROR: bad month: {error}")
    print("bye")
    sys.exit(2)
