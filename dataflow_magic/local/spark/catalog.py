"""The catalog of a local service: a Hive metastore, so that ``db.table`` names the same table in every run. Knows no run.

The metastore comes with PySpark's jars and keeps a Derby database in the data folder. It runs in a process that all runs
share: an embedded metastore serves only one JVM.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from dataflow_magic.local.spark.jvm import JvmGateway, NoSpark

__all__ = ["Catalog", "free_port", "serve_thrift"]

_METASTORE_START_SECONDS = 60.0
_CONNECT_RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Catalog:
    """The folders and settings of a catalog.

    Parameters
    ----------
    folder
        The data folder: ``warehouse`` holds the tables' files, ``metastore`` their names and schemas.
    """

    folder: Path

    @property
    def warehouse(self) -> Path:
        """The tables' files, one folder per database."""
        return self.folder / "warehouse"

    @property
    def metastore(self) -> Path:
        """The metastore's database and settings."""
        return self.folder / "metastore"

    @property
    def seeded(self) -> Path:
        """Exists once the sample table was made, so that a table the user dropped does not come back."""
        return self.metastore / "seeded"

    def settings(self, port: int) -> dict[str, str]:
        """Return the Spark settings of a run that uses the catalog at this port."""
        return {
            "spark.sql.catalogImplementation": "hive",
            "spark.hadoop.hive.metastore.uris": f"thrift://127.0.0.1:{port}",
            # A plain path: Spark does not decode this setting, and a URL's %20 would be part of the folder's name.
            "spark.sql.warehouse.dir": str(self.warehouse),
        }

    def properties(self) -> dict[str, str]:
        """Return the Java system properties of the metastore's process."""
        return {
            "javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={self.metastore / 'derby'};create=true",
            "hive.metastore.warehouse.dir": str(self.warehouse),
            "datanucleus.schema.autoCreateAll": "true",
            "hive.metastore.schema.verification": "false",
            # The default pool is not among PySpark's jars. The metastore needs it first when a database is dropped: its
            # thread ended, the client asked again, and the database was gone.
            "datanucleus.connectionPoolingType": "NONE",
            # The asynchronous log needs a library that PySpark does not bring.
            "hive.async.log.enabled": "false",
            "derby.stream.error.file": str(self.metastore / "derby.log"),
        }

    def prepare(self, hadoop: Mapping[str, str]) -> list[str]:
        """Write the Hadoop settings to a file, which the metastore requires; return the class path entries that lead to it.

        The metastore checks that a table's folder exists, so it must resolve ``s3a://``.
        """
        self.metastore.mkdir(parents=True, exist_ok=True)
        self.warehouse.mkdir(exist_ok=True)
        rows = "".join(
            f"<property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
            for name, value in hadoop.items()
        )
        site = self.metastore / "core-site.xml"
        site.write_text(f"<configuration>\n{rows}</configuration>\n", encoding="utf-8")
        return [str(self.metastore)]


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def serve_thrift(gateway: JvmGateway, port: int) -> None:
    """Serve the metastore from a JVM at a port of 127.0.0.1; return once it accepts connections.

    Raises
    ------
    NoSpark
        The JVM ended, or accepted no connection within a minute.
    """
    # Its main never returns, so a thread makes the call; the call fails when the JVM ends.
    threading.Thread(target=_call_main, args=(gateway, ["-p", str(port)]), daemon=True).start()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _METASTORE_START_SECONDS
    while loop.time() < deadline and gateway.is_alive:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(_CONNECT_RETRY_SECONDS)
    raise NoSpark("the catalog's metastore did not start")


def _call_main(gateway: JvmGateway, arguments: Sequence[str]) -> None:
    with suppress(Exception), gateway.client() as client:
        words = client.new_array(client.jvm.java.lang.String, len(arguments))
        for place, word in enumerate(arguments):
            words[place] = word
        client.jvm.org.apache.hadoop.hive.metastore.HiveMetaStore.main(words)
