"""What a JVM keeps from one script to the next: notes it before a run, and restores it after the run. Knows no run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dataflow_magic.local.spark.jvm import JvmGateway, NoSpark

__all__ = ["JvmState", "restore_state", "state_of", "thread_names", "unusual"]

THREADS_END_SECONDS = 5.0
"""In which the threads of a Spark context end after it has stopped."""
THREADS_POLL_SECONDS = 0.05
MOST_GROWTH_BYTES = 32 << 20
"""Of the heap that is used after a collection, over all runs of a JVM: a later run has that much less."""

_THREAD = re.compile(r"Thread\[(?:#[0-9]+,)?(.*?),[0-9]+,[^,\[\]]*\]")
_USUAL_THREADS = re.compile(
    r"""
    main | Thread-[0-9]+                                    # py4j's, one for each connection
    | Reference\ Handler | Finalizer | Signal\ Dispatcher | Common-Cleaner | Cleaner-[0-9]+ | Notification\ Thread
    | Attach\ Listener | process\ reaper.* | DestroyJavaVM | Keep-Alive-.* | CompilerThread.*
    | InnocuousThread-[0-9]+                                  # only Java itself can make one
    | FinalizerThread | org\.apache\.hadoop\.fs\.FileSystem\$Statistics\$StatisticsDataReferenceCleaner
    | ForkJoinPool.* | (netty|Netty|threadDeathWatcher|globalEventExecutor).* | ObjectCleanerThread
    | dataflow-classes                                        # loads the classes of a first session
    | (broadcast-exchange|subquery|shuffle-exchange|QueryStageCreator|ResultQueryStageExecution|readingParquetFooters)-.*
    | (rpc|shuffle|files)-(boss|client|server)-[0-9]+-[0-9]+   # of the stopped context: they end by themselves, 2 s later
    | Idle\ Worker\ Monitor\ for\ .*                           # of Python's workers, which have ended
    """,
    re.VERBOSE,
)
"""Threads of Java and the pools that Spark keeps for the next context. Any other belongs to the script."""


@dataclass(frozen=True, slots=True)
class JvmState:
    """Settings that a script can change for its whole JVM.

    Parameters
    ----------
    properties
        The system properties, as Java writes them to a file.
    time_zone, locale
        Java's defaults.
    objects
        The names of the objects that py4j keeps for all scripts.
    used_bytes
        Of the heap, after the first run; 0 before it.
    """

    properties: str
    time_zone: str
    locale: str
    objects: tuple[str, ...]
    used_bytes: int = 0

    @classmethod
    def of(cls, client: Any) -> JvmState:
        """Return the state of the JVM that a py4j client is connected to. Blocks for some 10 ms."""
        java = client.jvm.java
        writer = java.io.StringWriter()
        java.lang.System.getProperties().store(writer, "")
        return cls(
            writer.toString(),
            java.util.TimeZone.getDefault().getID(),
            java.util.Locale.getDefault().toLanguageTag(),
            tuple(name for name in _names(_objects(client)) if not re.fullmatch("o[0-9]+", name)),
        )


def state_of(gateway: JvmGateway) -> JvmState:
    """Return the state of a JVM. Blocks for some 10 ms.

    Raises
    ------
    NoSpark
        The JVM has ended, or did not answer.
    """
    from py4j.protocol import Py4JError

    try:
        with gateway.client() as client:
            return JvmState.of(client)
    except (OSError, Py4JError) as error:
        raise NoSpark(f"the JVM did not show its settings ({type(error).__name__})") from None


def restore_state(gateway: JvmGateway, state: JvmState) -> tuple[str, int]:
    """Restore what the last script changed, and return why the JVM cannot take another script, and its heap's use.

    The reason is empty when the JVM can. Blocks for some 100 ms.

    Raises
    ------
    OSError, py4j.protocol.Py4JError
        The JVM has ended, or did not answer.
    """
    with gateway.client() as client:
        java, apache = client.jvm.java, client.jvm.org.apache
        if getattr(getattr(apache.spark, "SparkContext$"), "MODULE$").getActive().isDefined():
            return "its Spark context is active", 0
        apache.hadoop.fs.FileSystem.closeAll()  # the settings of a file system are those of its first use
        getattr(getattr(apache.spark.util, "Utils$"), "MODULE$").clearLocalRootDirs()
        properties = java.util.Properties()
        properties.load(java.io.StringReader(state.properties))
        java.lang.System.setProperties(properties)
        java.util.TimeZone.setDefault(java.util.TimeZone.getTimeZone(state.time_zone))
        java.util.Locale.setDefault(java.util.Locale.forLanguageTag(state.locale))
        apache.logging.log4j.core.config.Configurator.reconfigure()
        if left := _threads_left(java.lang.Thread):
            return f"threads are left: {', '.join(left)}", 0
        kept = java.util.HashSet()
        for name in state.objects:
            kept.add(name)
        _objects(client).keySet().retainAll(kept)  # what the last script held; ours too
    with gateway.client() as client:
        runtime = client.jvm.java.lang.Runtime.getRuntime()
        runtime.gc()
        used = runtime.totalMemory() - runtime.freeMemory()
    if state.used_bytes and used > state.used_bytes + MOST_GROWTH_BYTES:
        return f"its heap has grown by {(used - state.used_bytes) >> 20} MB", used
    return "", used


def thread_names(text: str) -> list[str]:
    """Return the names of the threads in a set of threads, as Java prints it."""
    return _THREAD.findall(text)


def unusual(names: Iterable[str]) -> list[str]:
    """Return the names of threads that a script has left, sorted."""
    return sorted({name for name in names if not _USUAL_THREADS.fullmatch(name)})


def _threads_left(thread: Any) -> list[str]:
    deadline = time.monotonic() + THREADS_END_SECONDS
    while True:
        threads = thread.getAllStackTraces().keySet()
        names = thread_names(threads.toString())
        left = unusual(names)
        if len(names) != threads.size():
            left.append("one that does not print its name")
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(THREADS_POLL_SECONDS)


def _objects(client: Any) -> Any:
    from py4j.java_gateway import JavaObject

    return JavaObject("GATEWAY_SERVER", client._gateway_client).getGateway().getBindings()  # noqa: SLF001 - py4j's own way


def _names(objects: Any) -> list[str]:
    return [name for name in objects.keySet().toString()[1:-1].split(", ") if name]
