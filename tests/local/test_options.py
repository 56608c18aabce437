import zipfile
from pathlib import Path

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.options import REFUSED, Contract, Options, contract_of, read_jars, read_memory


def test_the_default_is_a_warm_jvm_with_javas_own_heap_on_this_machine():
    assert Options.from_environment({}) == Options(warm=True, memory="", master="")


def test_each_variable_is_read():
    env = {
        "DATAFLOW_LOCAL_WARM": " Off ",
        "DATAFLOW_LOCAL_REUSE": "off",
        "DATAFLOW_LOCAL_MEMORY": "2g",
        "DATAFLOW_LOCAL_MASTER": "spark://h:7077",
        "DATAFLOW_LOCAL_CONF": "spark.executor.memory=512m 'spark.x=a b=c'",
    }

    assert Options.from_environment(env) == Options(
        warm=False,
        reuse=False,
        memory="2g",
        master="spark://h:7077",
        conf={"spark.executor.memory": "512m", "spark.x": "a b=c"},
    )


@pytest.mark.parametrize(
    ("text", "warm"), [("1", True), ("on", True), ("TRUE", True), ("0", False), ("false", False)]
)
def test_warm_and_reuse_are_on_or_off(text, warm):
    assert Options.from_environment({"DATAFLOW_LOCAL_WARM": text}) == Options(warm=warm, reuse=True)
    assert Options.from_environment({"DATAFLOW_LOCAL_REUSE": text}) == Options(warm=True, reuse=warm)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (
            "DATAFLOW_LOCAL_WARM",
            "perhaps",
            "DATAFLOW_LOCAL_WARM is 'perhaps'; set it to on or off",
        ),
        (
            "DATAFLOW_LOCAL_REUSE",
            "never",
            "DATAFLOW_LOCAL_REUSE is 'never'; set it to on or off",
        ),
        (
            "DATAFLOW_LOCAL_MEMORY",
            "plenty",
            "DATAFLOW_LOCAL_MEMORY=plenty is not an amount of memory; write it like 2g or 800m",
        ),
        (
            "DATAFLOW_LOCAL_MEMORY",
            "0g",
            "DATAFLOW_LOCAL_MEMORY=0g is not an amount of memory; write it like 2g or 800m",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "spark.x",
            "DATAFLOW_LOCAL_CONF: 'spark.x' is not a Spark setting; write spark.name=value",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "hadoop.x=1",
            "DATAFLOW_LOCAL_CONF: 'hadoop.x' is not a Spark setting; write spark.name=value",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "spark.master=local",
            "DATAFLOW_LOCAL_CONF: the service sets spark.master for each run; leave it out",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "spark.x='1",
            "DATAFLOW_LOCAL_CONF cannot be split into words (No closing quotation); check its quotes",
        ),
    ],
)
def test_an_invalid_value_is_refused_with_what_to_write(name, value, complaint):
    with pytest.raises(ConfigError) as refused:
        Options.from_environment({name: value})

    assert str(refused.value) == complaint


def a_jar(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("driver.properties", "")
    return path


def test_settings_that_java_must_know_at_its_start_become_options(tmp_path):
    one, two = a_jar(tmp_path / "one.jar"), a_jar(tmp_path / "two 2.jar")
    conf = {
        "spark.driver.memory": "2GB",
        "spark.driver.defaultJavaOptions": "-Da=1",
        "spark.driver.extraJavaOptions": "-Da=2 '-Db=c d'",
        "spark.jars": f"{one},{two.as_uri().replace('%20', ' ')}",
        "spark.files": "s3a://lake/x",
    }

    assert Options(conf=conf, jars=(two,)).checked() == Options(
        memory="2g", java=("-Da=1", "-Da=2", "-Db=c d"), jars=(two, one), conf={"spark.files": "s3a://lake/x"}
    )


def test_jars_come_from_the_environment_too(tmp_path):
    jar = a_jar(tmp_path / "a.jar")

    assert Options.from_environment({"DATAFLOW_LOCAL_JARS": f" {jar} ,"}) == Options(jars=(jar,))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_setting_that_cannot_take_effect_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"^{name} has no effect on the local service: "):
        Options.from_environment({"DATAFLOW_LOCAL_CONF": f"{name}=x"})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            Options(master="sc://host:15002"),
            "runs cannot go to the master sc://host:15002: Spark Connect is not supported; "
            "give spark://host:port, yarn, k8s://host:port, or none for this machine",
        ),
        (
            Options(master="mesos://host"),
            "runs cannot go to the master mesos://host: it is none of Spark's; "
            "give spark://host:port, yarn, k8s://host:port, or none for this machine",
        ),
        (
            Options(memory="1g", conf={"spark.driver.memory": "2048"}),
            "spark.driver.memory is 2048 and the memory of a run 1g: give one",
        ),
        (
            Options(conf={"spark.driver.memory": "300m"}),
            "spark.driver.memory=300m is too little: Spark needs a heap of at least 466m",
        ),
        (
            Options(conf={"spark.driver.memory": "lots"}),
            "spark.driver.memory=lots is not an amount of memory; write it like 2g or 800m",
        ),
        (
            Options(conf={"spark.driver.extraJavaOptions": "-Da=b -Xmx2g"}),
            "spark.driver.extraJavaOptions has -Xmx2g: give the heap with --memory",
        ),
        (
            Options(conf={"spark.driver.extraJavaOptions": "-Da='b"}),
            "spark.driver.extraJavaOptions cannot be split into words (No closing quotation); check its quotes",
        ),
        (
            Options(conf={"spark.jars": "s3a://lake/a.jar"}),
            "spark.jars: s3a://lake/a.jar is no jar on this machine; give the path of one",
        ),
    ],
    ids=["connect", "unknown", "two memories", "little", "no memory", "heap", "quotes", "remote jar"],
)
def test_options_that_no_run_can_follow_are_refused(options, complaint):
    with pytest.raises(ConfigError) as refused:
        options.checked()

    assert str(refused.value) == complaint


def test_a_jar_that_is_none_or_whose_path_java_cannot_read_is_refused(tmp_path):
    (tmp_path / "text.jar").write_text("no jar")
    (tmp_path / "a:b").mkdir()
    colon = a_jar(tmp_path / "a:b" / "c.jar")

    with pytest.raises(
        ConfigError, match=r"^--jars .*text\.jar is no jar on this machine; give the path of one$"
    ):
        read_jars(str(tmp_path / "text.jar"), "--jars ")
    with pytest.raises(
        ConfigError, match=r"^--jars Java cannot read .*a:b/c\.jar, because of ':' in its path; move"
    ):
        read_jars(str(colon), "--jars ")


@pytest.mark.parametrize("size", ["466m", "477184k", "1g", "1t"])
def test_memory_of_sparks_minimum_and_more_is_taken(size):
    assert read_memory(size) == size


@pytest.mark.parametrize("size", ["300m", "465m", "477183k"])
def test_less_memory_than_spark_needs_is_refused(size):
    with pytest.raises(
        ConfigError, match=f"^--memory {size} is too little: Spark needs a heap of at least 466m$"
    ):
        read_memory(size, "--memory ")


@pytest.mark.parametrize(
    ("environment", "contract"),
    [
        ({}, Contract.EXECUTE_JOB),
        ({"DATAFLOW_LOCAL_CONTRACT": ""}, Contract.EXECUTE_JOB),
        ({"DATAFLOW_LOCAL_CONTRACT": "executejob"}, Contract.EXECUTE_JOB),
        ({"DATAFLOW_LOCAL_CONTRACT": "2026-10"}, Contract.OCTOBER_2026),
    ],
    ids=["not set", "empty", "executejob", "2026-10"],
)
def test_the_environment_names_the_contract(environment, contract):
    assert contract_of(environment) is contract


def test_an_unknown_contract_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as refused:
        contract_of({"DATAFLOW_LOCAL_CONTRACT": "g2"})

    assert str(refused.value) == "DATAFLOW_LOCAL_CONTRACT is 'g2'; set it to executejob or 2026-10"
