"""Runs with a marker, really carried out: their logs lie one folder deeper, and every reader finds them."""

import os

import pytest

import dataflow_magic
from dataflow_magic import api
from dataflow_magic.errors import RunFailed
from dataflow_magic.local.spark import history
from tests.local_service import service_folder

pytestmark = pytest.mark.spark


@pytest.fixture
def folder(tmp_path, monkeypatch, archives):
    for name in [name for name in os.environ if name.startswith(("NCLOUD_", "DATAFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAFLOW_MAGIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with service_folder(tmp_path / "home", archives) as folder:
        yield folder
        api.close_session()


def test_readers_of_logs_find_those_of_marked_runs(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DATAFLOW_MARKER", "log-path, slow_count@local=parameter")
    done = dataflow_magic.run("daily_delays", {"origin": "JFK", "month": 1})
    failed = dataflow_magic.run("daily_delays", {"origin": "SFO", "month": 1})
    unknown = dataflow_magic.run("slow_count", {"seconds": 1})
    done.result()
    for run in (failed, unknown):
        with pytest.raises(RunFailed):
            run.result()

    logs = folder.objects / "dataflow-sample" / "sparkHistoryLogs"
    for run in (done, failed):
        own = logs / f"dataflow-run-{run.key}" / str(run.id)
        assert run._live.condition.log_path == f"dataflow-sample/sparkHistoryLogs/dataflow-run-{run.key}/"
        assert (own / "console.log").read_text() == run.logs()
        assert [path.name[:12] for path in (own / "events").iterdir()] == ["eventlog_v2_"]
    assert "JFK" in done.logs()
    assert "SFO" in str(failed.reason), "the reason is that of its own log"
    # The sample refuses arguments that it does not know, as the page on markers says.
    assert f"unrecognized arguments: --dataflow_run=dataflow-run-{unknown.key}" in unknown.logs()

    links = tmp_path / "links"
    links.mkdir()
    history._link(folder.objects, links)
    assert len(list(links.iterdir())) >= 2, "the History Server sees them"
    assert {link.resolve().parents[2].name for link in links.iterdir()} >= {
        f"dataflow-run-{run.key}" for run in (done, failed)
    }
