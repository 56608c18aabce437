"""Run one Python script as the real ``__main__``: the program of a run's script process. Imports nothing of ours.

Started by file path, ``python -P job.py SCRIPT [ARGUMENT ...]``: ``-P`` because the modules beside this file would
otherwise come before the standard library's and the script's.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType, TracebackType

LIFELINE = "DATAFLOW_MAGIC_LIFELINE"
"""Names the descriptor of a pipe which only the local service holds open; absent when run by hand."""


def main(arguments: list[str]) -> int:
    """Run the script and return its exit code; its own ``SystemExit`` passes through."""
    if lifeline := os.environ.pop(LIFELINE, ""):
        _die_with_the_service(int(lifeline))
    script = arguments[0]
    sys.argv = arguments
    sys.path.insert(0, str(Path(script).parent))
    module = ModuleType("__main__")
    module.__file__ = script
    # Under this name cloudpickle sends the script's functions to the workers by value: they cannot import them.
    sys.modules["__main__"] = module
    try:
        exec(compile(Path(script).read_bytes(), script, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  whatever a script raises, Python would report it so
        error.__traceback__ = _from_the_script_on(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _die_with_the_service(lifeline: int) -> None:
    """Kill this process group when the last writer of the pipe is gone, however it went.

    A thread, because a script in a pure Python loop notices nothing else; not PDEATHSIG, which is Linux only and
    follows the parent's thread, not the parent.
    """
    os.set_inheritable(lifeline, False)

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _from_the_script_on(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
