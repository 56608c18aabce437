"""The card of a run: its state, its HTML and text, and the life of its widgets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import ipywidgets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.format import Kind, Row, tick_seconds
from dataflow_magic.card.look import Look
from dataflow_magic.card.markup import style_sheet
from dataflow_magic.card.output import MOST_ENDED, LiveCard
from dataflow_magic.card.run import RUN_CARD
from dataflow_magic.card.run.html import COPY, to_html, to_line, to_text
from dataflow_magic.card.run.state import CardState, card_state
from dataflow_magic.card.words import words_of
from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.log import LogTail
from dataflow_magic.models.view import KST, Past, Progress, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.views import asking, run_view
from tests.widgets import Comm, Outputs, seen_in_boxes

NOON = datetime(2026, 11, 1, 12, 0, 0, tzinfo=KST)
WIDGET = "application/vnd.jupyter.widget-view+json"

SENT = run_view(
    NOON,
    job_id="gqigvHq1w2e3",
    job_name="daily_delays",
    condition=JobCondition(num_worker=4, timeout=60),
    parameters={"$table_name": "test.flights"},
)


def in_state(status: str, view: RunView = SENT, **more: Any) -> RunView:
    return replace(view, execution=JobExecution(job_execution_id="7Hk2mQx9LpZa", status=status, **more))


def at(seconds: float, view: RunView, **options: Any) -> CardState:
    return card_state(view, NOON + timedelta(seconds=seconds), **options)


def with_parameters(**parameters: Any) -> RunView:
    return asking(SENT, parameters={f"${name}": value for name, value in parameters.items()})


READY = in_state("READY", status_detail="starting Spark")
RUNNING = in_state("RUNNING")
BLIND = replace(RUNNING, blind_since=NOON + timedelta(seconds=20), blind_reason="connection refused")
CANCELING = replace(RUNNING, cancel_requested=True)
COMPLETED = in_state("COMPLETED", end_date=NOON + timedelta(seconds=187))
HALF_WAY = replace(RUNNING, progress=Progress(1, 3, 50, 200, doing="count at daily.py:14"))
FAILED = replace(
    in_state("FAILED", end_date=NOON + timedelta(seconds=187)),
    failure=Failure(
        "ValueError: no flights", ("Traceback (most recent call last):", "ValueError: no flights")
    ),
)


class TestFailure:
    VIEW = replace(
        FAILED,
        failure=Failure(
            "no column `a`",
            error_class="UNRESOLVED_COLUMN",
            place=Place("daily.py", 9, "late", 'f.where("a > <1>")'),
        ),
    )

    def test_the_class_and_the_own_line_follow_the_reason(self):
        html = to_html(at(200, self.VIEW))

        assert "<bdi>no column `a`</bdi> <code>UNRESOLVED_COLUMN</code>" in html
        assert "daily.py, line 9, in late\n  f.where(&quot;a &gt; &lt;1&gt;&quot;)</pre>" in html
        assert (
            '  no column `a` [UNRESOLVED_COLUMN]\n    daily.py, line 9, in late\n      f.where("a > <1>")\n'
        ) in to_text(at(200, self.VIEW))

    def test_a_class_that_the_reason_names_is_not_repeated(self):
        view = replace(FAILED, failure=Failure("ValueError: no flights", error_class="ValueError"))

        assert at(200, view).error_class == ""

    def test_a_line_whose_text_is_unknown_is_named_alone(self):
        view = replace(FAILED, failure=Failure("division by zero", place=Place("daily.py", 6)))

        assert "  division by zero\n    daily.py, line 6\n" in to_text(at(200, view))

    def test_the_expression_that_failed_follows_the_own_line_and_what_to_try_follows_both(self):
        failure = Failure(
            "division by zero",
            place=Place("daily.py", 6, source="spark.sql(query)"),
            expression="a < 1 / b",
            advice="guard it",
        )
        view = replace(FAILED, failure=failure)

        assert "  spark.sql(query)\nexpression: a &lt; 1 / b</pre>" in to_html(at(200, view))
        assert (
            "      spark.sql(query)\n    expression: a < 1 / b\n  What to try: guard it; run again: "
        ) in to_text(at(200, view))

    @pytest.mark.parametrize("source", ["df.select(1 / b)", ""])
    def test_an_expression_that_the_line_or_the_reason_shows_is_not_repeated(self, source):
        reason = "division by zero" if source else "division by zero in 1 / b"
        failure = Failure(reason, place=Place("daily.py", 6, source=source), expression="1 / b")

        assert at(200, replace(FAILED, failure=failure)).expression == ""


class TestState:
    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (-5, "0 s"),
            (0, "0 s"),
            (12.9, "12 s"),
            (65, "1 min 05 s"),
            (119.9, "1 min 59 s"),
            (129, "2 min 00 s"),
            (187, "3 min 00 s"),
            (3599, "59 min 50 s"),
            (3725, "1 h 02 min"),
            (90_000, "25 h 00 min"),
        ],
    )
    def test_elapsed_time_of_a_live_run_moves_by_its_tick(self, seconds, shown):
        assert at(seconds, RUNNING).elapsed == shown

    def test_an_ended_run_shows_how_long_it_ran_and_waited_and_else_its_total(self):
        assert at(9_999, COMPLETED).elapsed == "3 min 07 s in all"
        ran = at(9_999, replace(COMPLETED, running_since=NOON + timedelta(seconds=7)))
        assert (ran.elapsed, ran.waited) == ("ran 3 min 00 s", "waited 7 s")
        assert "submitted 2026-11-01 12:00:00 KST, waited 7 s, ended 12:03:07 KST" in to_text(ran)

    def test_the_elapsed_time_does_not_step_back_at_the_end(self):
        # The service's end is in whole seconds.
        late = replace(SENT, submitted_at=NOON + timedelta(seconds=0.9))
        assert at(11.9, late).elapsed == "11 s"
        over = in_state("CANCELED", late, created_date=NOON, end_date=NOON + timedelta(seconds=11))
        assert at(12, over).elapsed == "11 s in all"

    @pytest.mark.parametrize(("minutes", "shown"), [(4, "ran 4 min"), (0, ""), (None, "")])
    def test_without_an_end_date_the_minutes_of_the_service_are_shown(self, minutes, shown):
        assert at(9_999, in_state("CANCELED", running_time=minutes)).elapsed == shown

    @pytest.mark.parametrize(("elapsed", "seconds"), [(0, 1), (119.9, 1), (120, 10), (4_000, 10)])
    def test_the_clock_ticks_every_second_for_two_minutes_then_every_ten(self, elapsed, seconds):
        assert tick_seconds(elapsed) == seconds

    @pytest.mark.parametrize(
        ("view", "state", "kind"),
        [
            (SENT, "SUBMITTING", Kind.WAITING),
            (READY, "READY", Kind.WAITING),
            (RUNNING, "RUNNING", Kind.RUNNING),
            (BLIND, "RUNNING", Kind.BLIND),
            (COMPLETED, "COMPLETED", Kind.GOOD),
            (FAILED, "FAILED", Kind.BAD),
            (in_state("CANCELED"), "CANCELED", Kind.CANCELED),
            (in_state("SUSPENDED"), "SUSPENDED", Kind.UNKNOWN),
            (in_state(""), "NO STATE", Kind.UNKNOWN),
        ],
    )
    def test_the_state_is_the_service_s_word_and_decides_the_colour(self, view, state, kind):
        shown = at(1, view)

        assert (shown.state, shown.kind) == (state, kind)

    @pytest.mark.parametrize("view", [RUNNING, READY, COMPLETED, FAILED, BLIND])
    @pytest.mark.parametrize(
        ("language", "label"),
        [
            ("en", "found by its parameters"),
            ("ko", "파라미터로 찾은 실행"),
            ("ja", "パラメータで特定した実行"),
        ],
    )
    def test_a_run_that_was_found_by_its_parameters_is_labelled_so(self, view, language, label):
        state = at(20, replace(view, found_by="parameters"), words=words_of(language))

        assert label in Read(to_html(state)).text
        assert label in to_text(state)
        assert label in to_line(state)
        for other in ("", "marker", "user"):
            certain = at(20, replace(view, found_by=other), words=words_of(language))
            assert label not in to_html(certain) + to_text(certain) + to_line(certain)

    @pytest.mark.parametrize(
        ("past", "seconds", "shown", "is_late"),
        [
            (None, 10, "", False),
            (Past(0, 0, 0, 0), 10, "", False),
            (Past(95.4, 95.4, 95.4, 1), 10, "1 min 35 s the last time", False),
            (Past(95.4, 95.4, 95.4, 1), 500, "1 min 35 s the last time", False),
            (Past(185, 130, 300, 8), 300, "usually 3 min 05 s (2 min 10 s to 5 min 00 s in 8 runs)", False),
            (Past(185, 130, 300, 8), 310, "longer than its last 8 completed runs (at most 5 min 00 s)", True),
        ],
    )
    def test_the_card_compares_the_run_with_its_job_s_earlier_runs(self, past, seconds, shown, is_late):
        state = at(60 + seconds, replace(RUNNING, past=past, running_since=NOON + timedelta(seconds=60)))

        assert (state.past, state.is_late) == (shown, is_late)

    @pytest.mark.parametrize("view", [READY, RUNNING, replace(READY, settled="UNCLEAR")])
    def test_a_run_is_not_late_while_it_waits_or_nobody_knows_since_when_it_runs(self, view):
        assert not at(9_999, replace(view, past=Past(185, 130, 300, 8))).is_late

    @pytest.mark.parametrize(
        ("progress", "shown"),
        [
            (Progress(1, 3, 50, 200), "50 of 200 tasks · 1 of 3 stages"),
            (Progress(1, 3, 50, 200, 2), "50 of 200 tasks · 1 of 3 stages · failed attempts: 2"),
        ],
    )
    def test_progress_is_shown_in_tasks_and_stages(self, progress, shown):
        bar = at(4, replace(RUNNING, progress=progress)).bar

        assert bar is not None
        assert (bar.share, bar.text) == (0.25, shown)

    def test_the_bar_never_falls_and_is_never_full_before_the_plan_is_known(self):
        seen, progress = [], None
        for done, total in ((1, 1), (7, 9), (9, 9), (12, 40), (39, 40)):
            progress = Progress(1, 2, done, total).after(progress)
            bar = at(4, replace(RUNNING, progress=progress)).bar
            assert bar is not None
            seen.append((round(bar.share, 3), bar.text))

        assert seen == [
            (0.0, "1 tasks done"),
            (0.778, "7 of 9 tasks · 1 of 2 stages"),
            (0.778, "9 tasks done"),
            (0.778, "12 of 40 tasks · 1 of 2 stages"),
            (0.975, "39 of 40 tasks · 1 of 2 stages"),
        ]

    def test_the_bar_of_a_failed_run_stays_where_it_was(self):
        last = Progress(1, 2, 12, 40).after(Progress(1, 2, 7, 9).after(None))
        bar = at(190, replace(FAILED, progress=last)).bar

        assert bar is not None
        assert round(bar.share, 3) == 0.778

    @pytest.mark.parametrize(("value", "shown"), [("", '""'), ("a\nb\r\nc", "a⏎b⏎c"), (" ", " ")])
    def test_an_empty_value_and_the_ends_of_lines_are_seen(self, value, shown):
        assert at(4, asking(RUNNING, parameters={"$note": value})).parameters == (Row("note", shown),)

    def test_the_error_of_a_click_is_shown(self):
        view = replace(RUNNING, remark="the cancel was not accepted:\n no answer")

        assert "the cancel was not accepted: no answer" in to_text(at(4, view))

    def test_a_silent_service_is_shown_with_the_time_and_the_reason(self):
        assert at(95, BLIND).blind == "no answer since 12:00:20 KST: connection refused"
        assert at(95, BLIND).elapsed == "1 min 35 s"

    def test_a_silence_that_began_on_another_day_has_its_date(self):
        assert at(86_400, BLIND).blind.startswith("no answer since 2026-11-01 12:00:20 KST")

    def test_a_run_that_is_being_reconciled_shows_its_reason_alone(self):
        story = "the answer to its start was lost; it is looked for until 12:06:00 KST, when no run of it can be created any more"
        lost = replace(BLIND, execution=None, is_lost=True, blind_reason=story)

        assert at(95, lost).blind == story

    def test_an_ended_run_is_not_blind_waiting_or_canceling(self):
        over = at(200, replace(COMPLETED, blind_since=NOON, cancel_requested=True))

        assert (over.kind, over.blind, over.waiting, over.cancel) == (Kind.GOOD, "", "", "")

    def test_times_are_korean_whatever_the_zone_of_the_clock(self):
        shown = card_state(RUNNING, datetime(2026, 11, 1, 3, 3, 4, tzinfo=UTC))

        assert (shown.as_of, shown.submitted) == ("12:03:04 KST", "2026-11-01 12:00:00 KST")

    def test_an_end_on_another_day_has_its_date(self):
        late = in_state("COMPLETED", end_date=NOON + timedelta(hours=13))

        assert (at(0, COMPLETED).ended, at(0, late).ended) == ("12:03:07 KST", "2026-11-02 01:00:00 KST")

    def test_a_clock_without_a_zone_is_refused(self):
        with pytest.raises(ValueError, match="now=2026-11-01T12:00:00 has no time zone"):
            card_state(RUNNING, datetime(2026, 11, 1, 12))  # noqa: DTZ001

    @pytest.mark.parametrize(
        ("view", "waiting"),
        [
            (SENT, "waiting for: the service's answer"),
            (READY, "waiting for: starting Spark"),
            (in_state("READY"), "waiting for: the service to start it"),
            (RUNNING, ""),
        ],
    )
    def test_a_run_that_is_not_running_shows_what_it_waits_for(self, view, waiting):
        assert at(1, view).waiting == waiting

    @pytest.mark.parametrize(
        ("view", "can"), [(SENT, False), (READY, True), (BLIND, True), (CANCELING, False), (COMPLETED, False)]
    )
    def test_a_run_can_be_canceled_from_its_id_to_its_cancel_or_end(self, view, can):
        assert at(30, view).can_cancel is can

    def test_the_refresh_command_names_the_run_or_else_lists_all(self):
        assert at(1, RUNNING).refresh == "%dataflow_status 7Hk2mQx9LpZa"
        assert at(1, SENT).refresh == "%dataflow_runs"

    @pytest.mark.parametrize(
        ("target", "endpoint", "shown"),
        [
            ("local", "http://127.0.0.1:4242", "local"),
            ("cloud", "https://dataflow.apigw.ntruss.com", "cloud"),
            ("staging", "https://dataflow.apigw.gov-ntruss.com/", "staging (dataflow.apigw.gov-ntruss.com)"),
            ("http://me:secret@127.0.0.1:9/x", "http://me:secret@127.0.0.1:9/x", "127.0.0.1:9"),
        ],
    )
    def test_the_target_is_shown_without_user_and_password(self, target, endpoint, shown):
        assert at(1, replace(RUNNING, target=target, endpoint=endpoint)).target == shown

    def test_parameters_keep_their_order_and_lose_their_dollar(self):
        view = with_parameters(zeta="a", alpha=7, full=True, rate=0.5)

        assert at(1, view).parameters == (
            Row("zeta", "a"),
            Row("alpha", "7"),
            Row("full", "true"),
            Row("rate", "0.5"),
        )

    def test_parameters_of_an_adopted_run_are_the_service_s(self):
        adopted = in_state("RUNNING", asking(SENT, parameters={}), parsed_parameters=[{"$month": "11"}])

        assert at(1, adopted).parameters == (Row("month", "11"),)

    def test_parameters_beyond_twelve_are_counted(self):
        shown = at(1, with_parameters(**{f"p{n}": n for n in range(30)}))

        assert (len(shown.parameters), shown.more_parameters) == (12, 18)

    def test_a_long_value_is_cut_in_its_middle_and_whole_in_the_tooltip(self):
        row = at(1, with_parameters(path="a" * 100 + "z" * 100)).parameters[0]

        assert row.value == "a" * 36 + "…" + "z" * 35
        assert row.full == "a" * 100 + "z" * 100

    def test_a_huge_value_is_cut_in_the_tooltip_too(self):
        row = at(1, with_parameters(blob="x" * 5_000_000)).parameters[0]

        assert (len(row.value), len(row.full)) == (72, 4_000)

    def test_the_condition_shows_only_known_values(self):
        assert at(1, SENT).condition == (Row("workers", "4"), Row("timeout", "60 min"))

    def test_the_service_s_condition_fills_what_the_request_omits(self):
        view = in_state(
            "RUNNING",
            asking(SENT, trigger_id="t1", workflow_id="w1"),
            job_condition=JobCondition(
                num_worker=9, nrn="nrn:PUB:IAM::1:Role/2", script_path="b/scripts/", log_path="b/logs/"
            ),
        )

        assert at(1, view).condition == (
            Row("workers", "4"),
            Row("timeout", "60 min"),
            Row("role", "nrn:PUB:IAM::1:Role/2"),
            Row("script", "b/scripts/"),
            Row("log", "b/logs/"),
            Row("trigger", "t1"),
            Row("workflow", "w1"),
        )

    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            ("서울 ☃ 👩‍🚀", "서울 ☃ 👩‍🚀"),
            ("two\nlines", "two⏎lines"),
            ("nul\0 bell\a del\x7f", "nul␀ bell␇ del␡"),
            ("\x1b[31mred", "␛[31mred"),
            ("half \ud83d of a pair", "half � of a pair"),
            ("abc\u202egnp.exe", "abc�gnp.exe"),
            ("c1 \x9b31m", "c1 �31m"),
        ],
        ids=["text", "line feed", "controls", "escape", "surrogate", "right to left override", "C1"],
    )
    def test_a_value_shows_each_control_character_as_one_harmless_sign(self, raw, shown):
        assert at(1, with_parameters(p=raw)).parameters[0].value == shown

    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            ("\x1b[1;31mERROR\x1b[0m lost", "ERROR lost"),
            ("\x1b]0;title\x07text", "text"),
            ("10%\r20%\r100%\r", "100%"),
            ("a\tb", "a   b"),
            ("bad \udcff byte", "bad � byte"),
            ("back\bspace", "back␈space"),
        ],
        ids=["colours", "window title", "progress bar", "tab", "undecodable", "control"],
    )
    def test_a_line_of_a_log_reads_as_on_a_terminal(self, raw, shown):
        view = replace(FAILED, failure=Failure("x", (raw,)))

        assert at(200, view).log_tail == (shown,)

    def test_only_the_last_twenty_lines_of_a_log_are_shown(self):
        view = replace(FAILED, failure=Failure("x", tuple(map(str, range(50)))))

        assert at(200, view).log_tail == tuple(map(str, range(30, 50)))

    def test_a_reason_is_one_line_without_colours(self):
        view = replace(FAILED, failure=Failure("\x1b[31mValueError:\x1b[0m no\n  flights"))

        assert at(200, view).reason == "ValueError: no flights"

    def test_without_a_log_the_reason_is_the_service_s_detail(self):
        assert (
            at(200, in_state("FAILED", status_detail="timeout after 60 min")).reason == "timeout after 60 min"
        )
        assert at(200, in_state("COMPLETED", status_detail="fine")).reason == ""


class TestLanguages:
    @pytest.mark.parametrize(
        ("state", "korean", "japanese"),
        [
            ("READY", "대기 중", "待機中"),
            ("RUNNING", "실행 중", "実行中"),
            ("COMPLETED", "완료", "完了"),
            ("FAILED", "실패", "失敗"),
            ("CANCELED", "취소", "キャンセル"),
            ("SUSPENDED", "", ""),
        ],
    )
    def test_a_state_keeps_the_service_s_word_next_to_its_meaning(self, state, korean, japanese):
        for language, gloss in (("ko", korean), ("ja", japanese), ("en", "")):
            shown = at(4, in_state(state), words=words_of(language))
            assert (shown.state, shown.gloss) == (state, gloss)

    def test_a_card_in_japanese(self):
        view = replace(HALF_WAY, past=Past(185, 130, 300, 8))

        assert to_text(at(12, view, words=words_of("ja"))) == (
            "RUNNING (実行中)  daily_delays  実行 7Hk2mQx9LpZa  12秒  local\n"
            "  table_name  test.flights\n"
            "  (ワーカー数 4, タイムアウト 60分)\n"
            "  タスク 50/200 · ステージ 1/3 · 通常 3分05秒 (直近 8 回は 2分10秒~5分00秒)\n"
            "  12:00:12 KST 時点。更新: %dataflow_status 7Hk2mQx9LpZa"
        )


TAGS = {
    *("section", "style", "header", "div", "p", "pre"),
    *("strong", "small", "span", "code", "bdi", "b", "details", "summary"),
    *("table", "caption", "tbody", "tr", "th", "td"),
}


class Read(HTMLParser):
    """Reads HTML as a browser does: its tags, and its text outside the style sheet."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        assert [value for name, value in attrs if name.startswith("on")] in ([], [COPY])
        if tag in ("td", "pre"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if {"td", "pre"} & set(self.open):
            self.cells[-1] += data


class TestMarkup:
    def test_the_card_reads_well_without_any_style(self):
        assert Read(to_html(at(4, READY))).text == (
            "◌ READY daily_delays run 7Hk2mQx9LpZa on local 4 s"
            "waiting for: starting Spark as of 12:00:04 KST · refresh with %dataflow_status 7Hk2mQx9LpZa"
            "Parameterstable_nametest.flightsJob conditionworkers4timeout60 min"
        )

    def test_a_failed_run_shows_its_reason_and_its_log(self):
        text = Read(to_html(at(200, FAILED))).text

        assert (
            "ended 12:03:07 KST · run again: %dataflow_run --again 7Hk2mQx9LpZaValueError: no flightsLast"
            in text
        )
        assert "Last 2 lines of the logTraceback (most recent call last):\nValueError: no flights" in text
        assert "submitted 2026-11-01 12:00:00 KST · ended 12:03:07 KST" in text
        assert "refresh" not in text

    def test_the_state_is_announced_and_the_clock_is_not(self):
        markup = to_html(at(4, RUNNING))

        assert re.search(r'<strong [^>]*role="status" aria-live="polite"><span [^>]*aria-hidden', markup)
        assert '</span> <span class="dfm-word">RUNNING</span></strong>' in markup
        assert re.search(r'<span [^>]*role="timer"[^>]*>4 s</span>', markup)

    def test_a_bar_is_shown_only_when_tasks_are_known(self):
        assert "progressbar" not in to_html(at(4, RUNNING))
        assert "progressbar" not in to_html(at(4, replace(RUNNING, progress=Progress(0, 0, 0, 0))))

        markup = to_html(at(4, HALF_WAY))
        (bar,) = re.findall(r"<span [^>]*progressbar[^>]*>", markup)
        assert 'aria-valuemin="0" aria-valuenow="25" aria-valuemax="100"' in bar
        assert 'aria-valuetext="50 of 200 tasks · 1 of 3 stages"' in bar
        assert 'style="width:25%"' in markup
        assert 'title="count at daily.py:14">50 of 200 tasks · 1 of 3 stages</span>' in markup

    def test_the_bar_s_place_is_kept_while_there_is_no_progress(self):
        assert '<div class="dfm-progress"></div>' in to_html(at(4, RUNNING))

    def test_ids_and_commands_can_be_selected_by_one_click(self):
        whole = r'<code style="user-select:all;[^"]*">([^<]*)</code>'

        assert re.findall(whole, to_html(at(4, RUNNING))) == ["7Hk2mQx9LpZa", "%dataflow_status 7Hk2mQx9LpZa"]
        assert re.findall(whole, to_html(at(200, COMPLETED))) == [
            "7Hk2mQx9LpZa",
            "%dataflow_run --again 7Hk2mQx9LpZa",
        ]

    def test_a_card_names_its_language(self):
        read = to_html(at(4, READY, words=words_of("ko_KR.UTF-8")))

        assert 'aria-label="Data Flow 실행" lang="ko"' in read
        assert Read(read).text.startswith("◌ READY 대기 중 daily_delays 실행 7Hk2mQx9LpZa · local 4초")

    def test_names_are_row_headers(self):
        assert '<th scope="row" title="table_name">table_name</th>' in to_html(at(4, RUNNING))

    def test_a_cut_value_is_whole_in_its_tooltip(self):
        assert f'title="{"x" * 200}"' in to_html(at(4, with_parameters(p="x" * 200)))

    def test_the_card_of_a_waiting_cell_shows_how_to_stop_waiting(self):
        markup = to_html(at(4, RUNNING, kernel_waits=True))

        assert "interrupt the kernel to stop waiting; the run continues" in markup
        assert "interrupt the kernel" not in to_html(at(200, COMPLETED, kernel_waits=True))

    def test_two_dollar_signs_are_never_in_one_text_as_a_formula(self):
        markup = to_html(at(4, in_state("RUNNING", with_parameters(p="from $a to $b"))))

        assert "from <span>$</span>a to <span>$</span>b" in markup
        assert not re.search(r">[^<]*\$[^<$]*\$", markup)

    def test_markup_in_a_value_stays_text(self):
        attack = """<script>alert(1)</script>'"><img src=x onerror=alert(1)>&amp;"""
        view = replace(in_state("<b>", with_parameters(p=attack)), job_name=attack)

        assert attack in Read(to_html(at(1, view))).cells
        assert set(Read(to_html(at(1, view))).tags) <= TAGS

    def test_the_style_sheet_applies_to_cards_alone(self):
        sheets = "".join(map(style_sheet, ("card.css", "sweep.css", "live.css")))
        text = re.sub(r"</?style>|\n", "", sheets)
        rules = re.sub(r":(?:is|not)\([^)]*\)", "", text)
        rules = re.sub(
            r"@keyframes dfm-pulse\{50%\{[^}]*\}\}|@(?:media|container) [^{]*\{(.*?\})\}", r"\1", rules
        )

        selectors = [part for rule in re.findall(r"([^{}]+)\{[^}]*\}", rules) for part in rule.split(",")]
        assert len(selectors) > 20
        assert [
            selector for selector in selectors if not selector.startswith((".dfm-card", ".dfm-pile"))
        ] == []

    def test_the_style_sheet_lies_on_lines_of_its_own_that_are_the_same_in_every_card(self):
        one, other = (to_html(at(4, view)).splitlines() for view in (READY, COMPLETED))

        assert len(one) > 40
        assert [number for number, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]] == [
            len(one) - 1
        ]
        assert len("".join(one[:-1])) < 5_000

    def test_the_card_fetches_nothing(self):
        assert not re.search(r"https?:|url\(|@import|<script|<link|<img", to_html(at(1, RUNNING)))


class TestText:
    def test_a_running_card(self):
        assert to_text(at(12, RUNNING)) == (
            "RUNNING  daily_delays  run 7Hk2mQx9LpZa  12 s  local\n"
            "  table_name  test.flights\n"
            "  (workers 4, timeout 60 min)\n"
            "  as of 12:00:12 KST; refresh with %dataflow_status 7Hk2mQx9LpZa"
        )

    def test_a_failed_card(self):
        assert to_text(at(200, FAILED)) == (
            "FAILED  daily_delays  run 7Hk2mQx9LpZa  3 min 07 s in all  local\n"
            "  table_name  test.flights\n"
            "  (workers 4, timeout 60 min)\n"
            "  submitted 2026-11-01 12:00:00 KST, ended 12:03:07 KST\n"
            "  ValueError: no flights\n"
            "  run again: %dataflow_run --again 7Hk2mQx9LpZa\n"
            "  | Traceback (most recent call last):\n"
            "  | ValueError: no flights"
        )

    def test_a_blind_card_of_a_waiting_cell(self):
        assert to_text(at(95, asking(BLIND, parameters={}), kernel_waits=True)) == (
            "RUNNING  daily_delays  run 7Hk2mQx9LpZa  1 min 35 s  local\n"
            "  (workers 4, timeout 60 min)\n"
            "  no answer since 12:00:20 KST: connection refused\n"
            "  as of 12:01:35 KST; refresh with %dataflow_status 7Hk2mQx9LpZa\n"
            "  Ctrl-C: interrupt the kernel to stop waiting; the run continues"
        )

    def test_the_text_has_at_most_thirty_lines_and_keeps_the_end_of_the_log(self):
        view = asking(FAILED, parameters={f"$p{n}": "v" for n in range(40)})
        view = replace(view, failure=Failure("reason", tuple(f"line {n}" for n in range(20))))

        lines = to_text(at(200, view)).splitlines()
        assert len(lines) == 30
        assert "  and 28 more" in lines
        assert "  reason" in lines
        assert lines[-1] == "  | line 19"


# Surrogates too: text from a notebook or a log may hold them.
ANY_TEXT = st.text(st.characters(), max_size=200)


@given(name=ANY_TEXT, value=ANY_TEXT, line=ANY_TEXT, word=ANY_TEXT)
def test_no_text_breaks_the_encoding_the_markup_or_the_layout(name, value, line, word):
    view = run_view(
        NOON,
        job_name=name,
        condition=JobCondition(nrn=value),
        parameters={name: value},
        execution=JobExecution(job_execution_id=word, status="FAILED", end_date=NOON),
        failure=Failure(value, (line, value)),
    )
    state = at(0, view)
    read = Read(to_html(state))

    to_html(state).encode("utf-8")
    assert set(read.tags) <= TAGS
    assert read.cells[0] == "\n".join(state.log_tail)
    assert read.cells[1] == state.parameters[0].value
    text = to_text(state)
    text.encode("utf-8")
    assert len(text.split("\n")) <= 30
    assert [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n"] == []


def read_outputs(outputs: Outputs) -> list[str]:
    return [Read(bundle["text/html"]).text for bundle in outputs.bundles.values()]


@pytest.fixture(autouse=True)
def _widgets_are_closed(made: list[ipywidgets.Widget]) -> None: ...


@pytest.fixture
def card(outputs: Outputs, clicks: list[str]) -> LiveCard[CardState]:
    return LiveCard(
        RUN_CARD,
        Actions(
            cancel=lambda: clicks.append("cancel"),
            again=lambda: clicks.append("again"),
            logs=lambda wanted: clicks.append(f"logs {wanted}"),
        ),
        display=outputs,
    )


def button(made: list[ipywidgets.Widget], number: int = 2) -> Any:
    """Return one of the confirmation, Keep, Cancel, Run again and Logs."""
    return [widget for widget in made if isinstance(widget, ipywidgets.Button)][number]


CONFIRM, KEEP, CANCEL, AGAIN, LOGS = range(5)


def offered(made: list[ipywidgets.Widget]) -> list[str]:
    """Return the labels of the visible buttons, and the question that is asked, in order."""
    seen = seen_in_boxes(made)
    return [Read(each.value).text if isinstance(each, ipywidgets.HTML) else each.description for each in seen]


def cancel(made: list[ipywidgets.Widget]) -> None:
    button(made).click()
    button(made, CONFIRM).click()


def shown_text(made: list[ipywidgets.Widget]) -> str:
    return " ".join(
        Read(widget.value).text for widget in made if isinstance(widget, ipywidgets.HTML) and widget.comm
    )


def changes_during(made: list[ipywidgets.Widget], act: Callable[[], None]) -> list[str]:
    seen: list[str] = []
    watched = [widget for widget in made if not isinstance(widget, ipywidgets.Layout)]
    for widget in watched:
        widget.observe(lambda change: seen.append(f"{type(change.owner).__name__}.{change.name}"))
    act()
    for widget in watched:
        widget.unobserve_all()
    return seen


class TestLiveCard:
    def test_one_output_has_the_widget_and_the_static_card(self, card, outputs):
        card.show(at(4, READY))

        (bundle,) = outputs.bundles.values()
        assert set(bundle) == {WIDGET, "text/html", "text/plain"}
        assert bundle["text/plain"] == to_text(at(4, READY))
        assert bundle["text/html"].endswith(f"{to_html(at(4, READY))}</div>")
        assert bundle[WIDGET]["model_id"] in ipywidgets.Widget.get_manager_state()["state"]

    def test_the_widgets_show_the_same_as_the_static_card(self, card, made):
        card.show(at(4, READY))

        text = shown_text(made)
        assert "READY daily_delays run 7Hk2mQx9LpZa on local" in text
        assert "4 s" in text
        assert "waiting for: starting Spark" in text
        assert "table_nametest.flights" in text

    def test_an_update_without_a_change_sends_nothing(self, card, made):
        card.show(at(12.1, RUNNING))

        assert changes_during(made, lambda: card.update(at(12.8, RUNNING))) == []

    def test_a_tick_repaints_the_clock_alone(self, card, made):
        card.show(at(12, RUNNING))

        assert changes_during(made, lambda: card.update(at(13, RUNNING))) == ["HTML.value"]

    def test_between_two_ticks_of_ten_seconds_nothing_is_sent(self, card, made):
        card.show(at(130, RUNNING))

        assert changes_during(made, lambda: card.update(at(137, RUNNING))) == []

    def test_only_a_confirmed_cancel_is_sent(self, card, made, clicks):
        card.show(at(12, RUNNING))
        button(made).click()
        asked = ["Cancel", "Run again", "Logs", "Cancel this run?", "Yes, cancel", "Keep running"]
        assert (offered(made), clicks) == (asked, [])

        button(made, CONFIRM).click()
        button(made, CONFIRM).click()

        assert clicks == ["cancel"]
        assert offered(made) == ["Cancelling…", "Run again", "Logs"]
        button(made).click()
        assert offered(made) == ["Cancelling…", "Run again", "Logs"]

    def test_the_cancel_of_a_run_found_by_its_parameters_asks_with_these_words(self, card, made, clicks):
        card.show(at(12, replace(RUNNING, found_by="parameters")))
        button(made).click()

        assert offered(made)[3] == "Found by its parameters: cancel it?"
        button(made, CONFIRM).click()
        assert clicks == ["cancel"]

    def test_however_many_clicks_on_cancel_cancel_nothing(self, card, made, clicks):
        card.show(at(12, RUNNING))
        for _ in range(5):
            button(made).click()
        assert clicks == []

        button(made, KEEP).click()
        assert clicks == []
        assert offered(made) == ["Cancel", "Run again", "Logs"]

    def test_a_confirmation_after_the_end_of_the_run_does_nothing(self, card, made, clicks):
        card.show(at(12, RUNNING))
        button(made).click()
        card.finish(at(190, COMPLETED))
        button(made, CONFIRM).click()

        assert clicks == []

    def test_the_button_says_so_until_the_service_has_the_cancel(self, card, made):
        card.show(at(12, RUNNING))
        cancel(made)
        card.update(at(13, RUNNING))

        assert (button(made).disabled, button(made).description) == (False, "Cancelling…")

    def test_a_refused_cancel_can_be_retried(self, card, made, clicks):
        card.show(at(12, RUNNING))
        cancel(made)
        card.offer()
        assert (button(made).disabled, button(made).description) == (False, "Cancel")

        cancel(made)
        assert clicks == ["cancel", "cancel"]

    def test_a_cancel_without_effect_can_be_retried(self, card, made):
        card.show(at(12, RUNNING))
        cancel(made)
        card.update(at(13, CANCELING))
        card.update(at(14, RUNNING))

        assert (button(made).disabled, button(made).description) == (False, "Cancel")

    def test_a_click_whose_action_raises_enables_the_button_again(self, made, outputs, caplog):
        def fail() -> None:
            raise RuntimeError("the loop is gone")

        LiveCard(RUN_CARD, Actions(cancel=fail), display=outputs).show(at(12, RUNNING))
        cancel(made)

        assert (button(made).disabled, button(made).description) == (False, "Cancel")
        assert "the loop is gone" in caplog.text

    def test_the_log_can_be_opened_and_closed(self, card, made, clicks):
        card.show(at(12, RUNNING))
        button(made, LOGS).click()
        assert (offered(made)[2], clicks) == ("Hide logs", ["logs True"])

        card.update(at(13, replace(RUNNING, log_tail=LogTail())))
        assert "the log is empty so far" in shown_text(made)
        card.update(at(13, replace(RUNNING, log_tail=LogTail(("reading", "writing")))))
        assert "reading\nwriting" in shown_text(made)

        button(made, LOGS).click()
        card.update(at(14, RUNNING))
        assert (offered(made)[2], clicks) == ("Logs", ["logs True", "logs False"])
        assert "writing" not in shown_text(made)

    def test_before_the_run_has_an_id_every_button_is_disabled(self, card, made):
        card.show(at(1, SENT))

        assert [button(made, number).disabled for number in (CANCEL, AGAIN, LOGS)] == [True, True, True]

    def test_while_a_cell_waits_the_card_shows_how_to_stop_instead_of_buttons(self, card, made):
        card.show(at(12, RUNNING, kernel_waits=True))
        assert offered(made) == []
        assert "interrupt the kernel to stop waiting; the run continues" in shown_text(made)

        card.update(at(13, RUNNING))
        assert offered(made) == ["Cancel", "Run again", "Logs"]

    def test_an_ended_run_can_be_run_again_and_its_id_copied(self, card, made, clicks):
        card.show(at(12, RUNNING))
        card.finish(at(190, COMPLETED))

        assert offered(made) == ["Copy id", "Run again", "Logs"]
        button(made, AGAIN).click()
        button(made, CANCEL).click()
        assert clicks == ["again"]
        assert offered(made) == ["Copy id", "Run again", "Logs"]

    def test_the_button_that_copies_has_no_text_of_the_run_in_its_code(self, card, made):
        card.show(at(190, COMPLETED))

        (copy,) = [each.value for each in made if "Copy id" in getattr(each, "value", "")]
        assert "7Hk2mQx9LpZa" not in copy
        assert " onclick=" not in to_html(at(190, COMPLETED))

    def test_a_log_that_is_open_at_the_end_stays_as_it_is(self, card, made):
        card.show(at(12, RUNNING))
        button(made, LOGS).click()
        card.update(at(13, replace(RUNNING, log_tail=LogTail(("reading",)))))
        before = [each.value for each in made if "<pre>" in getattr(each, "value", "")]

        ended = replace(COMPLETED, log_tail=LogTail(("reading", "done")))
        (added, *_) = [changes_during(made, lambda: card.finish(at(190, ended)))]
        after = [each.value for each in made if "<pre>" in getattr(each, "value", "")]
        assert (before, after) == (["<pre>reading</pre>"], ["<pre>reading</pre>", "<pre>done</pre>"])
        assert offered(made)[2:] == ["Hide logs"]
        assert "VBox.children" in added

    def test_every_output_ends_with_html_and_text_that_need_no_kernel(self, card, outputs):
        card.show(at(4, READY))
        card.show(at(12, RUNNING))
        assert not any(
            "dfm-final" in bundle["text/html"].split("<style>")[0] for bundle in outputs.saved.values()
        )
        card.finish(at(190, FAILED))

        assert outputs.kinds == [{WIDGET, "text/html", "text/plain"}] * 2
        assert all("ValueError: no flights" in text for text in read_outputs(outputs))
        assert all(
            "dfm-final" in bundle["text/html"].split("<style>")[0] for bundle in outputs.saved.values()
        )

    def test_a_second_finish_with_the_same_state_sends_nothing(self, card, outputs):
        card.show(at(4, READY))
        card.finish(at(190, FAILED))
        card.finish(at(190, FAILED))

        assert outputs.calls == 2 + 1, "the card and its widgets, and what a saved notebook keeps of the end"

    def test_the_saved_card_follows_the_state_of_the_run(self, card, outputs):
        card.show(at(4, READY))
        calls = outputs.calls
        card.update(at(5, READY))
        assert outputs.calls == calls

        card.update(at(6, RUNNING))
        assert outputs.calls == calls + 1, "the widgets stay as they are"
        (saved,) = outputs.saved.values()
        assert "RUNNING" in saved["text/plain"]
        assert "as of 12:00:06 KST · refresh with" in saved["text/html"]

    def test_a_log_that_is_read_after_the_end_is_shown(self, card, outputs):
        card.show(at(4, READY))
        card.finish(at(190, replace(FAILED, failure=None)))
        card.finish(at(191, FAILED))

        assert "Traceback" in read_outputs(outputs)[0]

    def test_after_the_end_updates_send_nothing_and_new_outputs_have_buttons_too(self, card, made, outputs):
        card.show(at(4, READY))
        card.finish(at(190, COMPLETED))
        card.update(at(191, RUNNING))
        card.show(at(192, COMPLETED))

        assert outputs.kinds == [{WIDGET, "text/html", "text/plain"}] * 2
        assert all(text.startswith("✓ COMPLETED") for text in read_outputs(outputs))
        assert "RUNNING" not in shown_text(made)

    def test_an_ended_run_is_shown_with_its_buttons(self, card, made, outputs):
        card.show(at(190, COMPLETED))

        assert outputs.kinds == [{WIDGET, "text/html", "text/plain"}]
        assert offered(made) == ["Copy id", "Run again", "Logs"]

    def test_the_page_of_an_earlier_state_gets_the_command_that_corrects_its_notebook(self, card, made):
        card.show(at(4, READY))
        assert "the saved notebook" not in shown_text(made)
        card.finish(at(190, FAILED))

        assert (
            "the saved notebook keeps an earlier state of this card; show the end in a cell with"
            " %dataflow_status 7Hk2mQx9LpZa" in shown_text(made)
        )

    def test_the_oldest_of_many_ended_cards_becomes_html_and_text(self, outputs):
        cards = [LiveCard(RUN_CARD, Actions(), display=outputs) for _ in range(MOST_ENDED + 1)]
        for card in cards:
            card.show(at(4, READY))
        first, *_, last = (bundle[WIDGET]["model_id"] for bundle in outputs.bundles.values())
        for card in cards:
            card.finish(at(190, COMPLETED))

        alive = ipywidgets.Widget.get_manager_state()["state"]
        assert first not in alive
        assert last in alive
        assert outputs.kinds[:2] == [{"text/html", "text/plain"}, {WIDGET, "text/html", "text/plain"}]
        assert "dfm-snapshot" not in next(iter(outputs.saved.values()))["text/html"]
        cards[0].show(at(191, COMPLETED))
        assert outputs.kinds[0] == {WIDGET, "text/html", "text/plain"}, "it has its buttons again"
        assert outputs.kinds[1] == {"text/html", "text/plain"}, "and the oldest has none"

    def test_a_run_that_is_given_up_keeps_its_card_and_is_still_corrected(self, card, made, outputs):
        card.show(at(4, READY))
        card.finish(at(60, BLIND))
        assert "connection refused" in read_outputs(outputs)[0]

        card.update(at(70, RUNNING))
        assert offered(made) == ["Cancel", "Run again", "Logs"]
        card.finish(at(190, COMPLETED))
        card.update(at(191, RUNNING))

        assert all(text.startswith("✓ COMPLETED") for text in read_outputs(outputs))

    def test_an_update_after_all_widgets_are_closed_is_harmless(self, card, outputs):
        card.show(at(4, READY))
        ipywidgets.Widget.close_all()
        card.update(at(5, RUNNING))
        card.finish(at(190, COMPLETED))

        assert read_outputs(outputs)[0].startswith("✓ COMPLETED")


class TestCardsInOneOutput:
    """A run that a button starts has no cell, so its card is shown below the card of the button."""

    @pytest.fixture
    def second(self, card, outputs):
        card.show(at(4, RUNNING))
        second = LiveCard(RUN_CARD, Actions(), display=outputs, above=card)
        second.show_below(at(5, SECOND))
        return second

    @pytest.mark.usefixtures("second")
    def test_the_second_card_is_shown_below_the_first(self, outputs, made):
        assert len(outputs.bundles) == 1
        (bundle,) = outputs.bundles.values()
        alive = ipywidgets.Widget.get_manager_state()["state"]
        assert len(alive[bundle[WIDGET]["model_id"]]["state"]["children"]) == 2
        assert "secondRun001" in shown_text(made)

    def test_the_saved_notebook_has_both_ends_once_both_are_over(self, card, second, outputs):
        card.finish(at(190, FAILED))
        (saved,) = outputs.saved.values()
        assert "dfm-final" not in saved["text/html"].split("<style>")[0]

        second.finish(at(200, replace(SECOND, execution=COMPLETED.execution)))
        (saved,) = outputs.saved.values()
        assert "dfm-final" in saved["text/html"].split("<style>")[0]
        assert re.findall("FAILED|COMPLETED", read_outputs(outputs)[0]) == ["FAILED", "COMPLETED"]

    def test_a_card_that_is_added_after_the_first_has_ended_is_live(self, card, outputs, made):
        card.show(at(4, RUNNING))
        card.finish(at(190, FAILED))
        late = LiveCard(RUN_CARD, Actions(), display=outputs, above=card)
        late.show_below(at(191, SECOND))
        assert "secondRun001" in shown_text(made)
        (bundle,) = outputs.bundles.values()
        alive = ipywidgets.Widget.get_manager_state()["state"]
        assert len(alive[bundle[WIDGET]["model_id"]]["state"]["children"]) == 2

        late.finish(at(200, replace(SECOND, execution=COMPLETED.execution)))
        assert re.findall("FAILED|COMPLETED", read_outputs(outputs)[0]) == ["FAILED", "COMPLETED"]

    def test_another_output_of_either_has_both(self, second, outputs):
        second.show(at(6, SECOND))

        texts = [bundle["text/plain"] for bundle in outputs.bundles.values()]
        assert [text.count("RUNNING") for text in texts] == [1, 2]


SECOND = replace(
    SENT, execution=JobExecution(job_execution_id="secondRun001", status="RUNNING"), key="second01"
)


def test_changed_widgets_are_sent_again_for_pages_that_missed_them(card, made):
    card.show(at(0, RUNNING))
    title = next(widget for widget in made if "RUNNING" in getattr(widget, "value", ""))
    title.comm = wire = Comm(title)
    for second in range(1, 10):
        card.update(at(second, RUNNING))

    assert ["RUNNING" in state["value"] for state in wire.sent] == [True]


class TestWithoutWidgets:
    @pytest.fixture
    def static_card(self, outputs: Outputs) -> LiveCard[CardState]:
        return LiveCard(RUN_CARD, Actions(), display=outputs, interactive=False)

    def test_no_widget_is_made(self, static_card, made, outputs):
        static_card.show(at(4, READY))
        static_card.update(at(12, RUNNING))
        static_card.finish(at(190, COMPLETED))

        assert made == []
        assert outputs.kinds == [{"text/html", "text/plain"}]
        assert read_outputs(outputs)[0].startswith("✓ COMPLETED")

    def test_a_change_is_repainted_and_the_passing_of_time_is_not(self, static_card, outputs):
        static_card.show(at(4, READY))
        static_card.update(at(5, READY))
        assert "as of 12:00:04 KST" in read_outputs(outputs)[0]

        static_card.update(at(12, RUNNING))
        assert "as of 12:00:12 KST" in read_outputs(outputs)[0]
        assert outputs.calls == 2


class TestWidgetsThatFail:
    """ipywidgets may be missing, may not fit the kernel, and may fail at any moment; the run has started already."""

    @given(
        steps=st.lists(
            st.sampled_from(["show", "update", "update part", "offer", "finish"]), min_size=1, max_size=8
        ),
        works_for=st.integers(0, 12),
        fault=st.sampled_from(
            [ModuleNotFoundError("No module named 'ipywidgets'"), TypeError("x"), OSError(5)]
        ),
    )
    def test_the_card_goes_on_as_html_in_every_output_it_has(self, steps, works_for, fault):
        outputs, left = Outputs(), [works_for]
        card = LiveCard(failing(left, fault), Actions(), display=outputs)
        card.show(at(4, READY))
        is_finished = False
        for second, step in enumerate(steps, 5):
            match step:
                case "show":
                    card.show(at(second, RUNNING if not is_finished else COMPLETED))
                case "update" | "update part":
                    card.update(at(second, RUNNING), whole=step == "update")
                case "offer":
                    card.offer()
                case "finish":
                    is_finished = True
                    card.finish(at(190, COMPLETED))
        card.finish(at(190, COMPLETED))

        widgets = {WIDGET} if card.fault is None else set()
        assert outputs.kinds == [{"text/html", "text/plain"} | widgets] * (1 + steps.count("show"))
        assert all(text.startswith("✓ COMPLETED") for text in read_outputs(outputs))
        assert card.fault is (fault if left[0] < 0 else None)
        assert card.is_interactive is (card.fault is None)

    def test_an_output_that_fails_without_widgets_too_is_reported(self):
        def no_display(*_: object, **__: object) -> None:
            raise OSError(5, "Input/output error")

        with pytest.raises(OSError, match="Input/output error"):
            LiveCard(RUN_CARD, Actions(), display=no_display).show(at(4, READY))

    def test_a_front_end_that_closes_the_connection_gets_html_from_then_on(self, made, outputs):
        card = LiveCard(RUN_CARD, Actions(), display=outputs)
        card.show(at(4, READY))
        card.update(at(5, RUNNING))
        refused = [widget.comm for widget in made if widget.comm is not None]
        for connection in refused:
            connection.handle_close({"content": {"data": {}}})

        assert outputs.kinds == [{"text/html", "text/plain"}]
        card.update(at(6, FAILED))
        assert read_outputs(outputs)[0].startswith("✕ FAILED")
        assert card.fault is None


def failing(left: list[int], fault: Exception) -> Look[CardState]:
    """Return the card of a run whose widgets raise once they were used ``left[0]`` times."""

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise fault

    class Failing:
        def __init__(self, widgets: Any) -> None:
            self._widgets = widgets

        def __getattr__(self, name: str) -> Any:
            count()
            return getattr(self._widgets, name)

    def widgets(state: CardState, actions: Actions, on_click: Callable[[str], None]) -> Any:
        count()
        return Failing(RUN_CARD.widgets(state, actions, on_click))

    return replace(RUN_CARD, widgets=widgets)


def test_one_line_of_a_log_is_counted_as_one():
    one = to_html(at(60, replace(COMPLETED, last_lines=("done",))))
    two = to_html(at(60, replace(COMPLETED, last_lines=("begun", "done"))))

    assert "Last line of the log" in Read(one).text
    assert "Last 2 lines of the log" in Read(two).text
