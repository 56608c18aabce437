"""``make s3a``: compiles the classes of `programs/s3a` into the jar that runs use, with the digest of their sources."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from dataflow_magic.local.spark.jvm import spark_home
from dataflow_magic.local.spark.settings import OBJECT_STORAGE

__all__ = ["DIGEST", "build", "digest", "sources"]

DIGEST = "META-INF/sources.sha256"
RELEASE = "17"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of each file in the jar, so that the same sources give the same jar."""


def sources() -> list[Path]:
    """Return the files of Java, in order."""
    return sorted(OBJECT_STORAGE.with_suffix("").rglob("*.java"))


def digest() -> str:
    """Return what identifies the sources, their names included."""
    folder = OBJECT_STORAGE.with_suffix("")
    content = hashlib.sha256()
    for source in sources():
        content.update(f"{source.relative_to(folder).as_posix()}\n".encode() + source.read_bytes())
    return content.hexdigest()


def build(jar: Path) -> None:
    """Compile the sources into a jar."""
    javac = shutil.which("javac")
    assert javac, "needs a JDK of 17 or newer, with javac on PATH"
    with tempfile.TemporaryDirectory() as folder:
        command = [javac, "--release", RELEASE, "-cp", f"{spark_home()}/jars/*", "-d", folder]
        subprocess.run([*command, *map(str, sources())], check=True, timeout=120)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*.class")
        }
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [(DIGEST, digest().encode()), *sorted(files.items())]:
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    build(OBJECT_STORAGE)
