import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.options import Contract, Options, contract_of


def test_the_default_is_a_warm_jvm_with_javas_own_heap_on_this_machine():
    assert Options.from_environment({}) == Options(warm=True, memory="", master="")


def test_each_variable_is_read():
    env = {
        "DATAFLOW_LOCAL_WARM": " Off ",
        "DATAFLOW_LOCAL_MEMORY": "2g",
        "DATAFLOW_LOCAL_MASTER": "spark://h:7077",
        "DATAFLOW_LOCAL_CONF": "spark.executor.memory=512m 'spark.x=a b=c'",
    }

    assert Options.from_environment(env) == Options(
        warm=False,
        memory="2g",
        master="spark://h:7077",
        conf={"spark.executor.memory": "512m", "spark.x": "a b=c"},
    )


@pytest.mark.parametrize(
    ("text", "warm"), [("1", True), ("on", True), ("TRUE", True), ("0", False), ("false", False)]
)
def test_warm_is_on_or_off(text, warm):
    assert Options.from_environment({"DATAFLOW_LOCAL_WARM": text}).warm is warm


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (
            "DATAFLOW_LOCAL_WARM",
            "perhaps",
            "DATAFLOW_LOCAL_WARM is 'perhaps'; set it to on or off",
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
