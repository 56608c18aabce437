"""The catalog of a local service: a Hive metastore of its own, so that ``db.table`` means the same in every run. Knows no run.

The metastore is the one among PySpark's jars, over a Derby database in the data folder. One process holds it and all runs ask
that, since an embedded one takes a single JVM.
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
    """Where a catalog is kept.

    Parameters
    ----------
    folder
        The data folder; tables lie in its ``warehouse``, what is known of them in its ``metastore``.
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
        """Exists when the sample table was made, so that one somebody dropped does not come back."""
        return self.metastore / "seeded"

    def settings(self, port: int) -> dict[str, str]:
        """Return the Spark settings of a run that uses the catalog at this port."""
        return {
            "spark.sql.catalogImplementation": "hive",
            "spark.hadoop.hive.metastore.uris": f"thrift://127.0.0.1:{port}",
            # A plain path: Spark takes this one literally, and would make a folder named with the URL's %20.
            "spark.sql.warehouse.dir": str(self.warehouse),
        }

    def properties(self) -> dict[str, str]:
        """Return the Java system properties of the metastore's process."""
        return {
            "javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={self.metastore / 'derby'};create=true",
            "hive.metastore.warehouse.dir": str(self.warehouse),
            "datanucleus.schema.autoCreateAll": "true",
            "hive.metastore.schema.verification": "false",
            # Its asynchronous log wants a library PySpark does not bring.
            "hive.async.log.enabled": "false",
            "derby.stream.error.file": str(self.metastore / "derby.log"),
        }

    def prepare(self, hadoop: Mapping[str, str]) -> list[str]:
        """Write the Hadoop settings, which must be in a file; return what the class path needs to find it.

        The metastore looks whether a table's folder is there, so it has to know what ``s3a://`` means.
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
    """Have a JVM serve the metastore at a port of this machine; returns once it accepts connections.

    Raises
    ------
    NoSpark
        It ends, or does not accept any within a minute.
    """
    # Its main never returns, so the call is left to a thread; it breaks off when the JVM ends.
    threading.Thread(target=_call_main, args=(gateway, ["-p", str(port)]), daemon=True).start()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _METASTORE_START_SECONDS
    while loop.time() < deadline and gateway.is_alive:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(_CONNECT_RETRY_SECONDS)
    raise NoSpark("the catalog's metastore does not start")


def _call_main(gateway: JvmGateway, arguments: Sequence[str]) -> None:
    with suppress(Exception), gateway.client() as client:
        words = client.new_array(client.jvm.java.lang.String, len(arguments))
        for place, word in enumerate(arguments):
            words[place] = word
        client.jvm.org.apache.hadoop.hive.metastore.HiveMetaStore.main(words)
