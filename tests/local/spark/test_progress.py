"""The progress that follows from lines as Spark writes them, without the fields that are not read."""

import pytest

from dataflow_magic.local.spark.progress import Application, Progress, StageProgress


def progress(*lines: str) -> Progress:
    application = Application()
    for line in lines:
        application.fold(line.encode())
    return application.progress()


def job_start(job: int, *stages: str) -> str:
    return f'{{"Event":"SparkListenerJobStart","Job ID":{job},"Stage Infos":[{",".join(stages)}]}}'


def stage(number: int, tasks: int, attempt: int = 0, more: str = "") -> str:
    return (
        f'{{"Stage ID":{number},"Stage Attempt ID":{attempt},"Stage Name":"count at /tmp/a b/script/daily.py:7",'
        f'"Number of Tasks":{tasks}{more}}}'
    )


def submitted(number: int, tasks: int, attempt: int = 0) -> str:
    return f'{{"Event":"SparkListenerStageSubmitted","Stage Info":{stage(number, tasks, attempt)}}}'


def task_end(number: int, reason: str = "Success", attempt: int = 0) -> str:
    return (
        f'{{"Event":"SparkListenerTaskEnd","Stage ID":{number},"Stage Attempt ID":{attempt},'
        f'"Task End Reason":{{"Reason":"{reason}"}},"Task Info":{{"Task ID":0}}}}'
    )


def completed(number: int, tasks: int, attempt: int = 0, failure: str = "") -> str:
    more = f',"Failure Reason":"{failure}"' if failure else ""
    return f'{{"Event":"SparkListenerStageCompleted","Stage Info":{stage(number, tasks, attempt, more)}}}'


def job_end(job: int) -> str:
    return f'{{"Event":"SparkListenerJobEnd","Job ID":{job},"Job Result":{{"Result":"JobSucceeded"}}}}'


APPLICATION_END = '{"Event":"SparkListenerApplicationEnd","Timestamp":1793520000000}'


def running(number: int, done: int, failed: int, total: int) -> tuple[StageProgress, ...]:
    return (StageProgress(number, "count at daily.py:7", done, failed, total),)


def test_before_the_first_job_progress_is_zero():
    assert progress('{"Event":"SparkListenerLogStart","Spark Version":"4.3.0"}') == Progress()


def test_a_job_adds_its_stages_and_tasks_to_the_totals():
    assert progress(job_start(0, stage(0, 4), stage(1, 3))) == Progress(stages_total=2, tasks_total=7)


def test_a_running_stage_is_listed_with_its_tasks():
    assert progress(
        job_start(0, stage(0, 4), stage(1, 3)), submitted(0, 4), task_end(0), task_end(0)
    ) == Progress(stages_total=2, tasks_done=2, tasks_total=7, running=running(0, 2, 0, 4))


def test_a_completed_job_is_done():
    assert progress(
        job_start(0, stage(0, 1)), submitted(0, 1), task_end(0), completed(0, 1), job_end(0)
    ) == Progress(stages_done=1, stages_total=1, tasks_done=1, tasks_total=1)


def test_a_skipped_stage_leaves_the_totals_when_its_job_ends():
    lines = [job_start(0, stage(0, 4), stage(1, 2)), submitted(1, 2), task_end(1), task_end(1)]

    assert progress(*lines, completed(1, 2)) == Progress(
        stages_done=1, stages_total=2, tasks_done=2, tasks_total=6
    )
    assert progress(*lines, completed(1, 2), job_end(0)) == Progress(
        stages_done=1, stages_total=1, tasks_done=2, tasks_total=2
    )


def test_a_stage_that_is_listed_twice_counts_once():
    assert progress(job_start(0, stage(0, 4), stage(0, 4)), submitted(0, 4), job_end(0)) == Progress(
        stages_total=1, tasks_total=4
    )


def test_a_stage_of_two_jobs_counts_once_until_both_have_ended():
    lines = [job_start(0, stage(0, 4)), job_start(1, stage(0, 4), stage(1, 1)), job_end(0)]

    assert progress(*lines) == Progress(stages_total=2, tasks_total=5)
    assert progress(*lines, job_end(1)) == Progress()


@pytest.mark.parametrize(
    ("reason", "done", "failed"),
    [
        ("Success", 1, 0),
        ("ExceptionFailure", 0, 1),
        ("ExecutorLostFailure", 0, 1),
        ("TaskKilled", 0, 0),
        ("TaskCommitDenied", 0, 0),
        ("Resubmitted", 0, 0),
    ],
)
def test_only_success_is_done_and_what_spark_stopped_itself_did_not_fail(reason, done, failed):
    assert progress(job_start(0, stage(0, 4)), submitted(0, 4), task_end(0, reason)).running == running(
        0, done, failed, 4
    )


def test_a_task_whose_result_was_lost_with_its_executor_is_to_be_done_again():
    lines = [job_start(0, stage(0, 4)), submitted(0, 4), task_end(0), task_end(0)]

    assert progress(*lines, task_end(0, "Resubmitted")).tasks_done == 1


def test_two_copies_of_one_task_never_exceed_the_total():
    assert progress(job_start(0, stage(0, 1)), submitted(0, 1), task_end(0), task_end(0)).tasks_done == 1


def test_a_failed_stage_stays_in_the_totals():
    assert progress(
        job_start(0, stage(0, 4)),
        submitted(0, 4),
        task_end(0),
        task_end(0, "ExceptionFailure"),
        completed(0, 4, failure="no such table"),
        job_end(0),
    ) == Progress(stages_total=1, tasks_done=1, tasks_failed=1, tasks_total=4)


def test_after_its_job_ended_a_failed_task_counts_and_a_done_one_does_not():
    over = [job_start(0, stage(0, 4)), submitted(0, 4), job_end(0)]

    assert progress(*over) == Progress(stages_total=1, tasks_total=4)
    assert progress(*over, task_end(0, "ExceptionFailure"), task_end(0)) == Progress(
        stages_total=1, tasks_failed=1, tasks_total=4
    )


def test_a_later_attempt_runs_the_missing_tasks():
    lines = [job_start(0, stage(0, 10)), submitted(0, 10), *[task_end(0)] * 10, completed(0, 10)]

    assert progress(*lines, submitted(0, 3, attempt=1)) == Progress(
        stages_total=1, tasks_done=7, tasks_total=10, running=running(0, 7, 0, 10)
    )
    assert progress(*lines, submitted(0, 3, attempt=1), task_end(0, attempt=1)).tasks_done == 8


def test_of_an_earlier_attempt_only_failures_count():
    lines = [job_start(0, stage(0, 10)), submitted(0, 10), submitted(0, 10, attempt=1), task_end(0)]

    assert progress(*lines, task_end(0, "FetchFailed"), completed(0, 10)) == Progress(
        stages_total=1, tasks_failed=1, tasks_total=10, running=running(0, 0, 1, 10)
    )


def test_a_stage_with_some_results_at_its_start_has_fewer_tasks():
    assert progress(job_start(0, stage(0, 10)), submitted(0, 6)).tasks_total == 6


def test_no_stage_runs_after_the_end_of_the_application():
    assert progress(
        job_start(0, stage(0, 4), stage(1, 3)), submitted(0, 4), task_end(0), APPLICATION_END, job_end(0)
    ) == Progress(stages_total=1, tasks_done=1, tasks_total=4)


def test_events_count_when_earlier_ones_are_missing():
    assert progress(completed(9, 1), task_end(9), job_end(9), submitted(3, 2), task_end(3)) == Progress(
        stages_total=1, tasks_done=1, tasks_total=2, running=running(3, 1, 0, 2)
    )
    assert progress(job_start(0, stage(0, 2)), submitted(0, 2), APPLICATION_END, job_end(0)).stages_total == 1


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Exception in thread main",
        '{"Event":"SparkListenerTaskEnd","Stage ID":0,',
        '{"Event":"SparkListenerTaskEnd","Stage ID":[]}',
        '{"Event":"SparkListenerTaskEnd","Task End Reason":' + "[" * 10_000,
        '{"Event":"SparkListenerStageSubmitted","Stage Info":null}',
        '{"Event":"SparkListenerStageSubmitted","Stage Info":' + stage(1, -4) + "}",
        '{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0}',
    ],
    ids=["empty", "text", "cut", "types", "deep", "nothing", "negative", "of no interest"],
)
def test_a_line_that_is_no_event_changes_nothing(line):
    assert progress(job_start(0, stage(0, 4)), line) == Progress(stages_total=1, tasks_total=4)


def test_a_stage_name_is_short_and_shows_no_folder_of_the_service():
    line = submitted(0, 1)
    assert progress(line).running[0].name == "count at daily.py:7"

    long = line.replace("count at /tmp/a b/script/daily.py:7", "x" * 300)
    assert progress(long).running[0].name == "x" * 200


def test_the_progress_of_two_applications_adds_up():
    first = Progress(1, 2, 3, 4, 5, running(0, 1, 2, 3))
    second = Progress(10, 20, 30, 40, 50, running(6, 1, 1, 1))

    assert first + second == Progress(
        11, 22, 33, 44, 55, running(0, 1, 2, 3) + running(6, 1, 1, 1), is_over=False
    )
