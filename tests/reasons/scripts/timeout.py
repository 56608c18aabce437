# run: timeout=4
import time


def wait_for(rows):
    time.sleep(600 * rows)


wait_for(3)
