"""The process that `attach` starts: it serves a data folder until nobody uses it, with the folder's own keys."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.launch import cache_folder
from dataflow_magic.local.machine import check_machine
from dataflow_magic.local.options import Options, contract_of
from dataflow_magic.local.server import GRACE_SECONDS, serve
from dataflow_magic.local.spark.runner import SparkRunner


def main(data: str) -> int:
    """Serve the folder and return the exit code: 0 when the service ended by itself, 3 when it could not start."""
    try:
        check_machine()
        folder = DataFolder(Path(data))
        runner = SparkRunner(folder, cache_folder(os.environ), Options.from_environment(os.environ))
        serve(
            folder,
            None,
            runner,
            contract=contract_of(os.environ),
            grace_seconds=GRACE_SECONDS,
        )
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
