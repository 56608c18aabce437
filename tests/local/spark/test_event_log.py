"""Event logs that grow between two reads, end in the middle of a line, roll over, or are removed."""

from pathlib import Path

import pytest

from dataflow_magic.local.spark.event_log import EventLogReader, ProgressReader
from dataflow_magic.local.spark.progress import Progress, StageProgress

START = (
    b'{"Event":"SparkListenerJobStart","Job ID":0,"Stage Infos":[{"Stage ID":0,"Stage Attempt ID":0,'
    b'"Stage Name":"count at daily.py:7","Number of Tasks":4}]}\n'
)
SUBMITTED = (
    b'{"Event":"SparkListenerStageSubmitted","Stage Info":{"Stage ID":0,"Stage Attempt ID":0,'
    b'"Stage Name":"count at daily.py:7","Number of Tasks":4}}\n'
)
DONE = b'{"Event":"SparkListenerTaskEnd","Stage ID":0,"Stage Attempt ID":0,"Task End Reason":{"Reason":"Success"}}\n'
END = b'{"Event":"SparkListenerApplicationEnd","Timestamp":1793520000000}\n'


@pytest.fixture
def events(tmp_path):
    folder = tmp_path / "events"
    folder.mkdir()
    return folder


def write(events: Path, data: bytes, *, application: str = "local-1", number: int = 1) -> Path:
    folder = events / f"eventlog_v2_{application}"
    folder.mkdir(exist_ok=True)
    file = folder / f"events_{number}_{application}"
    with file.open("ab") as log:
        log.write(data)
    return file


def running(done: int) -> Progress:
    stage = StageProgress(0, "count at daily.py:7", done, 0, 4)
    return Progress(stages_total=1, tasks_done=done, tasks_total=4, running=(stage,))


def test_progress_without_a_log_is_zero(tmp_path, events):
    assert EventLogReader(tmp_path / "nowhere").read() == Progress()
    assert EventLogReader(events).read() == Progress()


def test_each_read_starts_where_the_last_one_ended(events):
    reader = EventLogReader(events)

    write(events, START + SUBMITTED + DONE)
    assert reader.read() == running(1)
    assert reader.read() == running(1)
    write(events, DONE)
    assert reader.read() == running(2)


def test_a_read_may_end_anywhere_in_a_line(events):
    reader, log = EventLogReader(events), START + SUBMITTED + DONE + DONE

    for byte in range(len(log)):
        write(events, log[byte : byte + 1])
        reader.read()

    assert reader.read() == running(2)


def test_no_read_exceeds_its_limit(events):
    write(events, START + SUBMITTED + 4 * DONE)
    reader = EventLogReader(events, most_bytes=len(START + SUBMITTED + DONE))

    assert reader.read() == running(1)
    assert reader.read() == running(4)


def test_a_finished_run_is_over_once_its_whole_log_is_read(events):
    write(events, START + SUBMITTED + 4 * DONE)
    reader = EventLogReader(events, most_bytes=len(START + SUBMITTED + DONE))

    assert not reader.read(is_final=True).is_over
    over = Progress(stages_total=1, tasks_done=4, tasks_total=4, is_over=True)
    assert reader.read(is_final=True) == over
    write(events, DONE)
    assert reader.read(is_final=True) == over


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_a_line_over_the_limit_is_skipped(events, pieces):
    longest = max(map(len, (START, SUBMITTED, DONE)))
    log = START + SUBMITTED + DONE[:-2] + b" " * 3 * longest + DONE[-2:] + DONE
    reader = EventLogReader(events, longest_line=longest)

    for at in range(0, len(log), pieces):
        write(events, log[at : at + pieces])
        reader.read()

    assert reader.read() == running(1)


def test_a_log_that_rolls_over_is_read_in_the_order_of_its_files(events):
    reader = EventLogReader(events)
    write(events, START + SUBMITTED + DONE, number=9)
    assert reader.read() == running(1)

    write(events, DONE, number=9)
    write(events, DONE, number=10)
    assert reader.read() == running(3)
    write(events, DONE, number=10)
    assert reader.read() == running(4)


def test_a_file_is_read_after_the_one_before_it_is_complete(events):
    write(events, START + SUBMITTED + DONE, number=1)
    write(events, DONE, number=2)
    reader = EventLogReader(events, most_bytes=len(START))

    reads = [reader.read().tasks_done for _ in range(4)]

    assert reads == [0, 0, 1, 2]


def test_other_files_in_the_folder_are_ignored(events):
    file = write(events, START + SUBMITTED)
    file.with_name("appstatus_local-1.inprogress").write_bytes(DONE)
    file.with_name(".events_1_local-1.crc").write_bytes(DONE)
    (events / "notes").mkdir()

    assert EventLogReader(events).read() == running(0)


def test_applications_of_one_run_add_up(events):
    reader = EventLogReader(events)
    write(events, START + SUBMITTED + DONE + END + DONE)
    assert reader.read() == Progress(stages_total=1, tasks_done=1, tasks_total=4)

    write(events, START, application="local-2")
    assert reader.read() == Progress(stages_total=2, tasks_done=1, tasks_total=8)


def test_progress_stays_when_the_log_is_removed(events):
    reader = EventLogReader(events)
    file = write(events, START + SUBMITTED + DONE)
    assert reader.read() == running(1)

    file.unlink()
    assert reader.read() == running(1)
    file.symlink_to("nowhere")
    assert reader.read() == running(1)


def test_the_runs_read_last_keep_their_progress(tmp_path):
    for name, done in ("a", 1), ("b", 2), ("c", 3):
        (tmp_path / name).mkdir()
        write(tmp_path / name, START + SUBMITTED + done * DONE)
    readers = ProgressReader(most=2)

    def read(name: str) -> int:
        return readers.read(name, tmp_path / name, is_final=False).tasks_done

    assert [read("a"), read("b"), read("a"), read("c")] == [1, 2, 1, 3]
    # Without logs, only the two readers that are kept still have progress.
    for name in "abc":
        (tmp_path / name / "eventlog_v2_local-1" / "events_1_local-1").unlink()
    assert [read("a"), read("c"), read("b")] == [1, 3, 0]
