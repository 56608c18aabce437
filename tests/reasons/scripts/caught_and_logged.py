import logging
import sys

logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
try:
    month = int("13th")
except ValueError:
    logging.exception("the month cannot be read")
    sys.exit(1)
