"""Time and memory that ``%load_ext`` adds to an empty IPython shell, beside two peers measured in the same run.

Each sample is a fresh process. The cases take turns, so that a change of the machine's speed affects all alike; the first
round warms the file cache and does not count. A peer that cannot load is a row that says so. Prints medians and the ratio
to ours; judges nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 11
CASES = {
    "empty shell": "",
    "dataflow_magic": "dataflow_magic",
    "jupysql (sql)": "sql",
    "bigquery_magics": "bigquery_magics",
}
PROGRAM = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
if sys.argv[1]:
    shell.run_line_magic("load_ext", sys.argv[1])
"""


class CannotLoadError(Exception):
    """The extension raised; the message ends with its own."""


def sample(extension: str) -> tuple[float, float]:
    """Return milliseconds and megabytes (peak resident) of one fresh process."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, extension], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None  # noqa: S101 - asked for above
    words = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CannotLoadError((words.strip() or "no message").splitlines()[-1])
    scale = 1 if sys.platform == "darwin" else 1024
    return (time.perf_counter() - begin) * 1000, usage.ru_maxrss * scale / 1e6


def measure() -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Return the medians of each case that loads, and why the others do not."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    failed: dict[str, str] = {}
    for number in range(ROUNDS + 1):
        for name in [each for each in CASES if each not in failed]:
            try:
                taken = sample(CASES[name])
            except CannotLoadError as error:
                failed[name] = str(error)
                continue
            if number:
                samples[name].append(taken)
    medians = {
        name: (statistics.median(ms for ms, _ in taken), statistics.median(mb for _, mb in taken))
        for name, taken in samples.items()
        if name not in failed
    }
    return medians, failed


def main() -> None:
    """Measure and print the table."""
    medians, failed = measure()
    for name in "empty shell", "dataflow_magic":
        if name in failed:
            sys.exit(f"{name} failed: {failed[name]}")
    empty, ours = medians["empty shell"], medians["dataflow_magic"]
    print(f"Python {sys.version.split()[0]}, {ROUNDS} rounds, medians; 'adds' is over the empty shell\n")
    print(f"{'case':<18}{'ms':>8}{'adds ms':>10}{'MB':>8}{'adds MB':>10}{'adds, to ours':>16}")
    for name, (milliseconds, megabytes) in medians.items():
        more_ms, more_mb = milliseconds - empty[0], megabytes - empty[1]
        ratio = "" if name == "empty shell" else f"{more_ms / max(ours[0] - empty[0], 0.1):.0f}x"
        print(f"{name:<18}{milliseconds:>8.0f}{more_ms:>10.0f}{megabytes:>8.1f}{more_mb:>10.1f}{ratio:>16}")
    for name, reason in failed.items():
        print(f"{name:<18}cannot be loaded: {reason}")


if __name__ == "__main__":
    main()
