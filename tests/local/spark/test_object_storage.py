"""The classes that make ``s3a://`` a folder, in a real JVM."""

import asyncio
import json
import os
import shutil
import textwrap
import zipfile

import pytest

from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.application import run_application
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.settings import OBJECT_STORAGE, hadoop_settings
from tests.local.scripted import noting
from tests.local.spark.build_s3a import DIGEST, build, digest
from tests.local_archives import quick_options

SCRIPT = """
    import json, os
    from pyspark.sql import SparkSession

    # What scripts for the cloud set.
    boilerplate = {
        "spark.hadoop.fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3n.impl": "org.apache.hadoop.fs.s3native.NativeS3FileSystem",
        "spark.hadoop.fs.s3.impl": "com.amazon.ws.emr.hadoop.fs.EmrFileSystem",
        "spark.hadoop.fs.s3a.endpoint": "https://object.example",
        "spark.hadoop.fs.s3a.access.key": "AKIAHIDDEN",
        "spark.hadoop.fs.s3a.secret.key": "hidden secret",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "spark.hadoop.fs.s3a.committer.name": "magic",
        "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": (
            "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
        ),
        "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
        "spark.sql.parquet.output.committer.class": (
            "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"
        ),
    }
    spark = SparkSession.builder.config(map=boilerplate).getOrCreate()
    sc = spark.sparkContext
    spark.range(3).write.csv("s3a://a.b/rows")
    Path = sc._jvm.org.apache.hadoop.fs.Path
    fs = Path("s3a://lake/").getFileSystem(sc._jsc.hadoopConfiguration())

    def files(root):
        found, left = [], fs.listFiles(Path(root), True)
        while left.hasNext():
            found.append(left.next().getPath().toString())
        return found

    def fails(call):
        try:
            call()
        except Exception as error:
            return next(line for line in str(error).splitlines() if "xception: " in line).partition("xception: ")[2]

    got = {
        "csv": spark.read.csv("s3a://lake/").count(),
        "csv of a bucket": spark.read.csv("s3a://lake").count(),
        "textFile": sorted(sc.textFile("s3a://lake/").collect()),
        "wholeTextFiles": sorted(name for name, _ in sc.wholeTextFiles("s3n://lake/").collect()),
        "listFiles": files("s3a://lake/"),
        "exists": [fs.exists(Path(f"s3a://lake/{key}")) for key in ("", "one.csv", "none.csv")],
        "a bucket with a dot": spark.read.csv("s3a://a.b/rows").count(),
        "no bucket": fails(lambda: sc.textFile("s3a://nowhere/x").count()),
        "a link out of the objects": fails(lambda: sc.textFile("s3a://link/r1").count()),
        "out of the bucket": fails(lambda: fs.exists(Path("s3a://lake/../a.b/rows"))),
    }
    for _ in range(2):
        spark.range(4).write.mode("overwrite").parquet("s3://lake/out")
    got["overwritten"] = spark.read.parquet("s3a://lake/out").count()
    stream = spark.readStream.schema("id long").parquet("s3a://lake/out").writeStream
    stream = stream.option("checkpointLocation", "s3a://lake/checkpoint").trigger(availableNow=True)
    stream.start("s3a://lake/streamed", "parquet").awaitTermination()
    got["streamed"] = spark.read.parquet("s3a://lake/streamed").count()
    open("lake/read.csv", "w").write("1\\n")
    got["renamed"] = [
        fs.rename(Path("/one.csv"), Path("/moved/a: b%20.csv")),
        fs.rename(Path("/none.csv"), Path("/moved/none.csv")),
        fs.rename(Path("/moved"), Path("/moved/inside")),
        fs.rename(Path("/read.csv"), Path("/moved")),
        files("s3a://lake/moved"),
    ]
    got["deleted"] = [fs.delete(Path("/moved"), True), fs.delete(Path("/moved"), True), fs.exists(Path("/moved"))]
    got["emptied"] = [fs.delete(Path("/"), True), fs.exists(Path("/")), len(fs.listStatus(Path("/")))]
    print(json.dumps(got))
"""


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_bucket_is_a_file_system_whatever_a_script_sets_for_the_clouds(tmp_path, archives):
    objects = tmp_path / "객체 저장소 a%20b"
    for bucket in ("scripts", "logs", "lake", "a.b"):
        (objects / bucket).mkdir(parents=True)
    (objects / "link").symlink_to(tmp_path)
    (objects / "scripts" / "storage.py").write_text(textwrap.dedent(SCRIPT), "utf-8")
    for name in ("one", "two"):
        (objects / "lake" / f"{name}.csv").write_text(f"{name}\n")
    (objects / "lake" / ".one.csv.crc").write_bytes(b"of another file")
    spec = RunSpec("r1", "storage", "scripts/", "logs/", {}, 2, 120.0, objects, tmp_path / "work")

    outcome = await run_application(
        spec,
        java=find_java(os.environ),
        cancel=asyncio.Event(),
        waiting=print,
        started=noting([]),
        options=quick_options(archives),
    )

    logs = objects / "logs" / "r1"
    printed = (logs / "console.log").read_text("utf-8")
    assert outcome == Outcome("COMPLETED"), printed
    assert json.loads(printed.splitlines()[-1]) == {
        "csv": 2,
        "csv of a bucket": 2,
        "textFile": ["one", "two"],
        "wholeTextFiles": ["s3n://lake/one.csv", "s3n://lake/two.csv"],
        "listFiles": ["s3a://lake/one.csv", "s3a://lake/two.csv"],
        "exists": [True, True, False],
        "a bucket with a dot": 3,
        "no bucket": "no bucket 'nowhere' for s3a://nowhere/ in the objects of the local service: "
        "make it, or correct the path",
        "a link out of the objects": "no bucket 'link' for s3a://link/ in the objects of the local service: "
        "make it, or correct the path",
        "out of the bucket": "s3a://lake/../a.b/rows leads out of its bucket",
        "overwritten": 4,
        "streamed": 4,
        "renamed": [True, False, False, True, ["s3a://lake/moved/a: b%20.csv", "s3a://lake/moved/read.csv"]],
        "deleted": [True, False, False],
        "emptied": [True, True, 0],
    }
    everything = printed + (logs / "jvm.log").read_text("utf-8")
    assert printed.count("s3a:// is a folder of the local service; without effect here: ") == 1
    assert "fs.s3a.access.key, fs.s3a.endpoint, fs.s3a.secret.key" in everything
    assert "AKIAHIDDEN" not in everything
    assert "hidden secret" not in everything


def test_every_scheme_of_object_storage_is_the_folder(tmp_path):
    assert hadoop_settings(tmp_path) == {
        "fs.dataflow.objects": str(tmp_path),
        "fs.permissions.umask-mode": "077",
        "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.s3n.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.AbstractFileSystem.s3a.impl": "org.apache.hadoop.fs.s3a.S3A",
        "fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
        "fs.AbstractFileSystem.s3n.impl": "org.apache.hadoop.fs.s3a.S3A",
    }


def test_the_classes_are_those_of_the_sources():
    with zipfile.ZipFile(OBJECT_STORAGE) as jar:
        assert jar.read(DIGEST).decode() == digest(), "run make s3a"


@pytest.mark.skipif(not shutil.which("javac"), reason="needs a JDK")
def test_the_sources_compile(tmp_path):
    build(tmp_path / "built.jar")

    with zipfile.ZipFile(OBJECT_STORAGE) as kept, zipfile.ZipFile(tmp_path / "built.jar") as built:
        assert built.namelist() == kept.namelist()
