"""A comparison as a person reads it."""

from datetime import timedelta

from dataflow_magic.card.comparison import to_html, to_text
from dataflow_magic.models.comparison import Comparison, Difference
from tests.card.test_run_card import Read

LONG = "s3a://dataflow-sample/flights/2026/11/part-of-a-long-path.parquet"
FACTS = (
    Difference("parameter", "month", "6", "7", differs=True),
    Difference("parameter", "source", LONG, f"{LONG}.gz", differs=True),
    Difference("script", "line 2", "\tb = '<2>'", None, differs=True),
    Difference("outcome", "reason", None, "No column x.", differs=True),
    Difference("time", "ran", timedelta(seconds=17), timedelta(seconds=40), differs=True),
    Difference("parameter", "token", "••••••", "••••••", differs=None),
    Difference("condition", "workers", "2", "2", differs=False),
    Difference("script", "text", None, None, differs=False),
)


def test_the_text_has_what_differs_and_names_the_rest():
    assert to_text(Comparison("lE9fjUqW2ICe", "Zk31mQpT0aBc", FACTS)).splitlines() == [
        "                   lE9fjUqW2ICe  Zk31mQpT0aBc",
        "parameter  month   6             7",
        "           source",
        f"    - {LONG}",
        f"    + {LONG}.gz",
        "script     line 2",
        "    -     b = '<2>'",
        "outcome    reason  -             No column x.",
        "time       ran     17 s          40 s          2.4x",
        "not known whether it differs: token",
        "the same: workers, script",
    ]


def test_the_html_has_the_same():
    page = to_html(Comparison("lE9fjUqW2ICe", "Zk31mQpT0aBc", FACTS))
    text = Read(page).text

    for part in (
        "lE9fjUqW2ICe",
        "month",
        "6",
        "7",
        f"{LONG}.gz",
        "b = '<2>'",
        "No column x.",
        "2.4x",
        "token",
        "workers",
    ):
        assert part in text
    assert "<2>" not in page


def test_equal_runs_say_so():
    comparison = Comparison("a", "b", FACTS[6:])

    assert to_text(comparison) == "nothing differs that is known here\nthe same: workers, script"
    assert "nothing differs that is known here" in Read(to_html(comparison)).text


def test_a_ratio_is_shown_in_two_digits_and_not_for_some_percent():
    def shown(first: int, second: int) -> str:
        fact = Difference("work", "rows_in", first, second, differs=True)
        return to_text(Comparison("a", "b", (fact,))).splitlines()[1]

    assert shown(1, 2_228) == "work  rows_in  1  2,228  2,228x"
    assert shown(300, 100) == "work  rows_in  300  100  0.33x"
    assert shown(1_000, 1_040) == "work  rows_in  1,000  1,040"
    assert shown(0, 5) == "work  rows_in  0  5"


def test_no_control_character_reaches_a_terminal():
    fact = Difference("parameter", "\x1b[2Jname", "\x1b[2Jred\r", "a\u202eb", differs=True)

    shown = to_text(Comparison("\x1b[2J", "b", (fact,)))

    assert not {"\x1b", "\r", "\u202e"} & set(shown)
