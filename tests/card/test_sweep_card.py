"""The card of a sweep: its state, its HTML and text, its messages, and the life of its widgets."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import ipywidgets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.output import MOST_ENDED, LiveCard
from dataflow_magic.card.sweep import SWEEP_CARD
from dataflow_magic.card.sweep.html import (
    columns_html,
    parts,
    rows_html,
    summary_html,
    sweep_html,
    sweep_line,
    sweep_text,
)
from dataflow_magic.card.sweep.state import Count, Group, Rows, SweepState, SweepView, sweep_state
from dataflow_magic.card.words import words_of
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.views import asking, run_view
from tests.widgets import Comm, Outputs, seen_in_boxes

NOON = datetime(2026, 11, 1, 12, 0, 0, tzinfo=KST)
WIDGET = "application/vnd.jupyter.widget-view+json"
STARTED = NOON + timedelta(seconds=5)


def run(number: int, status: str = "", **fields: Any) -> RunView:
    """Return a run of one month; without a status it is being submitted."""
    view = run_view(
        NOON,
        job_id="gqigvHq1w2e3",
        job_name="daily_delays",
        condition=JobCondition(num_worker=4),
        parameters={"$month": str(number + 1), "$table": "flights"},
        key=f"k{number}",
    )
    if not status:
        return replace(view, **fields)
    is_over = status in ("COMPLETED", "FAILED", "CANCELED")
    return replace(
        view,
        execution=JobExecution(
            job_execution_id=f"run{number:09}",
            status=status,
            status_detail="starting Spark" if status == "READY" else None,
            end_date=NOON + timedelta(seconds=65) if is_over else None,
        ),
        running_since=None if status == "READY" else STARTED,
        failure=Failure("ValueError: no flights") if status == "FAILED" else None,
        **fields,
    )


def sweep_view(*views: RunView, total: int = 0, **fields: Any) -> SweepView:
    return SweepView(("$month",), total or len(views), tuple(enumerate(views)), key="k2345678", **fields)


def at(seconds: float, view: SweepView, **options: Any) -> SweepState:
    return sweep_state(view, NOON + timedelta(seconds=seconds), **options)


MIXED = sweep_view(
    run(0, "COMPLETED"),
    run(1, "RUNNING"),
    run(2, "FAILED"),
    run(3, "READY"),
    run(4),
    run(5, "CANCELED"),
    total=8,
)
DONE = sweep_view(run(0, "COMPLETED"), run(1, "COMPLETED"), is_over=True)
BROKEN = sweep_view(run(0, "COMPLETED"), run(1, "FAILED"), is_over=True)


def test_several_failed_runs_are_counted_by_cause():
    failures = [Failure("no path s3a://a", error_class="PATH_NOT_FOUND")] * 6 + [Failure("division by zero")]
    views = [replace(run(n, "FAILED"), failure=failure) for n, failure in enumerate(failures)]
    state = at(99, sweep_view(*views, is_over=True))

    assert state.notes == ("7 failed: 6 PATH_NOT_FOUND, 1 division by zero",)
    assert "7 failed: 6 PATH_NOT_FOUND, 1 division by zero" in sweep_html(state)


def test_only_the_most_frequent_causes_are_named():
    views = [replace(run(n, "FAILED"), failure=Failure("x", error_class="ABCDEF"[n // 2])) for n in range(11)]

    assert at(99, sweep_view(*views, is_over=True)).notes == ("11 failed: 2 A, 2 B, 2 C, 2 D, and 2 more",)


class TestState:
    def test_runs_that_need_attention_come_first(self):
        assert [(row.state, row.values) for row in at(9, MIXED).rows] == [
            ("FAILED", ("3",)),
            ("RUNNING", ("2",)),
            ("READY", ("4",)),
            ("SUBMITTING", ("5",)),
            ("CANCELED", ("6",)),
            ("COMPLETED", ("1",)),
        ]

    def test_each_state_is_counted_and_so_are_unsent_runs(self):
        state = at(9, MIXED)

        assert [(count.word, count.number) for count in state.counts] == [
            ("FAILED", 1),
            ("RUNNING", 1),
            ("READY", 1),
            ("SUBMITTING", 1),
            ("CANCELED", 1),
            ("COMPLETED", 1),
            ("UNSENT", 2),
        ]
        assert (state.completed, state.over, state.total) == (1, 3, 8)
        assert (state.can_cancel, state.can_retry) == (2, 1)

    def test_a_row_has_the_swept_values_the_id_the_time_and_the_reason(self):
        failed, running, ready, submitting, canceled, completed = at(9, MIXED).rows

        assert (failed.run_id, failed.time, failed.note) == (
            "run000000002",
            "1 min 00 s",
            "ValueError: no flights",
        )
        assert (running.time, running.note) == ("since 12:00:05", "")
        assert (ready.time, ready.note) == ("", "waiting for: starting Spark")
        assert (submitting.run_id, submitting.note) == ("", "waiting for: the service's answer")
        assert (canceled.time, canceled.note) == ("1 min 00 s", "")
        assert (completed.time, completed.note) == ("1 min 00 s", "")

    def test_a_row_says_that_its_run_was_found_by_its_parameters(self):
        found = [
            run(n, status, found_by="parameters") for n, status in enumerate(["FAILED", "READY", "RUNNING"])
        ]
        failed, running, ready = at(9, sweep_view(*found)).rows

        assert failed.note == "found by its parameters · ValueError: no flights"
        assert running.note == "found by its parameters"
        assert ready.note == "found by its parameters · waiting for: starting Spark"

    def test_nothing_in_a_row_changes_as_time_passes(self):
        assert at(9, MIXED).rows == at(900, MIXED).rows

    def test_elapsed_time_moves_by_its_tick_and_ends_with_the_last_run(self):
        assert at(65.2, MIXED).elapsed == "1 min 05 s"
        assert at(137, MIXED).elapsed == "2 min 10 s"
        assert at(900, DONE).elapsed == "1 min 05 s"
        assert (at(65, MIXED).tick, at(137, MIXED).tick) == (1.0, 10.0)

    @pytest.mark.parametrize(
        ("view", "state"),
        [
            (MIXED, "RUNNING"),
            (replace(MIXED, can_resume=True, stopped="paused"), "PAUSED"),
            (DONE, "COMPLETED"),
            (BROKEN, "FAILED"),
            (sweep_view(run(0, "COMPLETED"), run(1, "CANCELED"), is_over=True), "CANCELED"),
            (sweep_view(run(0, "COMPLETED"), total=3, stopped="no", is_over=True), "UNSENT"),
            (sweep_view(run(0, settled="UNCLEAR"), is_over=True), "FAILED"),
            (sweep_view(run(0, "RUNNING", blind_since=NOON), is_over=True), "RUNNING"),
        ],
        ids=[
            "live",
            "paused",
            "completed",
            "failed",
            "canceled",
            "not all sent",
            "unclear",
            "no longer followed",
        ],
    )
    def test_one_word_summarises_all_runs(self, view, state):
        assert at(99, view).state == state

    def test_silence_is_shown_once_and_not_in_each_row(self):
        silent = {"blind_since": NOON + timedelta(seconds=20), "blind_reason": "connection refused"}
        view = sweep_view(run(0, "RUNNING", **silent), run(1, "RUNNING", **silent), run(2, "COMPLETED"))

        assert at(30, view).notes == ("no answer about 2 since 12:00:20 KST: connection refused",)
        assert at(30, view).kind == "blind"
        assert (
            at(30, view).rows
            == at(30, sweep_view(run(0, "RUNNING"), run(1, "RUNNING"), run(2, "COMPLETED"))).rows
        )

    def test_the_card_shows_why_the_rest_was_not_sent(self):
        assert at(9, replace(MIXED, stopped="400: no\nsuch role")).notes == ("2 not sent: 400: no such role",)
        assert at(9, replace(BROKEN, stopped="no answer")).notes == ("not started again: no answer",)

    def test_a_clock_that_is_off_is_shown_once(self):
        assert at(
            9, sweep_view(run(0, "RUNNING", clock="2 min slow"), run(1, "READY", clock="2 min slow"))
        ).notes == ("2 min slow",)

    def test_a_replaced_run_is_marked_and_counts_as_failed_no_more(self):
        state = at(9, replace(DONE, retried=((1, run(1, "FAILED")),)))

        assert state.state == "COMPLETED"
        assert state.counts[-1] == Count("RETRIED", state.counts[-1].kind, 1)
        assert (state.rows[-1].state, state.rows[-1].note) == (
            "FAILED",
            "retried; its reason was: ValueError: no flights",
        )
        assert state.can_retry == 0

    def test_a_run_that_is_being_retried_is_not_offered_again(self):
        assert at(9, replace(BROKEN, is_over=False)).can_retry == 1
        assert at(9, replace(BROKEN, is_over=False, retrying=frozenset({1}))).can_retry == 0

    def test_at_most_two_hundred_rows_are_shown_and_the_rest_is_counted(self):
        views = [run(number, "FAILED" if number < 3 else "COMPLETED") for number in range(1000)]
        state = at(99, sweep_view(*views))

        assert len(state.rows) == 200
        assert [row.state for row in state.rows[:4]] == ["FAILED"] * 3 + ["COMPLETED"]
        assert [(count.word, count.number) for count in state.more] == [("COMPLETED", 800)]

    def test_a_row_is_made_again_only_when_its_run_has_changed(self):
        rows, view = Rows(("$month",)), run(0, "RUNNING")
        row = rows.of(0, view)

        assert rows.of(0, view) is row
        assert rows.of(0, replace(view, blind_since=NOON)) is row
        assert rows.of(0, run(0, "COMPLETED")).state == "COMPLETED"

    def test_a_time_without_a_zone_and_a_sweep_without_a_run_are_refused(self):
        with pytest.raises(ValueError, match="has no time zone"):
            sweep_state(MIXED, datetime(2026, 11, 1))  # noqa: DTZ001
        with pytest.raises(ValueError, match="has no card"):
            at(0, sweep_view(total=3))


class Read(HTMLParser):
    """Reads HTML as a browser does: tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: list[dict[str, str | None]] = []
        self._text: list[str] = []
        self.cells: list[str] = []
        self._in_style = False
        self._cell: list[str] | None = None
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found.append({"tag": tag, **dict(attrs)})
        self._in_style = tag == "style"
        if tag in ("td", "th"):
            self._cell = []
        if tag in ("td", "th", "p", "tr"):
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        if tag in ("td", "th") and self._cell is not None:
            self.cells.append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self._text.append(data)
            if self._cell is not None:
                self._cell.append(data)


TAGS = {
    "section", "style", "header", "span", "strong", "bdi", "p", "b", "div", "i", "small", "table", "colgroup", "col",
    "thead", "tbody", "tr", "th", "td", "code", "details", "summary", "pre",
}  # fmt: skip


class TestHtml:
    def test_the_card_reads_well_without_any_style(self):
        assert Read(sweep_html(at(70, BROKEN))).text == (
            "✕ FAILED daily_delays sweep of 2 runs on local 1 min 05 s 1 FAILED 1 COMPLETED "
            "submitted 2026-11-01 12:00:00 KST · ended 12:01:05 KST"
            ' · dataflow_magic.get("k2345678").retry_failed() starts the 1 failed again '
            "state month run time "
            "FAILED 2 run000000001 1 min 00 s ValueError: no flights "
            "Parameters: month=2 table=flights the whole log: %dataflow_logs run000000001 --all "
            "COMPLETED 1 run000000000 1 min 00 s the log of one run: %dataflow_logs ID"
        )

    def test_one_bar_shows_the_ended_runs_also_in_words(self):
        (bar,) = [
            found for found in Read(sweep_html(at(9, MIXED))).found if found.get("role") == "progressbar"
        ]

        assert (bar["aria-valuemin"], bar["aria-valuemax"], bar["aria-valuenow"]) == ("0", "8", "3")
        assert bar["aria-valuetext"] == "3 of 8 runs over: 1 completed, 2 not"
        assert bar["aria-label"] == "Runs that are over"
        assert re.findall(r"width:[\d.]+%", summary_html(at(9, MIXED))) == [
            "width:12.5%",
            "width:12.5%",
            "width:12.5%",
        ], "canceled runs have a part of their own"

    def test_the_bar_is_empty_while_no_run_has_ended(self):
        assert "width" not in summary_html(at(0, sweep_view(run(0))))

    def test_the_static_card_of_a_live_sweep_has_its_time_and_a_live_one_has_not(self):
        assert (
            "as of 12:00:09 KST · refresh with %dataflow_status k2345678"
            in Read(sweep_html(at(9, MIXED))).text
        )
        assert "as of" not in summary_html(at(9, MIXED), live=True)

    def test_runs_without_a_row_are_counted_with_the_command_that_lists_them(self):
        views = [run(number, "COMPLETED") for number in range(300)]

        assert Read(sweep_html(at(99, sweep_view(*views, is_over=True)))).text.endswith(
            "the log of one run: %dataflow_logs ID"
            " not shown: 100 COMPLETED; list all with %dataflow_runs --job daily_delays"
        )

    def test_the_variable_of_a_sweep_is_named(self):
        html = sweep_html(at(70, replace(BROKEN, variable="sales")))

        assert "sales.retry_failed()</code> starts the 1 failed again" in html

    def test_a_run_that_did_not_complete_shows_its_whole_reason_its_log_and_its_parameters_on_demand(self):
        reason = "no path s3a://sales/" + "x" * 400
        view = replace(run(1, "FAILED"), failure=Failure(reason, ("reading", "stopped")))
        html = sweep_html(at(70, sweep_view(run(0, "COMPLETED"), view, is_over=True)))

        (details,) = re.findall("<details>.*?</details>", html, re.DOTALL)
        assert Read(details).text == (
            f"{reason} Parameters: month=2 table=flightsreading stopped"
            " the whole log: %dataflow_logs run000000001 --all"
        )

    def test_a_saved_card_has_the_logs_of_some_runs_and_the_commands_of_all(self):
        views = [replace(run(n, "FAILED"), failure=Failure("x", ("y" * 900,) * 9)) for n in range(60)]
        html = sweep_html(at(70, sweep_view(*views, is_over=True)))

        assert html.count("<pre>") == 20
        assert html.count(" --all</code>") == 60
        assert len(re.findall("<pre>(.*?)</pre>", html, re.DOTALL)[0]) == 2_000 + 2, "two line ends"

    def test_unsent_runs_are_counted_with_the_method_that_sends_them(self):
        html = sweep_html(at(99, sweep_view(run(0, "COMPLETED"), total=3, stopped="no", is_over=True)))

        assert ".resume() starts the 2 unsent" in Read(html).text

    def test_the_card_of_a_waiting_cell_shows_how_to_stop_waiting(self):
        assert "interrupt the kernel to stop waiting; the runs continue" in summary_html(
            at(9, MIXED, kernel_waits=True)
        )

    def test_a_run_that_changes_its_state_changes_two_parts(self):
        views = [run(number, "READY") for number in range(1000)]
        before = parts(at(9, sweep_view(*views)))
        views[7] = run(7, "RUNNING")
        after = parts(at(9, sweep_view(*views)))

        assert len(before) == 10
        assert {key for key in before | after if before.get(key) != after.get(key)} == {
            (Group.RUNNING, 0),
            (Group.WAITING, 0),
        }

    def test_parts_have_the_columns_of_the_whole(self):
        state = at(9, MIXED)
        whole = Read(sweep_html(state))
        part = Read("".join(rows_html(state, rows) for rows in parts(state).values()))

        assert whole.cells == Read(columns_html(state)).cells + part.cells
        assert part.tags.count("col") == 4 * part.tags.count("table")

    def test_an_id_and_a_command_are_selected_whole_without_the_style_sheet(self):
        views = [run(number, "COMPLETED") for number in range(201)]
        codes = [each for each in Read(sweep_html(at(99, sweep_view(*views)))).found if each["tag"] == "code"]

        assert [each["style"] for each in codes] == ["user-select:all;-webkit-user-select:all"] * 202

    def test_the_style_sheet_survives_the_escaping(self):
        html = sweep_html(at(9, MIXED))

        assert ".dfm-rows.dfm-rows{box-sizing:border-box;max-height:320px;" in html
        assert "&" not in html.split("</style>")[1].split("<style>")[-1]


class TestText:
    def test_the_text_has_the_counts_and_the_runs_that_did_not_complete(self):
        assert sweep_text(at(9, MIXED, kernel_waits=True)) == (
            "RUNNING  daily_delays  3 of 8 runs over  9 s  local\n"
            "  1 FAILED, 1 RUNNING, 1 READY, 1 SUBMITTING, 1 CANCELED, 1 COMPLETED, 2 UNSENT\n"
            "  as of 12:00:09 KST; refresh with %dataflow_status k2345678\n"
            "  Ctrl-C: interrupt the kernel to stop waiting; the runs continue\n"
            "  FAILED  month=3  run000000002  ValueError: no flights\n"
            "  CANCELED  month=6  run000000005"
        )

    def test_one_line_has_the_counts(self):
        assert sweep_line(at(9, replace(BROKEN, is_over=False))) == (
            "2 of 2 runs over  daily_delays  1 FAILED, 1 COMPLETED  9 s"
        )

    def test_the_text_has_at_most_thirty_lines(self):
        views = [run(number, "FAILED") for number in range(500)]
        lines = sweep_text(at(99, sweep_view(*views, is_over=True))).splitlines()

        assert len(lines) == 30
        assert lines[-1] == "  and 475 more; list all with %dataflow_runs --job daily_delays"


class TestLanguages:
    def test_a_state_keeps_the_service_s_word_next_to_its_meaning(self):
        both = replace(MIXED, retried=((6, run(6, "FAILED")),))

        for language, glosses in (
            ("ko", ["실패", "실행 중", "대기 중", "요청 중", "취소", "완료", "다시 실행됨", "미전송"]),
            ("ja", ["失敗", "実行中", "待機中", "送信中", "キャンセル", "完了", "再実行済み", "未送信"]),
            ("en", [""] * 8),
        ):
            counts = at(9, both, words=words_of(language)).counts
            assert [(count.word, count.gloss) for count in counts] == list(
                zip(
                    [
                        *("FAILED", "RUNNING", "READY", "SUBMITTING"),
                        *("CANCELED", "COMPLETED", "RETRIED", "UNSENT"),
                    ],
                    glosses,
                    strict=True,
                )
            )

    def test_a_card_in_korean(self):
        html = sweep_html(at(70, replace(BROKEN, total=3, stopped="no role"), words=words_of("ko")))

        assert Read(html).text == (
            "✕ FAILED 실패 daily_delays 스윕: 실행 3개 · local 1분 05초 1 FAILED 실패 1 COMPLETED 완료 1 UNSENT 미전송 "
            "1개 전송 안 함: no role "
            "요청 2026-11-01 12:00:00 KST · 종료 12:01:05 KST"
            ' · dataflow_magic.get("k2345678").retry_failed(): 실패한 1개 다시 실행'
            ' · dataflow_magic.get("k2345678").resume(): 전송하지 않은 1개 시작 '
            "상태 month 실행 시간 "
            "실패 2 run000000001 1분 00초 ValueError: no flights "
            "파라미터: month=2 table=flights 전체 로그: %dataflow_logs run000000001 --all "
            "완료 1 run000000000 1분 00초 실행 하나의 로그: %dataflow_logs ID"
        )
        assert 'lang="ko"' in html

    def test_a_card_in_japanese(self):
        view = replace(MIXED, stopped="the sweep was canceled")

        assert sweep_text(at(9, view, kernel_waits=True, words=words_of("ja"))) == (
            "RUNNING (実行中)  daily_delays  実行 8 件中 3 件終了  9秒  local\n"
            "  1 FAILED 失敗, 1 RUNNING 実行中, 1 READY 待機中, 1 SUBMITTING 送信中, "
            "1 CANCELED キャンセル, 1 COMPLETED 完了, 2 UNSENT 未送信\n"
            "  2 件は未送信: スイープがキャンセルされました\n"
            "  12:00:09 KST 時点。更新: %dataflow_status k2345678\n"
            "  Ctrl-C: カーネルを中断すると待機だけが終わり、実行は続きます\n"
            "  失敗  month=3  run000000002  ValueError: no flights\n"
            "  キャンセル  month=6  run000000005"
        )

    def test_the_rows_and_their_labels_for_screen_readers_are_in_the_language(self):
        state = at(9, MIXED, words=words_of("ja"))
        labels = [
            each["aria-label"]
            for rows in parts(state).values()
            for each in Read(rows_html(state, rows)).found
            if each["tag"] == "table"
        ]

        assert [(row.time, row.note) for row in state.rows] == [
            ("1分00秒", "ValueError: no flights"),
            ("12:00:05 から", ""),
            ("", "待機: Spark の起動"),
            ("", "待機: サービスの応答"),
            ("1分00秒", ""),
            ("1分00秒", ""),
        ]
        assert labels == ["実行: 失敗", "実行: 実行中", "実行: 待機中", "実行: キャンセル", "実行: 完了"]

    def test_rows_of_unchanged_runs_change_their_language(self):
        rows, view = Rows(("$month",)), run(0, "RUNNING")

        assert rows.of(0, view).time == "since 12:00:05"
        assert rows.of(0, view, words_of("ko")).time == "12:00:05부터"


# Surrogates too: text from a notebook or a log may hold them.
ANY_TEXT = st.text(st.characters(), max_size=200)


@given(name=ANY_TEXT, value=ANY_TEXT, word=ANY_TEXT, state=ANY_TEXT, reason=ANY_TEXT)
def test_no_text_breaks_the_encoding_the_markup_or_the_layout(name, value, word, state, reason):
    view = replace(
        asking(run(0), parameters={name: value}),
        job_name=name,
        execution=JobExecution(job_execution_id=word, status=state, status_detail=reason, end_date=NOON),
        blind_reason=reason,
        clock=reason,
    )
    live = replace(view, blind_since=NOON, execution=JobExecution(job_execution_id=word, status=state))
    both = SweepView((name,), 3, ((0, view), (1, live)), stopped=reason)
    shown = at(0, both)

    html, text = sweep_html(shown), sweep_text(shown)
    html.encode()
    text.encode()
    assert set(Read(html).tags) <= TAGS
    assert [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n"] == []


# The widgets


@pytest.fixture(autouse=True)
def _widgets_are_closed(made: list[ipywidgets.Widget]) -> None: ...


@pytest.fixture
def card(outputs: Outputs, clicks: list[str]) -> LiveCard[SweepState]:
    return LiveCard(
        SWEEP_CARD,
        Actions(
            lambda: clicks.append("cancel"),
            lambda: clicks.append("retry"),
            pause=lambda pauses: clicks.append("pause" if pauses else "resume"),
        ),
        display=outputs,
    )


def wired(made: list[ipywidgets.Widget]) -> list[Comm]:
    """Return wires that record what the widgets send from now on."""
    wires = []
    for widget in made:
        if widget.comm is None:
            continue
        widget.comm = wire = Comm(widget)
        wires.append(wire)
    return wires


def messages(wires: list[Comm]) -> list[dict[str, Any]]:
    return [state for wire in wires for state in wire.sent]


def button(made: list[ipywidgets.Widget], words: str) -> Any:
    return next(each for each in seen_in_boxes(made) if getattr(each, "description", "").startswith(words))


def buttons(made: list[ipywidgets.Widget]) -> list[str]:
    """Return the labels of the visible buttons, and the question that is asked."""
    seen = seen_in_boxes(made)
    return [Read(each.value).text if isinstance(each, ipywidgets.HTML) else each.description for each in seen]


def shown_text(made: list[ipywidgets.Widget]) -> str:
    return " ".join(Read(widget.value).text for widget in made if isinstance(widget, ipywidgets.HTML))


class TestSweepCard:
    def test_one_output_has_the_widget_and_the_static_card(self, card, outputs):
        card.show(at(9, MIXED))

        (bundle,) = outputs.bundles.values()
        assert set(bundle) == {WIDGET, "text/html", "text/plain"}
        assert bundle["text/plain"] == sweep_text(at(9, MIXED))
        assert bundle[WIDGET]["model_id"] in ipywidgets.Widget.get_manager_state()["state"]

    def test_the_widgets_show_the_same_as_the_static_card(self, card, made):
        card.show(at(9, MIXED))

        text = shown_text(made)
        assert "▶\ufe0e RUNNING daily_delays sweep of 8 runs on local" in text
        assert "1 FAILED 1 RUNNING 1 READY" in text
        assert "FAILED 3 run000000002 1 min 00 s ValueError: no flights" in text

    def test_an_update_without_a_change_sends_nothing(self, card, made):
        card.show(at(9.1, MIXED))
        wires = wired(made)
        card.update(at(9.8, MIXED))

        assert messages(wires) == []

    def test_a_tick_repaints_the_clock_alone(self, card, made):
        card.show(at(9, MIXED))
        wires = wired(made)
        card.update(at(10, MIXED))

        assert [Read(state["value"]).text for state in messages(wires)] == ["10 s"]

    def test_a_change_of_one_run_in_a_thousand_sends_few_and_small_messages(self, card, made):
        views = [run(number, "RUNNING" if number < 20 else "READY") for number in range(1000)]
        card.show(at(9.1, sweep_view(*views)))
        wires = wired(made)
        views[3] = run(3, "COMPLETED")
        card.update(at(9.2, sweep_view(*views)))

        sent = messages(wires)
        new = [widget for widget in made[len(wires) :] if isinstance(widget, ipywidgets.HTML)]
        assert len(sent) == 4, "the counts, the part it left, which parts there are, and what is not drawn"
        assert len(new) == 1, "the part of the one that can be seen now"
        assert len(json.dumps(sent)) + len(new[0].value) < 10_000

    def test_an_update_without_rows_leaves_them_to_a_later_one(self, card, made):
        card.show(at(9.1, MIXED))
        changed = replace(MIXED, runs=(*MIXED.runs[:3], (3, run(3, "RUNNING")), *MIXED.runs[4:]))
        wires = wired(made)
        card.update(at(9.2, changed), whole=False)
        assert ["2 RUNNING" in Read(state["value"]).text for state in messages(wires)] == [True]

        card.update(at(9.3, changed))
        assert len(messages(wires)) > 1
        assert "RUNNING 4 run000000003 since 12:00:05" in shown_text(made)

    def test_rows_move_between_parts_and_no_widget_is_left_over(self, card, made):
        ready = sweep_view(*(run(number, "READY") for number in range(40)))
        card.show(at(9, ready))
        before = len(made)
        for status in ("RUNNING", "COMPLETED", "FAILED"):
            card.update(at(9, sweep_view(*(run(number, status) for number in range(40)))))

        assert len(made) == before, "the parts that were left are used again"
        rows = next(each for each in made if "dfm-rows" in getattr(each, "_dom_classes", ()))
        assert [Read(part.value).tags.count("tr") for part in rows.children] == [1, 40, 40, 0], (
            "the reason of each is a row"
        )

    def test_however_many_clicks_on_cancel_all_cancel_nothing(self, card, made, clicks):
        card.show(at(9, MIXED))
        cancel = button(made, "Cancel")
        for _ in range(5):
            cancel.click()

        assert clicks == []
        assert buttons(made) == [
            "Retry failed (1)",
            "Cancel all",
            "Cancel 2 runs?",
            "Yes, cancel",
            "Keep running",
        ]

    def test_canceling_all_asks_for_confirmation_once(self, card, made, clicks):
        card.show(at(9, MIXED))
        assert buttons(made) == ["Retry failed (1)", "Cancel all"]

        button(made, "Cancel").click()
        assert clicks == []

        confirm = button(made, "Yes")
        confirm.click()
        confirm.click()
        button(made, "Cancelling").click()
        assert clicks == ["cancel"]
        assert buttons(made) == ["Retry failed (1)", "Cancelling…"]

    def test_the_question_counts_the_runs_that_were_found_by_their_parameters(self, card, made):
        found = [run(n, "RUNNING", found_by="parameters") for n in (0, 1)]
        asked = replace(found[1], cancel_requested=True)
        card.show(
            at(9, sweep_view(found[0], asked, run(2, "RUNNING"), run(3, "COMPLETED", found_by="parameters")))
        )
        button(made, "Cancel").click()

        assert "Cancel 2 runs, 1 of them found by parameters?" in buttons(made)

    def test_keep_withdraws_the_confirmation(self, card, made, clicks):
        card.show(at(9, MIXED))
        button(made, "Cancel").click()
        button(made, "Keep").click()

        assert buttons(made) == ["Retry failed (1)", "Cancel all"]
        assert clicks == []

    def test_the_confirmation_has_the_current_number_of_runs(self, card, made):
        card.show(at(9, MIXED))
        button(made, "Cancel").click()
        card.update(at(9, sweep_view(run(0, "RUNNING"), run(1, "COMPLETED"), total=3)))

        assert "Cancel 1 run?" in buttons(made)

    def test_a_refused_cancel_can_be_retried(self, card, made, clicks):
        card.show(at(9, MIXED))
        for _ in range(2):
            button(made, "Cancel").click()
            button(made, "Yes").click()
            card.offer()

        assert clicks == ["cancel", "cancel"]

    def test_runs_with_a_cancel_sent_are_not_offered_again(self, card, made):
        card.show(at(9, sweep_view(run(0, "RUNNING", cancel_requested=True))))

        assert buttons(made) == ["Cancelling…"]

    def test_a_retry_asks_for_no_confirmation(self, card, made, clicks):
        card.show(at(9, MIXED))
        button(made, "Retry").click()
        button(made, "Retry").click()

        assert clicks == ["retry"]

    def test_one_button_pauses_the_starts_and_then_resumes_them(self, card, made, clicks):
        card.show(at(9, replace(MIXED, can_pause=True)))
        assert buttons(made) == ["Retry failed (1)", "Pause", "Cancel all"]
        button(made, "Pause").click()
        button(made, "Pause").click()
        assert clicks == ["pause"]

        card.offer()
        card.update(at(10, replace(MIXED, can_resume=True, stopped="paused")))
        assert buttons(made) == ["Retry failed (1)", "Resume (2)", "Cancel all"]
        assert "PAUSED" in shown_text(made)
        assert "2 not sent: paused" in shown_text(made)
        button(made, "Resume").click()
        assert clicks == ["pause", "resume"]

    def test_where_nothing_is_left_to_start_nothing_can_be_paused(self, card, made, clicks):
        card.show(at(9, replace(MIXED, can_pause=True)))
        pause = button(made, "Pause")
        card.update(at(10, MIXED))
        pause.click()

        assert buttons(made) == ["Retry failed (1)", "Cancel all"]
        assert clicks == []

    @pytest.mark.parametrize(
        ("language", "pause", "resume", "word"),
        [
            ("ko", "일시 중지", "재개 (2)", "2개 전송 안 함: 일시 중지되었습니다"),
            ("ja", "一時停止", "再開 (2)", "2 件は未送信: 一時停止中です"),
        ],
    )
    def test_pausing_is_in_the_language_of_the_card(self, card, made, language, pause, resume, word):
        card.show(at(9, replace(MIXED, can_pause=True), words=words_of(language)))
        assert pause in buttons(made)
        card.update(at(10, replace(MIXED, can_resume=True, stopped="paused"), words=words_of(language)))
        assert resume in buttons(made)
        assert word in shown_text(made)

    def test_a_button_that_was_used_keeps_the_focus_of_the_keyboard(self, card, made):
        card.show(at(9, MIXED))
        button(made, "Retry").click()
        card.update(at(10, sweep_view(*(run(number, "RUNNING") for number in range(3)))))

        assert buttons(made) == ["Retry failed (0)", "Cancel all"], (
            "a button that goes takes the focus with it"
        )
        assert not button(made, "Retry").disabled

    def test_a_click_whose_action_raises_enables_the_button_again(self, made, outputs, caplog):
        def fail() -> None:
            raise RuntimeError("the loop is gone")

        LiveCard(SWEEP_CARD, Actions(fail, fail), display=outputs).show(at(9, MIXED))
        for _ in range(2):
            button(made, "Retry").click()

        assert caplog.text.count("the loop is gone") > 1

    def test_while_a_cell_waits_there_are_no_buttons(self, card, made):
        card.show(at(9, MIXED, kernel_waits=True))
        assert buttons(made) == []

        card.update(at(9, MIXED))
        assert buttons(made) == ["Retry failed (1)", "Cancel all"]

    def test_a_live_card_changes_its_language(self, card, made, clicks):
        card.show(at(9, MIXED))
        card.update(at(9, MIXED, words=words_of("ko")))

        text = shown_text(made)
        assert "실패 3 run000000002 1분 00초 ValueError: no flights" in text
        assert "상태 month 실행 시간" in text
        assert buttons(made) == ["실패만 다시 실행 (1)", "모두 취소"]
        button(made, "모두 취소").click()
        assert buttons(made)[1:] == ["모두 취소", "실행 2개를 취소할까요?", "예, 취소합니다", "계속 실행"]
        button(made, "예").click()
        assert buttons(made)[1:] == ["취소 중…"]
        assert clicks == ["cancel"]

    def test_every_output_ends_with_html_that_needs_no_kernel(self, card, outputs):
        card.show(at(4, MIXED))
        card.show(at(5, MIXED))
        card.finish(at(99, BROKEN))

        assert all("ValueError: no flights" in bundle["text/html"] for bundle in outputs.saved.values())
        assert all(
            "dfm-final" in bundle["text/html"].split("<style>")[0] for bundle in outputs.saved.values()
        )

    def test_an_ended_sweep_can_be_retried_and_then_lives_on(self, card, made, outputs, clicks):
        card.show(at(4, MIXED))
        card.finish(at(99, BROKEN))
        assert buttons(made) == ["Retry failed (1)"]
        button(made, "Retry").click()
        assert clicks == ["retry"]

        card.reopen()
        card.offer()
        card.update(at(100, replace(BROKEN, runs=MIXED.runs[:2], is_over=False)))
        assert buttons(made) == ["Retry failed (0)", "Cancel all"]
        card.finish(at(120, DONE))
        assert buttons(made) == ["Retry failed (0)"]
        (saved,) = outputs.saved.values()
        assert saved["text/plain"].startswith("COMPLETED")

    def test_after_the_end_nothing_is_sent(self, card, made, outputs, clicks):
        card.show(at(4, MIXED))
        asked = button(made, "Cancel")
        card.finish(at(99, DONE))
        calls = outputs.calls
        card.finish(at(99, DONE))
        card.update(at(100, MIXED))
        asked.click()
        card.offer()

        assert outputs.calls == calls
        assert clicks == []

    def test_only_the_newest_ended_cards_keep_their_widgets(self, outputs, made):
        for _ in range(MOST_ENDED + 3):
            card = LiveCard(SWEEP_CARD, Actions(), display=outputs)
            card.show(at(4, MIXED))
            card.finish(at(99, DONE))

        kinds = [set(bundle) for bundle in outputs.bundles.values()]
        assert kinds == [{"text/html", "text/plain"}] * 3 + [{WIDGET, "text/html", "text/plain"}] * MOST_ENDED
        alive = ipywidgets.Widget.get_manager_state()["state"]
        assert sum(widget.model_id in alive for widget in made if widget.comm) <= 32 * MOST_ENDED

    def test_changed_widgets_are_sent_again_for_pages_that_missed_them(self, card, made):
        card.show(at(0, MIXED))
        card.update(at(0, MIXED))
        wires = wired(made)
        for second in range(1, 10):
            card.update(at(second, MIXED))
        first = len(messages(wires))
        for second in range(10, 20):
            card.update(at(second, MIXED))

        assert first > 9
        assert len(messages(wires)) - first <= 11 + 1, "nothing but the clock had changed since"

    def test_without_widgets_a_change_is_repainted_and_the_passing_of_time_is_not(self, outputs, made):
        card = LiveCard(SWEEP_CARD, Actions(), display=outputs, interactive=False)
        card.show(at(4, MIXED))
        card.update(at(5, MIXED))
        card.update(at(5, DONE), whole=False)
        assert outputs.calls == 1

        card.update(at(6, BROKEN))
        card.finish(at(6, BROKEN))
        assert outputs.calls == 2
        assert made == []
