"""The drawing of a run's stages: its text, its HTML, and its bounds."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from dataflow_magic.card.stages.html import to_html, to_text
from dataflow_magic.card.stages.state import MOST_ROWS, StagesState, stages_state
from dataflow_magic.card.words import ENGLISH, words_of
from dataflow_magic.models.stages import Activity, Executor, Stage, StageReport
from tests.reasons.stages.test_fold import report_of, skewed
from tests.states import STATES

REAL = report_of(skewed())
COMPLETED = STATES["COMPLETED"]


def state(report: StageReport = REAL, language: str = "en") -> StagesState:
    return stages_state(COMPLETED, report, is_final=True, words=words_of(language))


def shapes(page: str) -> list[ElementTree.Element]:
    """Return the shapes of all drawings of a page."""
    pieces = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return [shape for piece in pieces for shape in ElementTree.fromstring(piece) if shape.tag != "title"]  # noqa: S314


def test_the_text_is_a_table_with_what_is_out_of_line_below():
    lines = to_text(state()).splitlines()

    assert lines[0] == "daily_delays  run 7Hk2mQx9LpZa  COMPLETED  2026-11-27 18:35:22 KST → 18:36:42 KST"
    assert lines[1].split("  ")[0] == "stage"
    assert re.split(r"\s{2,}", lines[4]) == [
        *("stage 2: parquet", "26 s", "16/16", "589 ms", "18 s", "3,000,301", "272", "200.0 MiB"),
    ]
    assert lines[10:] == [
        "  stage 2: parquet: one of 16 tasks took 68 % of the time: 18 s, the median task 589 ms; skewed on `origin`?",
        "  stage 7: sum: its 400 tasks are tiny, the median 57 ms: use fewer partitions",
        "  Spark's own pages: dataflow-magic local history  →  http://127.0.0.1:18080/history/local-1/",
    ]


def test_a_bar_lies_where_its_stage_was_in_time():
    join = state().rows[2]

    # From 39.2 s to 65.5 s of 79.8 s; its slowest task from 47.5 s on.
    assert (round(join.begin), round(join.begin + join.length)) == (491, 820)
    assert join.slowest is not None
    assert (round(join.slowest[0]), round(sum(join.slowest))) == (595, 820)


def test_without_stages_the_drawing_says_so():
    empty = state(StageReport())

    assert to_text(empty).endswith("no stage has begun yet")
    assert "no stage has begun yet" in to_html(empty)
    assert shapes(to_html(empty)) == []


def test_a_run_of_any_size_has_a_drawing_of_bounded_size():
    levels = tuple(float(number % 7) for number in range(40))
    stages = tuple(
        Stage(
            "local-1", number, 0, "count", submitted=number * 10, completed=number * 11 + 5, tasks=100_000, tasks_done=100_000,
            median=5, slowest=50, slowest_began=number * 10, activity=Activity(number * 10, 1, levels),
        )
        for number in range(2_000)
    )  # fmt: skip
    executors = tuple(Executor(str(number), "h", 4, number, number + 5) for number in range(5_000))
    report = StageReport(stages, executors, ("local-1",), 0, 30_000, Activity(0, 256, levels * 3), True, 500)
    page = to_html(state(report))

    assert len(shapes(page)) <= 3 * MOST_ROWS + 2
    assert len(page) < 150_000
    assert "and 2470 more" in page


def test_what_a_script_or_a_cluster_names_is_escaped():
    row = replace(REAL.stages[0], name="<script>alert(1)</script>")
    page = to_html(state(replace(REAL, stages=(row,))))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("language", ["ko", "ja"])
def test_no_label_is_left_in_english(language):
    text = to_text(state(language=language))
    known = {
        "daily_delays",
        "parquet",
        "count",
        "sum",
        "skewed",
        "py",
        "COMPLETED",
        "KST",
        "MiB",
        "KiB",
        "ms",
        "Spark",
        "origin",
    }
    words = set(re.findall(r"[A-Za-z_]{2,}", text.rpartition("\n")[0])) - known

    assert words <= {"Hk", "mQx", "LpZa"}
    assert len(ENGLISH.stage_columns) == len(words_of(language).stage_columns)


def test_in_the_cloud_the_application_is_named():
    cloud = stages_state(replace(COMPLETED, target="cloud"), REAL, is_final=True)

    assert to_text(cloud).endswith("  Spark application: local-1")
