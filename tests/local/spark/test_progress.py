"""Lines as Spark writes them, without the fields nobody reads, and how far the application is by them."""

import pytest

from dataflow_magic.local.spark.progress import Application, Progress, StageProgress


def told(*lines: str) -> Progress:
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


def test_before_the_first_job_nothing_is_done_and_nothing_to_do():
    assert told('{"Event":"SparkListenerLogStart","Spark Version":"4.3.0"}') == Progress()


def test_a_job_brings_all_its_stages_and_their_tasks():
    assert told(job_start(0, stage(0, 4), stage(1, 3))) == Progress(stages_total=2, tasks_total=7)


def test_a_stage_that_runs_is_told_with_the_tasks_it_has_done():
    assert told(
        job_start(0, stage(0, 4), stage(1, 3)), submitted(0, 4), task_end(0), task_end(0)
    ) == Progress(stages_total=2, tasks_done=2, tasks_total=7, running=running(0, 2, 0, 4))


def test_a_job_that_ended_well_is_done_whole():
    assert told(
        job_start(0, stage(0, 1)), submitted(0, 1), task_end(0), completed(0, 1), job_end(0)
    ) == Progress(stages_done=1, stages_total=1, tasks_done=1, tasks_total=1)


def test_a_stage_that_was_skipped_leaves_the_totals_when_its_job_ends():
    lines = [job_start(0, stage(0, 4), stage(1, 2)), submitted(1, 2), task_end(1), task_end(1)]

    assert told(*lines, completed(1, 2)) == Progress(
        stages_done=1, stages_total=2, tasks_done=2, tasks_total=6
    )
    assert told(*lines, completed(1, 2), job_end(0)) == Progress(
        stages_done=1, stages_total=1, tasks_done=2, tasks_total=2
    )


def test_a_stage_that_is_listed_twice_is_one():
    assert told(job_start(0, stage(0, 4), stage(0, 4)), submitted(0, 4), job_end(0)) == Progress(
        stages_total=1, tasks_total=4
    )


def test_a_stage_of_two_jobs_is_counted_once_and_stays_until_both_ended():
    lines = [job_start(0, stage(0, 4)), job_start(1, stage(0, 4), stage(1, 1)), job_end(0)]

    assert told(*lines) == Progress(stages_total=2, tasks_total=5)
    assert told(*lines, job_end(1)) == Progress()


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
    assert told(job_start(0, stage(0, 4)), submitted(0, 4), task_end(0, reason)).running == running(
        0, done, failed, 4
    )


def test_a_task_whose_result_was_lost_with_its_executor_is_to_be_done_again():
    lines = [job_start(0, stage(0, 4)), submitted(0, 4), task_end(0), task_end(0)]

    assert told(*lines, task_end(0, "Resubmitted")).tasks_done == 1


def test_two_copies_of_one_task_do_not_make_more_done_than_there_is():
    assert told(job_start(0, stage(0, 1)), submitted(0, 1), task_end(0), task_end(0)).tasks_done == 1


def test_a_stage_that_failed_stays_in_the_totals_with_what_it_did():
    assert told(
        job_start(0, stage(0, 4)),
        submitted(0, 4),
        task_end(0),
        task_end(0, "ExceptionFailure"),
        completed(0, 4, failure="no such table"),
        job_end(0),
    ) == Progress(stages_total=1, tasks_done=1, tasks_failed=1, tasks_total=4)


def test_a_task_that_fails_after_its_job_ended_is_counted_and_one_that_is_done_is_not():
    over = [job_start(0, stage(0, 4)), submitted(0, 4), job_end(0)]

    assert told(*over) == Progress(stages_total=1, tasks_total=4)
    assert told(*over, task_end(0, "ExceptionFailure"), task_end(0)) == Progress(
        stages_total=1, tasks_failed=1, tasks_total=4
    )


def test_a_later_attempt_does_the_tasks_that_are_missing():
    lines = [job_start(0, stage(0, 10)), submitted(0, 10), *[task_end(0)] * 10, completed(0, 10)]

    assert told(*lines, submitted(0, 3, attempt=1)) == Progress(
        stages_total=1, tasks_done=7, tasks_total=10, running=running(0, 7, 0, 10)
    )
    assert told(*lines, submitted(0, 3, attempt=1), task_end(0, attempt=1)).tasks_done == 8


def test_an_attempt_that_was_given_up_changes_nothing_but_its_failures():
    lines = [job_start(0, stage(0, 10)), submitted(0, 10), submitted(0, 10, attempt=1), task_end(0)]

    assert told(*lines, task_end(0, "FetchFailed"), completed(0, 10)) == Progress(
        stages_total=1, tasks_failed=1, tasks_total=10, running=running(0, 0, 1, 10)
    )


def test_a_stage_that_begins_with_part_of_its_results_there_has_fewer_tasks():
    assert told(job_start(0, stage(0, 10)), submitted(0, 6)).tasks_total == 6


def test_the_end_of_the_application_settles_what_went_on():
    assert told(
        job_start(0, stage(0, 4), stage(1, 3)), submitted(0, 4), task_end(0), APPLICATION_END, job_end(0)
    ) == Progress(stages_total=1, tasks_done=1, tasks_total=4)


def test_lines_that_were_missed_do_not_hide_the_rest():
    assert told(completed(9, 1), task_end(9), job_end(9), submitted(3, 2), task_end(3)) == Progress(
        stages_total=1, tasks_done=1, tasks_total=2, running=running(3, 1, 0, 2)
    )
    assert told(job_start(0, stage(0, 2)), submitted(0, 2), APPLICATION_END, job_end(0)).stages_total == 1


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
    assert told(job_start(0, stage(0, 4)), line) == Progress(stages_total=1, tasks_total=4)


def test_a_name_is_told_in_bounds_and_without_the_folders_of_the_service():
    line = submitted(0, 1)
    assert told(line).running[0].name == "count at daily.py:7"

    long = line.replace("count at /tmp/a b/script/daily.py:7", "x" * 300)
    assert told(long).running[0].name == "x" * 200


def test_applications_that_follow_one_another_add_up():
    first = Progress(1, 2, 3, 4, 5, running(0, 1, 2, 3))
    second = Progress(10, 20, 30, 40, 50, running(6, 1, 1, 1))

    assert first + second == Progress(
        11, 22, 33, 44, 55, running(0, 1, 2, 3) + running(6, 1, 1, 1), is_over=False
    )
