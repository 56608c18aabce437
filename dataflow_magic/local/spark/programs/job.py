"""Run one Python script as the real ``__main__``: the program of a run's script process. Imports nothing of ours.

Started by file path, ``python -P job.py SCRIPT [ARGUMENT ...]``: ``-P`` because the modules beside this file would
otherwise come before the standard library's and the script's.
"""

from __future__ import annotations

import marshal
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

LIFELINE = "DATAFLOW_MAGIC_LIFELINE"
"""Names the descriptor of a pipe which only the local service holds open; absent when run by hand."""

LAST_WORDS = "DATAFLOW_MAGIC_LAST_WORDS"
"""Names the file that gets what ended the script when nobody caught it: the log may show others that were caught."""

LAST_WORDS_LENGTH = 500

CODE = "DATAFLOW_MAGIC_CODE"
"""Names the file with the compiled script when parameters were put into it; absent or empty: the script's text runs."""


def main(arguments: list[str]) -> int:
    """Run the script and return its exit code; its own ``SystemExit`` passes through."""
    if lifeline := os.environ.pop(LIFELINE, ""):
        _die_with_the_service(int(lifeline))
    last_words = os.environ.pop(LAST_WORDS, "")
    filled = os.environ.pop(CODE, "")
    script = arguments[0]
    sys.argv = arguments
    sys.path.insert(0, str(Path(script).parent))
    module = ModuleType("__main__")
    module.__file__ = script
    # Under this name cloudpickle sends the script's functions to the workers by value: they cannot import them.
    sys.modules["__main__"] = module
    try:
        exec(_code_of(script, filled), module.__dict__)  # noqa: S102
    except SystemExit as error:
        if isinstance(error.code, str):
            _tell(last_words, error.code)
        raise
    except BaseException as error:  # noqa: BLE001  whatever a script raises, Python would report it so
        said = traceback.format_exception_only(
            error
        )  # of a syntax error the place comes first, of others notes last
        _tell(last_words, said[-1] if isinstance(error, SyntaxError) else said[0])
        error.__traceback__ = _from_the_script_on(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _code_of(script: str, filled: str) -> CodeType:
    if filled:
        code: CodeType = marshal.loads(Path(filled).read_bytes())  # noqa: S302 - made by the service for this run
        return code
    return compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)


def _tell(file: str, words: str) -> None:
    if file:
        line = " ".join(words.split())[:LAST_WORDS_LENGTH]
        Path(file).write_text(line, encoding="utf-8", errors="backslashreplace")


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


def _from_the_script_on(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
