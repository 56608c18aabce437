import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.options import Options


def test_nothing_said_is_warm_with_javas_own_memory_on_this_machine():
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
def test_warmth_is_on_or_off(text, warm):
    assert Options.from_environment({"DATAFLOW_LOCAL_WARM": text}).warm is warm


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (
            "DATAFLOW_LOCAL_WARM",
            "perhaps",
            "DATAFLOW_LOCAL_WARM=perhaps is neither on nor off; write one of them",
        ),
        (
            "DATAFLOW_LOCAL_MEMORY",
            "plenty",
            "DATAFLOW_LOCAL_MEMORY=plenty is no amount of memory; write it as 2g or 800m",
        ),
        (
            "DATAFLOW_LOCAL_MEMORY",
            "0g",
            "DATAFLOW_LOCAL_MEMORY=0g is no amount of memory; write it as 2g or 800m",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "spark.x",
            "DATAFLOW_LOCAL_CONF: 'spark.x' is no Spark setting; write spark.name=value",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "hadoop.x=1",
            "DATAFLOW_LOCAL_CONF: 'hadoop.x' is no Spark setting; write spark.name=value",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "spark.master=local",
            "DATAFLOW_LOCAL_CONF: spark.master is set by the service for each run; leave it out",
        ),
        (
            "DATAFLOW_LOCAL_CONF",
            "spark.x='1",
            "DATAFLOW_LOCAL_CONF cannot be split into words (No closing quotation)",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(name, value, complaint):
    with pytest.raises(ConfigError) as refused:
        Options.from_environment({name: value})

    assert str(refused.value) == complaint
