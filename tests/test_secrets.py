"""A secret parameter reaches the service, and is in no output, file or log."""

import logging
import os
import re
import sqlite3

import httpx
import pytest

import dataflow_magic
from dataflow_magic.cell.block import parse_block, parse_mapping
from dataflow_magic.cell.values import is_written_out
from dataflow_magic.errors import BadParameter, CellError, OutcomeUnknown, RunFailed
from dataflow_magic.ledger.frame import records_frame
from dataflow_magic.ledger.ledger import ledger_path
from dataflow_magic.local.run import Outcome
from tests.helpers import Scene, ScriptedService, notebook_with_magics

MARKER = "m4rk3r/5ea\"rch'ed-everywhere"
SPELLINGS = ("m4rk3r", "rch'ed", "ed-everywhere")
"""Parts of the marker that survive any quoting."""


class TalkativeService(ScriptedService):
    """A service whose scripts print their parameters and fail with them in the reason."""

    async def _run_script(self, spec, *, cancel, waiting, started):  # noqa: ARG002 - the engine's protocol
        await started()
        if spec.job_name != "broken":
            return Outcome("COMPLETED")
        words = f"no such table: {spec.parameters}"
        self.write_log(spec.run_id, f"using {spec.parameters['$token']}\n{words}\n".encode())
        return Outcome("FAILED", words)


@pytest.fixture
def scene(tmp_path):
    with Scene(tmp_path) as scene:
        scene.service = TalkativeService(tmp_path / "talkative")
        scene.session = scene.new_session()
        yield scene


def start(scene: Scene, job: str = "daily_sales", **more):
    return scene.start(job, {"token": dataflow_magic.secret(MARKER), "day": "1"}, **more)


def forget(scene: Scene) -> None:
    """Change the ledger as if another process had written it: this one knows no value behind its marks."""
    with sqlite3.connect(ledger_path(scene.environment)) as db:
        changed = db.execute(
            "UPDATE runs SET parameters = ? WHERE parameters LIKE '%\"secret\"%'",
            # A mark no other test uses.
            (f'{{"$token":{{"secret":"{os.urandom(8).hex()}"}},"$day":"1"}}',),
        )
        assert changed.rowcount >= 1
    db.close()


def restart(scene: Scene) -> None:
    scene.session.close()
    forget(scene)
    scene.session = scene.new_session()


def assert_nothing_of_it(text: str) -> None:
    for part in SPELLINGS:
        assert part not in text, text[max(0, text.index(part) - 200) : text.index(part) + 100]


# All of it


def test_the_value_reaches_the_service_and_no_output_file_or_log(scene, caplog, monkeypatch):
    monkeypatch.setenv("MARKER", MARKER)
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    with notebook_with_magics(scene, stdin=False) as notebook:

        def run(cell: str) -> None:
            ran = notebook.run(cell)
            shown.extend([ran.out, ran.err, str(ran.error), repr(ran.value)])
            shown.extend(str(each.data) for each in ran.shown)

        run("import os\n%xmode Verbose")
        block = 'token = secret(os.environ["MARKER"])\nday = 1'
        run(f"%%dataflow_run broken --dry-run\n{block}")
        run(f"%%dataflow_run broken -o run\n{block}")
        failed = scene.session.runs[0]
        for cell in (
            "run",
            "run._live.view",
            "run.parameters",
            "dict(run.parameters)",
            "run._live.view.execution.parameters",
            "run._live.view.execution.to_wire()",
            "print(run.reason, run.error, run.logs())",
            "run.result()",
            "%tb",
            "%dataflow_status @last",
            "%dataflow_runs",
            "%dataflow_runs --all",
            "%dataflow_runs --remote broken",
            "_.to_csv()",
            "%dataflow_run --again @last --wait",
            # Errors of the user's own expressions, which could quote the value.
            '%%dataflow_run broken\ntoken = secret(int(os.environ["MARKER"]))',
            '%%dataflow_run broken\ntoken = secret(os.environ["MARKER"]) + 1',
            "%%dataflow_run broken --workers {secret}\nday = 1",
            "In",
        ):
            run(cell)
        frames = [records_frame(scene.session.records()).to_string()]

    assert {start.body["parameters"]["$token"] for start in scene.service.starts} == {MARKER}
    assert len(scene.service.starts) == 2
    assert failed.status == "FAILED"
    assert "using ••••••" in "".join(shown)
    everything = "\n".join([*shown, *frames, caplog.text])
    assert everything.count("••••••") > 20
    assert_nothing_of_it(everything)
    scene.session.close()
    assert_not_in_files(scene)


def assert_not_in_files(scene: Scene) -> None:
    files = [path for path in (scene.folder / "home").rglob("*") if path.is_file()]
    assert "ledger.sqlite3" in {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert not any(part.encode() in content for part in SPELLINGS), path


def test_the_ledger_holds_no_value_while_it_is_open_and_after_its_log_is_written_back(scene):
    start(scene).result()
    scene.session.records()

    assert any(path.name.endswith("-wal") for path in (scene.folder / "home").iterdir())
    assert_not_in_files(scene)
    with sqlite3.connect(ledger_path(scene.environment)) as db:
        db.execute("VACUUM INTO ?", (str(scene.folder / "home" / "backup.sqlite3"),))
    db.close()
    assert_not_in_files(scene)


def test_a_refusal_that_quotes_the_value_is_masked(scene, caplog):
    caplog.set_level(logging.DEBUG)
    scene.service.answers = [
        httpx.Response(400, json={"errorType": "bad-parameter", "detail": "x" * 190 + MARKER})
    ]

    with pytest.raises(BadParameter) as caught:
        start(scene)

    assert_nothing_of_it(f"{caught.value!r} {caught.value.detail} {caplog.text}")
    assert caught.value.detail.endswith("x••••••")


def test_a_lost_response_that_quotes_the_value_is_masked(scene, caplog):
    caplog.set_level(logging.DEBUG)
    scene.may_look.clear()
    scene.service.answers = [httpx.Response(502, text=f"upstream said {MARKER}")]
    run = start(scene)
    scene.may_look.set()

    with pytest.raises(OutcomeUnknown):
        run.result()
    assert "upstream said ••••••" in caplog.text
    assert_nothing_of_it(caplog.text)


# From Python


def test_a_secret_from_python_is_shown_as_its_mask(scene):
    run = start(scene)

    assert repr(run.parameters) == "mappingproxy({'$token': ••••••, '$day': '1'})"
    assert scene.service.starts[0].body["parameters"] == {"$token": MARKER, "$day": "1"}
    assert run.result().parameters == {"$token": "••••••", "$day": "1"}


def test_the_parameters_of_a_run_start_another_with_the_same_secret(scene):
    scene.start("daily_sales", start(scene).parameters)

    assert [sent.body["parameters"]["$token"] for sent in scene.service.starts] == [MARKER, MARKER]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "the secret is empty; check its source"),
        (None, "the secret is None, which has no string form"),
        ([1], "the secret is a list, which has no string form"),
    ],
)
def test_a_secret_without_a_value_is_refused(value, message):
    with pytest.raises(CellError, match=re.escape(message)):
        dataflow_magic.secret(value)


def test_a_mask_is_never_sent_as_a_value():
    with pytest.raises(
        CellError, match=r"the parameter \$token has text that contains ••••••, the mask of a secret"
    ):
        parse_mapping({"token": "••••••"})


# In the block


def parsed(block: str, **names) -> dict[str, str]:
    return {name: str(value) for name, value in parse_block(block, {"os": os, **names}).parameters.items()}


def test_secret_needs_no_import_and_hides_a_name_of_the_notebook():
    assert parsed("token = secret(x)", x="value") == {"$token": "••••••"}
    assert parsed("token = secret(x)", x="value", secret=str) == {"$token": "••••••"}
    assert parsed("secret = 1\ntoken = secret(x)", x="value") == {"$secret": "1", "$token": "••••••"}


def test_a_later_line_may_use_a_whole_secret():
    assert parsed("a = secret(x)\nb = a", x="value") == {"$a": "••••••", "$b": "••••••"}


@pytest.mark.parametrize(
    "value",
    [
        '"hunter2"', "4711", 'b"x".decode()', 'f"hunter2"', '"hun" + "ter2"', '"HUNTER2".lower()', 'str("hunter2")',
        'x or "hunter2"', '"hunter2" if x else y', '(z := "hunter2")', 'os.environ.get("X", "hunter2")',
        'os.getenv("X", default="hunter2")', '"".join(["hun", "ter2"])', 'value="hunter2"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["secret", "dm.secret", "hide"])
def test_a_secret_written_in_the_cell_is_refused_with_its_line(call, value):
    names = {"dm": dataflow_magic, "hide": dataflow_magic.secret, "x": "", "y": ""}

    with pytest.raises(CellError) as caught:
        parsed(f"day = 1\ntoken = {call}({value})", **names)

    assert str(caught.value) == (
        "line 3: the secret is written in the cell, so the notebook and its history contain it; replace it, and read "
        'the new one from elsewhere, as in secret(os.environ["NAME"])'
    )


@pytest.mark.parametrize(
    "value",
    [
        'os.environ["X"]', 'os.environ.get("X")', 'os.environ.get("X", "")', "input()", 'open("file").read()',
        'f"{user}:{password}"', 'keyring["a", "b"]', "x.strip()", "x or y",
    ],
)  # fmt: skip
def test_a_value_from_elsewhere_is_not_written_in_the_cell(value):
    import ast

    assert not is_written_out(ast.parse(value, mode="eval").body)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('token = secret("hunter2"', "the line that contains secret is not a valid assignment ('(' was never closed)"),
        ("token = secret(int(x))", "token: ValueError (message hidden because of secret(...))"),
        ('token = secret(d["X"])', "token: KeyError: 'X'"),
        ("token = secret(x) + 'a'", "token: TypeError (message hidden because of secret(...))"),
        ("token = secret('')", "token: the secret is empty; check its source"),
        ("token = f'{secret(x)}!'", "token has text that contains ••••••, the mask of a secret and not its value"),
        ("token = secret", "in a parameter block secret(...) masks a value; rename the notebook's variable secret"),
        ("token = [secret(x)]", "token is a list, and a run takes one value"),
    ],
    ids=[
        "not closed", "no number", "no such key", "added to", "empty", "inside a text", "not called", "in a list"
    ],
)  # fmt: skip
def test_the_error_of_a_wrong_line_omits_the_value(line, message):
    with pytest.raises(CellError) as caught:
        parsed(line, x="hunter2-value", d={})

    assert str(caught.value).startswith(f"line 2: {message}")
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_another_parameter_shows_is_refused():
    with pytest.raises(CellError, match="password has the value of the secret token and would show it"):
        parsed("password = x\ntoken = secret(password)", x="value")
    with pytest.raises(CellError, match="password has the value of the secret token and would show it"):
        parse_mapping({"password": "value", "token": dataflow_magic.secret("value")})


# After the kernel's end


def test_a_run_of_another_kernel_is_masked_without_its_value(scene):
    run_id = start(scene, "slow").run_id
    restart(scene)
    run = scene.session.find(run_id)
    scene.service.finish.set()

    assert run.result().parameters == {"$token": "••••••", "$day": "1"}
    assert repr(run.parameters) == "mappingproxy({'$token': ••••••, '$day': '1'})"
    assert records_frame(scene.session.records())["param.token"].tolist() == ["••••••"]
    assert_not_in_files(scene)


def test_the_log_of_a_run_that_ended_under_another_kernel_is_masked(scene):
    run_id = start(scene, "broken").run_id
    scene.session.runs[0].wait()
    restart(scene)
    log = scene.session.find(run_id).handle.logs()

    assert "using ••••••" in log
    assert_nothing_of_it(log)


def test_a_run_started_elsewhere_is_masked_where_a_start_of_its_job_was_secret(scene):
    scene.start("broken", {"token": MARKER, "day": "2"}).wait()
    elsewhere = scene.session.runs[-1].run_id
    start(scene, "broken").wait()
    scene.session.close()
    with sqlite3.connect(ledger_path(scene.environment)) as db:
        db.execute("DELETE FROM runs")
    db.close()
    scene.session = scene.new_session()
    run = scene.session.attach(elsewhere, scene.session.target("local"))
    run.wait()

    assert repr(run.parameters) == "mappingproxy({'$token': ••••••, '$day': '2'})"
    assert "using ••••••" in run.handle.logs()


def test_listed_runs_are_masked_where_a_start_of_the_job_was_secret(scene):
    start(scene).result()
    scene.start("daily_sales", {"token": "in the clear elsewhere", "day": "2"}).result()
    restart(scene)
    records = scene.session.executions(
        dataflow_magic.models.request.JobRef("daily_sales"), scene.session.target("local")
    )

    assert sorted(records_frame(records)["param.day"]) == ["1", "2"]
    assert records_frame(records)["param.token"].tolist() == ["••••••", "••••••"]


def test_again_sends_the_value_in_its_kernel_and_refuses_in_another(scene):
    run_id = start(scene).run_id
    scene.session.start_again(run_id)
    assert [sent.body["parameters"]["$token"] for sent in scene.service.starts] == [MARKER, MARKER]

    restart(scene)
    with pytest.raises(CellError) as caught:
        scene.session.start_again(run_id)

    assert str(caught.value) == (
        f"run {run_id} had the secret parameter $token, whose value is stored nowhere; run the cell that started it instead"
    )
    assert len(scene.service.starts) == 2


def test_a_lost_start_whose_value_is_gone_is_unclear_where_a_run_agrees_in_all_else(scene):
    scene.may_look.clear()
    scene.service.lost_answers = 1
    start(scene, "slow")
    scene.may_look.set()
    restart(scene)
    scene.service.finish.set()
    run = scene.session.find("@last")

    with pytest.raises(OutcomeUnknown):
        run.result()
    assert run.status == "UNCLEAR"
    assert len(scene.service.starts) == 1


def test_the_reason_of_a_failed_run_is_masked(scene):
    run = start(scene, "broken")

    with pytest.raises(RunFailed) as caught:
        run.result()

    assert "no such table: {'$token': '••••••'" in str(caught.value)
    assert run.reason is not None
    assert_nothing_of_it(f"{caught.value} {run.reason} {run.handle.logs()} {run.view}")
