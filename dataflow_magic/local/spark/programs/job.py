"""Runs a script as ``__main__``: the program of each run's script process. Imports nothing from this package.

Started by file path, ``python -P job.py SCRIPT [ARGUMENT ...]``. Without ``-P`` the modules beside this file would hide
those of the standard library and of the script.
"""

from __future__ import annotations

import faulthandler
import functools
import importlib.machinery
import marshal
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

LIFELINE = "DATAFLOW_MAGIC_LIFELINE"
"""Holds the descriptor of a pipe whose write end only the local service has; unset when run by hand."""

LAST_WORDS = "DATAFLOW_MAGIC_LAST_WORDS"
"""Holds the file that receives the uncaught error. The log alone may also show errors that the script caught."""

LAST_WORDS_LENGTH = 16_000
"""Of a longer error its two ends are kept: Spark's message begins with what failed and may end with its cause."""

COPY_SECONDS = 0.3
"""Before an error is printed: time for the service to copy to the log what the JVM printed about it first."""

STOP_POLL_SECONDS = 0.05

PANDAS_WARNING = "PySpark does not yet fully support pandas"

TOO_LATE = (
    "spark.driver.memory",
    "spark.driver.extraJavaOptions",
    "spark.driver.defaultJavaOptions",
    "spark.driver.extraClassPath",
    "spark.driver.extraLibraryPath",
    "spark.jars",
    "spark.jars.packages",
    "spark.submit.deployMode",
)
"""Settings without effect once the JVM runs, as in a script of spark-submit."""

CODE = "DATAFLOW_MAGIC_CODE"
"""Holds the file with the compiled script and its parameters; unset or empty when the script's text runs."""


def main(arguments: list[str]) -> int:
    """Run the script and return its exit code; its own ``SystemExit`` passes through."""
    if lifeline := os.environ.pop(LIFELINE, ""):
        _die_with_the_service(int(lifeline))
        faulthandler.enable(all_threads=False)
        faulthandler.register(
            signal.SIGTERM, all_threads=False, chain=True
        )  # shows where a timeout found the script
    last_words = os.environ.pop(LAST_WORDS, "")
    filled = os.environ.pop(CODE, "")
    script = arguments[0]
    sys.argv = arguments
    sys.path.insert(0, str(Path(script).parent))
    sys.meta_path.insert(0, _WhenSparkIsImported())
    module = ModuleType("__main__")
    module.__file__ = script
    # Under this name cloudpickle sends the script's functions to the workers by value: they cannot import them.
    sys.modules["__main__"] = module
    try:
        exec(_code_of(script, filled), module.__dict__)  # noqa: S102
    except SystemExit as error:
        if isinstance(error.code, str):
            _write(last_words, error.code)
        raise
    except BaseException as error:  # noqa: BLE001  Python reports every exception of a script
        _write(last_words, "".join(traceback.format_exception_only(error)))
        if last_words:
            time.sleep(COPY_SECONDS)
        error.__traceback__ = _from_the_script_on(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


class _WhenSparkIsImported:
    """Changes modules of PySpark when the script imports them. Spark is not imported for it.

    `_check` sees the settings of each Spark context before it starts. A context starts without pandas, and stops at once.

    Shows PySpark's warning about pandas 3 to scripts that use pandas on Spark, and once: the service hides it, because
    each common call of pandas repeats it.
    """

    def find_spec(self, name: str, path: Any, _: Any = None) -> Any:
        if name == "pyspark.pandas":
            warnings.filterwarnings("default", PANDAS_WARNING, FutureWarning, module=r"pyspark\.pandas$")
        change = _CHANGES.get(name)
        if change is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_change(module: ModuleType) -> None:
                execute(module)
                change(module)

            spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


def _spare_pandas(module: Any) -> None:
    """Let PySpark's converters of NumPy's values see other values without an import.

    To learn whether NumPy is installed, they import PySpark's test tools and with them pandas, which takes much longer than
    a warm JVM needs for a Spark context.
    """
    for kind in (module.NumpyScalarConverter, module.NumpyArrayConverter):
        kind.can_convert = _only_with_numpy(kind.can_convert)


def _stop_at_once(module: Any) -> None:
    """Let the server of accumulators notice its end soon: ``spark.stop()`` waits for it, and it looks every half second."""
    for kind in (module.AccumulatorTCPServer, module.AccumulatorUnixServer):
        kind.serve_forever = functools.partialmethod(kind.serve_forever, STOP_POLL_SECONDS)


def _only_with_numpy(can_convert: Any) -> Any:
    def can_convert_numpy(converter: Any, value: Any) -> bool:
        numpy = sys.modules.get("numpy")
        return (
            numpy is not None
            and isinstance(value, (numpy.generic, numpy.ndarray))
            and can_convert(converter, value)
        )

    return can_convert_numpy


def _check_contexts_of(module: Any) -> None:
    kind = module.SparkContext
    start = kind._initialize_context  # noqa: SLF001 - the one place where the settings are complete

    def check_and_start(context: Any, settings: Any) -> Any:
        _check(settings, context._jvm.java.lang.System)  # noqa: SLF001
        return start(context, settings)

    kind._initialize_context = check_and_start  # noqa: SLF001


class _CallSites:
    """Tells Spark which line of the script makes a job, so that its stages name that line.

    PySpark does so for RDDs and for ``collect``. For all else, such as ``count`` and ``write.parquet``, Spark finds no more than
    the Java line of its gateway.

    Called before a call goes to Java, and not around it: no traceback and no message of PySpark has a frame of this file.
    """

    def __init__(self, module: Any) -> None:
        member = module.JavaMember
        self._build = member._build_args  # noqa: SLF001
        self._local = threading.local()
        self._libraries = tuple(
            str(Path(module.__file__).parent.parent / name) for name in ("py4j", "pyspark")
        )
        member._build_args = lambda *call: self.before(*call)  # noqa: SLF001

    def before(self, member: Any, *arguments: Any) -> Any:
        """Set or take back the call site of the thread's next jobs, then prepare the call as py4j does."""
        local = self._local
        if not getattr(local, "is_busy", False):
            is_action = member.name in ACTIONS and not member.target_id.startswith("z:")
            if is_action or (getattr(local, "is_set", False) and member.name != "setCallSite"):
                local.is_busy = True
                try:
                    local.is_set = self._set(ACTIONS.get(member.name, "") if is_action else "")
                except Exception:  # noqa: BLE001 - it is a name for a reader; the call itself reports what is wrong
                    local.is_set = False
                finally:
                    local.is_busy = False
        return self._build(member, *arguments)

    def _set(self, action: str) -> bool:
        """Set the call site to the line of the script that runs now, or take it back; whether one is set."""
        spark = sys.modules.get("pyspark.core.context")
        context = spark and spark.SparkContext._active_spark_context  # noqa: SLF001
        if context is None or context._jsc is None:  # noqa: SLF001
            return False
        # Inside a call whose line PySpark has set.
        if sys.modules["pyspark.traceback_utils"].SCCallSiteSync._spark_stack_depth:  # noqa: SLF001
            return False
        place = self._place() if action else ""
        context._jsc.setCallSite(f"{action} at {place}" if place else None)  # noqa: SLF001
        return bool(place)

    def _place(self) -> str:
        """Return file and line of the innermost frame that is no library's."""
        frame = sys._getframe(1)  # noqa: SLF001
        while frame is not None:
            file = frame.f_code.co_filename
            if file != __file__ and not file.startswith(self._libraries) and "site-packages" not in file:
                return f"{file}:{frame.f_lineno}" if file.endswith(".py") else ""
            frame = frame.f_back  # type: ignore[assignment]
        return ""


ACTIONS = {
    **{name: name for name in ("count", "isEmpty", "fit", "sql", "checkpoint", "localCheckpoint")},
    **{name: name for name in ("csv", "jdbc", "json", "load", "orc", "parquet", "save", "text", "xml")},
    **{name: name for name in ("insertInto", "saveAsTable", "create", "createOrReplace", "replace")},
    **{name: name for name in ("append", "overwrite", "overwritePartitions")},
    "showString": "show",
}
"""Java's methods that make Spark jobs, as PySpark calls them -> the name of Python's method."""

_CHANGES = {
    "py4j.java_gateway": _CallSites,
    "pyspark.accumulators": _stop_at_once,
    "pyspark.core.context": _check_contexts_of,
    "pyspark.sql.types": _spare_pandas,
}
"""By the name of PySpark's module."""


def _check(settings: Any, system: Any) -> None:
    """Refuse another cluster than the service's, and report settings that come too late.

    Parameters
    ----------
    settings
        Java's SparkConf of the context that the script starts.
    system
        Java's System: its properties are the settings the service gave.

    Raises
    ------
    ValueError
        The script sets a master that is neither the service's nor this machine.
    """
    master, given = settings.get("spark.master"), system.getProperty("spark.master")
    if given and master != given and not master.startswith("local"):
        raise ValueError(
            f"the script sets the master {master}, which the local service decides: leave it out of the script, "
            f"or start the service with --master {master}"
        )
    names = settings.toDebugString()  # one question to the JVM, not one for each name
    late = [
        name
        for name in TOO_LATE
        if f"{name}=" in names and settings.contains(name) and settings.get(name) != system.getProperty(name)
    ]
    if late:
        sys.stderr.write(
            f"dataflow-magic: without effect, because the script's JVM runs already: {', '.join(late)}. "
            "Give them to the service: dataflow-magic local --memory, --jars or --conf\n"
        )


def _code_of(script: str, filled: str) -> CodeType:
    if filled:
        code: CodeType = marshal.loads(Path(filled).read_bytes())  # noqa: S302 - written by the service for this run
        return code
    return compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)


def _write(file: str, words: str) -> None:
    if file:
        words = words.rstrip("\n")
        half = LAST_WORDS_LENGTH // 2
        kept = words if len(words) <= LAST_WORDS_LENGTH else f"{words[:half]}\n…\n{words[-half:]}"
        Path(file).write_text(kept, encoding="utf-8", errors="backslashreplace")


def _die_with_the_service(lifeline: int) -> None:
    """Kill this process group when the service closes the pipe or dies.

    A thread, because it also runs while the script is in a Python loop. Not PDEATHSIG: it is Linux only, and follows
    the thread that started this process, not the service.
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
