import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.pages import Contract, contract_of


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


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(ConfigError) as refused:
        contract_of({"DATAFLOW_LOCAL_CONTRACT": "g2"})

    assert str(refused.value) == "DATAFLOW_LOCAL_CONTRACT is 'g2'; set it to executejob or 2026-10"
