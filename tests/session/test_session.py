"""Starting runs, finding them, watching them, and never losing or doubling one."""

import gc
import signal
import threading

import httpx
import pytest
from pydantic import SecretStr

from dataflow_magic.cell.line import parse_job_ref
from dataflow_magic.cell.run import make_request
from dataflow_magic.config.settings import Target
from dataflow_magic.errors import (
    BadParameter,
    CellError,
    ConfigError,
    DataflowError,
    NotFound,
    OutcomeUnknown,
    RunFailed,
    Unreachable,
)
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.local.http.app import Keys
from tests.helpers import ACCESS_KEY, CONDITION, SECRET_KEY, Scene, eventually

WHOLE = {"nrn": "nrn:PUB:IAM::2:Role/2", "script_path": "other/scripts/", "log_path": "other/logs/"}


def asked(scene: Scene) -> list[str]:
    return [f"{sent.method} {sent.path}" for sent in scene.service.sent]


# What is sent


def test_a_run_is_sent_with_the_stored_condition_whole_under_the_options(scene):
    run = scene.start("daily_sales", {"table": "t"}, workers=4)

    assert scene.service.starts[0].body == {
        "jobCondition": {**CONDITION, "numWorker": 4},
        "parameters": {"$table": "t"},
    }
    assert run.condition.num_worker == 4
    assert run.result().status == "COMPLETED"


def test_only_trigger_and_workflow_go_into_the_query(scene):
    scene.start("daily_sales", trigger_id="t 1", workflow_id="w/2")
    scene.start("daily_sales")

    assert [sent.query for sent in scene.service.starts] == [{"triggerId": "t 1", "workflowId": "w/2"}, {}]


def test_an_id_with_a_whole_condition_is_started_without_reading_the_job(scene):
    job_id = scene.service.job_id("slow")
    scene.start(job_id, **WHOLE)

    assert asked(scene)[0] == f"POST /api/v1/jobs/{job_id}/executions"
    assert scene.service.starts[0].body["jobCondition"] == {
        "nrn": "nrn:PUB:IAM::2:Role/2",
        "scriptPath": "other/scripts/",
        "logPath": "other/logs/",
    }


def test_a_name_that_looks_like_an_id_is_found_where_no_job_has_that_id(scene):
    run = scene.start("twelvechars1", **WHOLE)

    assert run.job == "twelvechars1"
    assert [sent.path for sent in scene.service.starts] == [
        "/api/v1/jobs/twelvechars1/executions",
        f"/api/v1/jobs/{scene.service.job_id('twelvechars1')}/executions",
    ]


def test_name_prefix_never_asks_for_the_id(scene):
    run = scene.start("name:twelvechars1")

    assert run.job == "twelvechars1"
    assert asked(scene)[0] == "GET /api/v1/jobs"


@pytest.mark.parametrize("options", [{}, WHOLE], ids=["read first", "sent at once"])
def test_id_prefix_never_falls_back_to_a_name(scene, options):
    with pytest.raises(NotFound):
        scene.start("id:twelvechars1", **options)

    assert "GET /api/v1/jobs" not in asked(scene)


def test_an_unknown_job_is_refused_with_the_nearest_name(scene):
    with pytest.raises(NotFound, match="no job is named 'daily_sale'; did you mean 'daily_sales'"):
        scene.start("daily_sale")

    assert scene.service.starts == []


def test_several_jobs_of_one_name_are_listed_and_no_run_is_started(scene):
    ids = [job.job_id for job in scene.service.store.jobs(name="twins", page=0, limit=9)[0]]

    with pytest.raises(CellError, match="2 jobs are named 'twins'") as caught:
        scene.start("twins")

    assert all(job_id in str(caught.value) for job_id in ids)
    assert scene.service.starts == []


# What is known here


def test_runs_are_kept_in_the_order_they_were_started(scene):
    names = ["daily_sales", "broken", "daily_sales"]
    for name in names:
        scene.start(name)

    assert [run.job for run in scene.session.runs] == names


@pytest.mark.parametrize(
    ("is_down", "options", "error"),
    [(True, WHOLE, Unreachable), (False, {"workers": 99, "force": True}, BadParameter)],
    ids=["never arrived", "refused"],
)
def test_a_run_that_was_certainly_not_started_is_not_kept(scene, is_down, options, error):
    scene.service.is_down = is_down

    with pytest.raises(error):
        scene.start("id:" + scene.service.job_id("daily_sales"), **options)

    assert scene.session.runs == []


def test_two_starts_of_one_request_are_two_runs(scene):
    first, second = scene.start("daily_sales", {"a": 1}), scene.start("daily_sales", {"a": 1})

    assert first.run_id != second.run_id
    assert len(scene.service.starts) == 2


def canned(run_id: str) -> httpx.Response:
    return httpx.Response(200, json={"jobExecutionId": run_id, "status": "READY"})


def test_a_run_is_found_by_its_id_by_an_unambiguous_beginning_and_as_the_last(scene):
    scene.service.answers += [canned("AAAA00000001"), canned("AAAA00000002"), canned("AAAA0000000")]
    one, two, short = (scene.start("daily_sales") for _ in range(3))
    find = scene.session.find

    assert find("AAAA00000001") is one
    assert find("AAAA00000002") is two
    assert find("AAAA0000000") is short, "a whole id is not the beginning of others"
    assert find("@last") is short
    with pytest.raises(CellError, match="3 runs begin with 'AAAA': AAAA00000001, AAAA00000002, AAAA0000000"):
        find("AAAA")
    with pytest.raises(CellError, match="no run 'BBBB' was started here; %dataflow_runs --all lists them"):
        find("BBBB")


@pytest.mark.parametrize("text", ["@last", ""], ids=["last of none", "empty"])
def test_an_empty_name_finds_no_run(scene, text):
    if not text:
        scene.start("daily_sales")
    with pytest.raises(CellError, match="was started"):
        scene.session.find(text)


def test_jobs_are_those_of_the_target(scene):
    names = [job.name for job in scene.session.jobs(scene.local())]

    assert names == ["daily_sales", "broken", "mute", "slow", "twins", "twins", "twelvechars1"]


def test_each_target_is_reached_at_its_own_endpoint_with_its_own_keys(scene):
    address = Target(
        "http://127.0.0.1:7001", "address", "http://127.0.0.1:7001", ACCESS_KEY, SecretStr(SECRET_KEY), ""
    )
    cloud = Target("cloud", "cloud", "https://dataflow.test", "ak", SecretStr("sk"), "")

    assert scene.session.start(make_request("daily_sales"), address).result().status == "COMPLETED"
    with pytest.raises(Unreachable, match=r"https://dataflow\.test"):
        scene.session.jobs(cloud)


# The answer to a start was lost


def test_the_only_run_that_matches_a_lost_start_is_adopted(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()

    run = scene.start("daily_sales", {"day": "2026-11-01"})

    assert run.status == "SUBMITTING"
    assert run.run_id is None
    assert run.view.blind_reason == "the answer to its start was lost; it is looked for among the job's runs"
    scene.may_look.set()
    assert run.result().job_execution_id == run.run_id
    assert run.view.blind_since is None
    assert len(scene.service.starts) == 1
    assert len(scene.looks) == 1


def test_a_run_that_is_over_when_it_is_found_is_adopted_once(scene):
    """Two answers were lost and only one request arrived: the run found belongs to one handle."""
    scene.may_look.clear()
    scene.service.lost_requests = 1
    first = scene.start("broken", {"a": 1})
    scene.service.lost_answers = 1
    second = scene.start("broken", {"a": 1})
    eventually(
        lambda: not scene.service.store.runs_in("RUNNING") + scene.service.store.runs_in("READY"),
        "the run is over",
    )
    scene.may_look.set()

    eventually(lambda: first.is_over and second.is_over, "both are settled")

    assert sorted([first.status, second.status]) == ["FAILED", "NOT_STARTED"]


def test_of_two_candidates_none_is_guessed_and_the_user_names_one(scene):
    job = scene.service.store.jobs(name="slow", page=0, limit=1)[0][0]
    twin = scene.service.store.add_run(
        job, condition=CONDITION, parameters={"$a": "1"}, trigger_id=None, workflow_id=None
    )
    scene.service.lost_answers = 1

    run = scene.start("slow", {"a": 1})

    with pytest.raises(OutcomeUnknown, match="2 runs may be it: ") as caught:
        run.result(60)
    assert twin.run_id in str(caught.value)
    assert run.status == "UNCLEAR"
    assert run.view.blind_reason == str(caught.value)
    scene.service.finish.set()

    named = scene.session.attach(twin.run_id, scene.local())

    assert named.result(60).job_execution_id == twin.run_id
    assert (named.key, named.parameters) == (run.key, {"$a": "1"})
    assert scene.session.runs == [named]
    eventually(lambda: [r.run_id for r in scene.session.records()] == [twin.run_id], "the ledger knows")


def test_two_identical_lost_starts_have_a_run_each(scene):
    scene.may_look.clear()
    scene.service.lost_answers = 2
    runs = [scene.start("daily_sales", {"a": 1}) for _ in range(2)]
    scene.may_look.set()

    assert {run.result(60).status for run in runs} == {"COMPLETED"}
    assert len({run.run_id for run in runs}) == 2
    assert len(scene.service.starts) == 2


def test_a_waiting_run_matches_neither_of_two_starts_until_its_parameters_are_listed(scene):
    """One of two requests arrived, and its run is queued: whose it is shows when it begins."""
    blockers = [scene.start("slow") for _ in range(4)]
    scene.may_look.clear()
    scene.service.lost_requests = 1
    one = scene.start("daily_sales", {"a": 1})
    scene.service.lost_answers = 1
    two = scene.start("daily_sales", {"a": 2})
    scene.may_look.set()
    eventually(lambda: "a run may be it" in one.view.blind_reason, "seen")
    assert (one.run_id, two.run_id) == (None, None)
    scene.service.finish.set()

    assert two.result(60).parameters == {"$a": "2"}
    assert [each.result(60).status for each in blockers] == ["COMPLETED"] * 4
    with pytest.raises(OutcomeUnknown, match="no run of it is in the job's list as of"):
        one.result(60)


def test_runs_with_other_parameters_and_runs_of_the_ledger_are_no_candidates(scene):
    scene.start("daily_sales", {"a": 1}).result()
    scene.start("daily_sales", {"a": 2}).result()
    scene.service.lost_answers = 1

    run = scene.start("daily_sales", {"a": 1})

    run.wait(60)
    assert run.run_id not in {other.run_id for other in scene.session.runs[:2]}


def test_a_start_that_never_arrived_is_not_started_once_its_signature_expired(scene):
    scene.service.lost_requests = 1
    scene.may_look.clear()
    run = scene.start("daily_sales")
    reasons: list[str] = []
    scene.service.before_answer = lambda _: reasons.append(run.view.blind_reason)
    scene.may_look.set()

    with pytest.raises(OutcomeUnknown, match=r"no run of it is in the job's list as of [0-9:]{8} KST"):
        run.result(60)
    assert run.status == "NOT_STARTED"
    assert "; it is looked for until " in reasons[1]
    # 5 minutes that its signature lasts, one to carry it out, and two looks began after that.
    assert 360 <= sum(scene.looks) < 360 + 3 * 1.2 * 30
    assert run in scene.session.runs


def test_a_run_that_is_listed_late_is_found(scene):
    scene.service.lost_answers = 1
    scene.service.list_lags_seconds = 40.0

    run = scene.start("daily_sales")

    assert run.result(60).status == "COMPLETED"
    # The service dates its runs in whole seconds, and some of the forty pass while the machine is busy.
    assert 30 <= sum(scene.looks) < 60


def test_a_look_without_an_answer_does_not_count(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()
    run = scene.start("daily_sales")
    scene.service.is_down = True
    scene.may_look.set()

    eventually(lambda: len(scene.looks) > 25, "more looks than are allowed to be in vain")
    assert "looking for it failed: no answer from http://127.0.0.1:7001" in run.view.blind_reason
    scene.service.is_down = False

    assert run.result().status == "COMPLETED"


def test_reconciling_continues_once_there_are_valid_keys(scene):
    scene.environment |= {"DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY, "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY}
    scene.service.lost_answers = 1
    scene.may_look.clear()
    address = scene.session.target("http://127.0.0.1:7001")
    run = scene.session.start(make_request("daily_sales"), address)
    scene.service.keys = Keys("another-key-of-it", "another-secret")
    scene.session.ask(address, lambda _: scene.service.restart())
    scene.may_look.set()
    eventually(lambda: "looking for it failed: signature refused" in run.view.blind_reason, "refused")
    scene.environment |= {
        "DATAFLOW_LOCAL_ACCESS_KEY": "another-key-of-it",
        "DATAFLOW_LOCAL_SECRET_KEY": "another-secret",
    }

    assert run.result(60).status == "COMPLETED"


def test_a_start_whose_looks_are_refused_ends_unclear_and_the_next_kernel_looks_again(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()
    run = scene.start("daily_sales")
    scene.service.list_answer = httpx.Response(404, json={"detail": "jobId: gone", "errorType": "not-found"})
    scene.may_look.set()

    with pytest.raises(OutcomeUnknown, match="looking for it failed: not found"):
        run.result(60)
    assert run.status == "UNCLEAR"
    eventually(lambda: [row.status for row in scene.session.records()] == ["UNCLEAR"], "it is in the ledger")
    scene.session.close()
    scene.service.list_answer = None
    scene.session = scene.new_session()
    again = scene.session.find("@last")
    eventually(lambda: again.run_id, "it was found")
    assert again.result(60).status == "COMPLETED"


def test_a_start_whose_signatures_are_refused_without_a_time_ends_unclear_until_the_clock_is_right(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()
    run = scene.start("daily_sales")
    refused = {"error": {"errorCode": "200", "message": "Authentication Failed"}}
    scene.service.list_answer = httpx.Response(401, json=refused)
    scene.may_look.set()

    with pytest.raises(OutcomeUnknown, match=r"the secret key and this machine's clock$"):
        run.result(60)
    assert (run.status, run.is_over) == ("UNCLEAR", True)
    scene.service.list_answer = None
    eventually(lambda: run.run_id, "it was found")
    assert (run.result(60).status, len(scene.service.starts)) == ("COMPLETED", 1)


def test_a_look_that_the_service_holds_back_comes_with_the_user_s_next_action(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()
    run = scene.start("daily_sales")
    scene.service.list_answer = httpx.Response(429, headers={"retry-after": "300"})
    scene.may_look.set()
    held = "the service asks for no request before "
    eventually(lambda: held in run.view.blind_reason, "it is said until when")
    scene.may_look.clear()
    eventually(lambda: held in scene.session.held_words(scene.local()), "the next look is held back")
    scene.service.list_answer = None

    scene.session.jobs(scene.local())

    eventually(lambda: run.run_id, "it was found")
    assert (run.result(60).status, scene.session.held_words(scene.local())) == ("COMPLETED", "")


def test_a_run_whose_start_awaits_its_answer_is_not_adopted_for_a_lost_one(scene):
    answer_it = threading.Event()
    scene.may_look.clear()
    scene.service.lost_requests = 1
    lost = scene.start("slow", {"a": 1})
    scene.service.before_answer = lambda sent: answer_it.wait(60) if sent.is_start else None
    other = threading.Thread(target=scene.start, args=("slow", {"a": 1}))
    other.start()
    eventually(
        lambda: scene.service.store.runs_in("RUNNING"), "the second run is active, its answer outstanding"
    )

    scene.may_look.set()
    eventually(lambda: len(scene.looks) > 25, "looks do not count meanwhile")
    assert lost.run_id is None
    answer_it.set()
    other.join(60)

    with pytest.raises(OutcomeUnknown, match="no run of it is in the job's list"):
        lost.wait(60)
    assert [run.status for run in scene.session.runs] == ["NOT_STARTED", "RUNNING"]


def test_an_unreadable_answer_is_a_lost_response_and_no_refusal(scene):
    scene.service.answers.append(httpx.Response(200, text="<html>a proxy's page</html>"))

    run = scene.start("daily_sales")

    assert run.status == "SUBMITTING"
    with pytest.raises(OutcomeUnknown):
        run.wait(60)


# While a run is active


def test_a_run_is_blind_only_while_the_service_is_silent(scene):
    run = scene.start("slow")
    eventually(lambda: run.status == "RUNNING", "running")
    scene.service.is_down = True
    eventually(lambda: run.view.blind_since, "blind")
    since = run.view.blind_since

    assert run.status == "RUNNING"
    assert run.view.blind_reason.startswith("no answer from http://127.0.0.1:7001 (ConnectError")
    asked_before = len(scene.service.sent)
    eventually(lambda: len(scene.service.sent) > asked_before + 2, "asked on")
    assert run.view.blind_since == since
    scene.service.is_down = False
    eventually(lambda: run.view.blind_since is None, "sees again")
    scene.service.finish.set()
    assert run.result().status == "COMPLETED"


def test_runs_follow_a_local_service_that_moved(scene):
    run = scene.start("slow")
    scene.service.endpoint = "http://127.0.0.1:7002"
    scene.service.finish.set()

    assert run.result(60).status == "COMPLETED"
    assert run.view.blind_since is None


def test_a_local_service_with_new_keys_at_its_old_address_gets_a_new_client(scene):
    run = scene.start("slow")
    scene.service.keys = Keys("local-another-key", "another-secret")
    scene.session.ask(scene.local(), lambda _: scene.service.restart())
    scene.session.jobs(scene.local())

    with pytest.raises(RunFailed, match="the local service stopped while it ran"):
        run.result(60)


def test_a_run_stays_blind_until_its_local_service_is_found_again(scene):
    run = scene.start("slow")
    scene.service.is_down = scene.service.cannot_start = True
    eventually(lambda: run.view.blind_since, "blind")
    eventually(lambda: scene.failed_attaches > 2, "it was attached to again and again")
    assert not run.is_over

    scene.service.is_down = scene.service.cannot_start = False
    scene.service.finish.set()
    assert run.result(60).status == "COMPLETED"


def test_each_use_of_the_local_service_takes_a_hold_and_close_releases_it(scene):
    scene.session.jobs(scene.local())
    scene.session.jobs(scene.local())
    assert scene.holds == [False, True]

    scene.session.close()

    assert scene.holds == [False, False]


# Interrupts


@pytest.fixture
def interrupt(scene):
    """Sends SIGINT to this thread while a request of the given kind has no answer yet."""
    caught = threading.Event()
    main = threading.get_ident()

    def arm(when):
        armed = [True]

        def before_answer(sent):
            if armed and when(sent):
                armed.clear()
                signal.pthread_kill(main, signal.SIGINT)
                caught.wait(60)

        scene.service.before_answer = before_answer
        return caught

    yield arm
    caught.set()


def test_an_interrupt_during_a_start_does_not_lose_the_run(scene, interrupt):
    caught = interrupt(lambda sent: sent.is_start)

    with pytest.raises(KeyboardInterrupt):
        scene.start("daily_sales")
    caught.set()

    eventually(lambda: scene.session.runs and scene.session.runs[0].run_id, "the run is known")
    assert scene.session.runs[0].result().status == "COMPLETED"
    assert len(scene.service.starts) == 1


def test_an_interrupt_while_the_job_is_read_sends_nothing(scene, interrupt):
    caught = interrupt(lambda sent: sent.method == "GET")

    with pytest.raises(KeyboardInterrupt):
        scene.start("daily_sales")
    caught.set()

    scene.session.jobs(scene.local())
    assert scene.service.starts == []
    assert scene.session.runs == []


# The end of a session


def test_a_wait_ends_with_an_error_when_the_session_closes(scene):
    run = scene.start("slow")
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            run.result(60)
        except DataflowError as error:
            errors.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    scene.session.close()
    waiter.join(60)

    assert [type(error) for error in errors] == [DataflowError]
    assert str(errors[0]).endswith(
        "this kernel follows the run no longer: the extension was unloaded; the run itself continues"
    )
    assert scene.service.store.run(run.run_id).status != "CANCELED"


def test_closing_while_a_run_is_watched_logs_nothing(scene, caplog):
    for _ in range(3):
        scene.start("slow")
    scene.session.close()
    gc.collect()  # asyncio logs the unretrieved error of a task once the task is collected

    assert caplog.records == []


def test_close_does_not_change_a_run_that_is_over(scene):
    run = scene.start("broken")
    with pytest.raises(RunFailed):
        run.result(60)
    scene.session.close()

    with pytest.raises(RunFailed):
        run.result()


@pytest.mark.parametrize(
    "use",
    [
        lambda scene: scene.session.runs[0].cancel(),
        lambda scene: scene.session.runs[0].handle.logs(),
        lambda scene: scene.start("slow"),
        lambda scene: scene.session.jobs(scene.local()),
    ],
    ids=["cancel", "logs", "start", "jobs"],
)
def test_every_method_of_a_closed_session_says_that_it_is_closed(scene, use):
    scene.start("slow")
    scene.session.close()
    scene.session.close()

    with pytest.raises(DataflowError, match="the extension was unloaded"):
        use(scene)


# Beyond the kernel


def test_a_run_is_in_the_ledger_before_its_request_leaves_and_with_its_id_after(scene):
    before: list[list[str]] = []

    def look(sent):
        if sent.is_start:
            before.append(
                [record.phase for record in Ledger(scene.folder / "home" / "ledger.sqlite3").records()]
            )

    scene.service.before_answer = look
    run = scene.start("daily_sales", {"a": 1})
    run.result(60)

    assert before == [["sending"]]
    scene.session.close()
    (record,) = Ledger(scene.folder / "home" / "ledger.sqlite3").records()
    assert (record.key, record.run_id, record.status, record.is_live) == (run.key, run.run_id, "COMPLETED", 0)


def test_the_next_kernel_adopts_the_run_of_a_lost_start(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()
    lost = scene.start("daily_sales", {"a": 1})
    scene.session.close()
    scene.may_look.set()
    scene.session = scene.new_session()

    found = scene.session.find(lost.key)

    assert found.result(60).status == "COMPLETED"
    assert len(scene.service.starts) == 1
    eventually(lambda: [r.status for r in scene.session.records()] == ["COMPLETED"], "the ledger knows")


def test_runs_of_dead_kernels_are_followed_from_the_first_use_on(scene):
    scene.service.lost_answers = 1
    scene.may_look.clear()
    scene.start("daily_sales", {"a": 1})
    running = scene.start("slow")
    scene.session.close()
    scene.may_look.set()
    scene.session = scene.new_session()
    scene.session.jobs(scene.local())

    # The scripted service stands on the session's loop, so the end of the first takes the slow run along.
    eventually(
        lambda: [r.status for r in scene.session.records()] == ["COMPLETED", "FAILED"], "both are over"
    )
    assert scene.session.runs == []
    assert scene.session.find("@last").run_id == running.run_id
    assert len(scene.service.starts) == 2


def test_an_unknown_run_of_the_service_is_attached(scene):
    run = scene.start("daily_sales")
    run.result(60)
    other = Scene(scene.folder / "other")
    other.service = scene.service
    other.session = other.new_session()

    attached = other.session.attach(run.run_id, other.local())

    assert attached.result(60).status == "COMPLETED"
    assert attached.job == "daily_sales"
    with pytest.raises(NotFound, match="no run 'AAAA00000001'"):
        other.session.attach("AAAA00000001", other.local())
    other.session.close()


def test_no_run_starts_that_cannot_be_written_to_the_ledger(tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be")
    with Scene(tmp_path) as scene:
        with pytest.raises(ConfigError, match="a run starts only once it is in a ledger"):
            scene.start("daily_sales")

        assert scene.service.starts == []
        assert scene.session.runs == []


def test_every_run_of_a_job_is_listed_by_its_service(scene):
    started = [scene.start("daily_sales").run_id for _ in range(3)]

    listed = scene.session.executions(parse_job_ref("daily_sales"), scene.local())

    assert {record.run_id for record in listed} == set(started)
