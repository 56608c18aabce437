import xml.etree.ElementTree as ET

import pytest

from dataflow_magic.local.spark.catalog import Catalog, serve_thrift
from dataflow_magic.local.spark.jvm import NoSpark


def test_runs_of_a_service_share_one_metastore_and_one_warehouse(tmp_path):
    assert Catalog(tmp_path).settings(9083) == {
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.hive.metastore.uris": "thrift://127.0.0.1:9083",
        "spark.sql.warehouse.dir": f"{tmp_path}/warehouse",
    }


def test_the_metastore_reads_hadoop_settings_from_a_file(tmp_path):
    catalog = Catalog(tmp_path)

    assert catalog.prepare({"fs.s3a.impl": "a.b.C", "fs.mount.a&b": "file:///x"}) == [f"{tmp_path}/metastore"]

    site = ET.parse(tmp_path / "metastore" / "core-site.xml")  # noqa: S314 - our own
    assert {each.findtext("name"): each.findtext("value") for each in site.iter("property")} == {
        "fs.s3a.impl": "a.b.C",
        "fs.mount.a&b": "file:///x",
    }
    assert catalog.warehouse.is_dir()


@pytest.mark.anyio
async def test_a_metastore_whose_process_ended_is_an_error_at_once():
    class Ended:
        is_alive = False

        def client(self):
            raise OSError("no JVM")

    with pytest.raises(NoSpark, match="the catalog's metastore did not start"):
        await serve_thrift(Ended(), 1)  # type: ignore[arg-type]
