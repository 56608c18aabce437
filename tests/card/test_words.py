"""Cards in Korean and Japanese: every label, and every sentence that the package itself writes into a reason or a note."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import pytest

import dataflow_magic
from dataflow_magic import errors
from dataflow_magic.card.run.html import fault_html, line_html, to_html, to_text
from dataflow_magic.card.run.state import card_state
from dataflow_magic.card.sentences import sentences, translated
from dataflow_magic.card.sweep.html import sweep_html, sweep_text
from dataflow_magic.card.sweep.state import SweepView, sweep_state
from dataflow_magic.card.words import ENGLISH, words_of
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.log import LogTail
from dataflow_magic.models.view import Past, RunView
from dataflow_magic.reasons.advice import ADVICE, READ_THE_LOG
from dataflow_magic.reasons.sentences import SENTENCES
from tests.states import NOON, STATES

PACKAGE = Path(dataflow_magic.__file__).parent

each_language = pytest.mark.parametrize("language", ["ko", "ja"])


def placeholders(text: str) -> set[str]:
    return {name for _, name, *_ in Formatter().parse(text) if name}


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("ko_KR.UTF-8", "ko"),
        ("ja", "ja"),
        ("JA-jp", "ja"),
        ("en_US", "en"),
        ("C", "en"),
        ("", "en"),
        ("de", "en"),
    ],
)
def test_a_language_without_words_is_english(wanted, language):
    assert words_of(wanted).language == language


@pytest.mark.parametrize("language", ["en", "ko", "ja"])
def test_a_label_takes_the_same_values_in_every_language(language):
    words = words_of(language)
    for field in fields(ENGLISH):
        english, label = getattr(ENGLISH, field.name), getattr(words, field.name)
        if isinstance(english, str):
            assert label
            assert placeholders(label) == placeholders(english)


@each_language
def test_no_label_is_left_in_english(language):
    words = words_of(language)
    same = [each.name for each in fields(ENGLISH) if getattr(ENGLISH, each.name) == getattr(words, each.name)]

    assert same == []


# Whole cards

OURS = {
    *("Data Flow", "Spark", "JVM", "KST", "READY", "RUNNING", "Ctrl-C", "ID"),
    # In the states: the job, the run, its values, a line of a log and of the operating system
    *(
        "daily_delays",
        "7Hk2mQx9LpZa",
        "k3yk3y",
        "SUSPENDED",
        "local",
        "test.flights",
        "run_date",
        "table_name",
    ),
    *("ValueError: no flights from 'SFO' in month 1", "reading", "Traceback (most recent call last):"),
    *(
        "count at daily.py:14",
        "connection refused",
        "ModuleNotFoundError: No module named 'numpy'",
        "NO STATE",
        "b/scripts/",
        "b/logs/",
    ),
    *("nrn:PUB:IAM::1:Role/1", "connect to 127.0.0.1:4242", "month", "ConnectError"),
}
"""Names, states of the wire and quoted text, which stay as they are."""
COMMAND = re.compile(r"%+dataflow_\w+( --again)?( ID)?|--?\w+|\.\w+\(\)|\w+\.log|s3a://\S+")


def left_in_english(text: str) -> list[str]:
    """Return the runs of two or more words of ASCII letters that are no names."""
    for known in sorted(OURS, key=len, reverse=True):
        text = text.replace(known, "·")
    text = COMMAND.sub("·", text)
    return re.findall(r"[A-Za-z][A-Za-z',-]*(?: [A-Za-z][A-Za-z',-]*)+", text)


class Texts(HTMLParser):
    """What a reader sees of a page or hears of it: its texts, tooltips and labels."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._is_style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_style = tag == "style"
        self.texts += [
            value or "" for name, value in attrs if name in ("title", "aria-label", "aria-valuetext")
        ]

    def handle_endtag(self, _tag: str) -> None:
        self._is_style = False

    def handle_data(self, data: str) -> None:
        if not self._is_style:
            self.texts.append(data)


REASONS = (
    "canceled before it started",
    "the local service stopped while it ran",
    "the local service failed: ConnectError: connection refused",
    "timed out after 1 min 30 s",
    "the script exited with code 3: ValueError: no flights from 'SFO' in month 1",
    "the script was killed by signal 9 (SIGKILL)",
    "Spark's JVM exited with code 1 during the run (see jvm.log)",
    "Spark did not start: no answer from the JVM in 60 s (see jvm.log)",
    "no bucket 'b' for the logs at b/logs/: make it, or correct logPath",
    "no script in b/scripts/: upload daily_delays.py there, or correct scriptPath",
    "the run ended FAILED without a reason",
    "ModuleNotFoundError: No module named 'numpy'",
)


def views() -> Iterator[RunView]:
    """Yield a run in every state and with every kind of note."""
    yield from STATES.values()
    running, failed = STATES["RUNNING"], STATES["FAILED"]
    for past in (Past(60, 50, 70, 3), Past(600, 500, 700, 3), Past(60, 60, 60, 1), Past(0, 0, 0, 0)):
        yield replace(running, past=past)
    yield replace(running, log_tail=LogTail())
    yield replace(
        running, log_tail=LogTail(fault="the log of run 7Hk2mQx9LpZa was not read within 10 s; try again")
    )
    yield replace(
        running,
        clock="this machine's clock is 9 minutes behind the service's; requests are signed with its time",
    )
    yield replace(
        running,
        remark="the cancel was not accepted: run 7Hk2mQx9LpZa is over (RUNNING); there is nothing to cancel",
    )
    yield replace(
        running,
        blind_since=NOON,
        blind_reason="no answer from 127.0.0.1:4242 (ConnectError: connection refused); check that the service is running and the network reaches it",
    )
    yield replace(
        running, remark="not started again: signature refused (401); check the access key and the secret key"
    )
    for reason in REASONS:
        yield replace(failed, failure=Failure(reason))


@each_language
def test_no_sentence_of_a_run_s_card_is_left_in_english(language):
    for view in views():
        for kernel_waits in (False, True):
            state = card_state(
                view, NOON + timedelta(seconds=95), kernel_waits=kernel_waits, words=words_of(language)
            )
            page = to_html(state) + line_html(state, live=True) + fault_html(state)
            for text in [to_text(state), *Texts(page).texts]:
                assert left_in_english(text) == [], text


@each_language
def test_no_sentence_of_a_sweep_s_card_is_left_in_english(language):
    runs = tuple(enumerate(views()))
    for sweep in (
        SweepView(("$month",), len(runs), runs, retried=((1, STATES["FAILED"]),)),
        SweepView(("$month",), 300, runs * 20, stopped="the sweep was canceled"),
        SweepView(("$month",), len(runs), runs, stopped="the sending was ended", is_over=True),
        SweepView(("$month",), 99, runs, stopped="too many requests (429)", is_over=True),
    ):
        for kernel_waits in (False, True):
            state = sweep_state(
                sweep, NOON + timedelta(seconds=95), kernel_waits=kernel_waits, words=words_of(language)
            )
            for text in [sweep_text(state), *Texts(sweep_html(state)).texts]:
                assert left_in_english(text) == [], text


@pytest.mark.parametrize("text", ["this machine is a sentence of ours", "ValueError: no flights from SFO"])
def test_an_english_sentence_would_be_found(text):
    assert left_in_english(f"대기: {text}") != []


# Sentences


@pytest.mark.parametrize(
    ("text", "korean", "japanese"),
    [
        ("starting Spark", "Spark 시작", "Spark の起動"),
        (
            "the script exited with code 3: KeyError: 'x'",
            "스크립트가 종료 코드 3(으)로 끝났습니다: KeyError: 'x'",
            "スクリプトが終了コード 3 で終了しました: KeyError: 'x'",
        ),
        (
            "signature refused (401: no; really); check the access key and the secret key",
            "서명이 거부되었습니다 (401: no; really). 액세스 키와 시크릿 키를 확인하세요",
            "署名が拒否されました (401: no; really)。アクセスキーとシークレットキーを確認してください",
        ),
        (
            "the answer to its start was lost, and looking for it failed: 500",
            "실행 요청의 응답을 받지 못했습니다. 실행을 찾는 중 오류가 발생했습니다: 500",
            "開始リクエストの応答を受信できませんでした。実行の検索に失敗しました: 500",
        ),
        (
            "no Java 17 or newer, which Spark needs: JAVA_HOME is not set; PATH is Java 8 (/usr). Install one: pip"
            " (the local service keeps the environment it was started with; stop it to change that)",
            "Spark에 필요한 Java 17 이상이 없습니다: JAVA_HOME이(가) 설정되어 있지 않습니다. PATH은(는) Java 8입니다 (/usr). "
            "설치: pip (로컬 서비스는 시작할 때의 환경 변수를 사용합니다. 변경하려면 서비스를 중지하세요)",
            "Spark に必要な Java 17 以降がありません: JAVA_HOME が設定されていません。PATH は Java 8 です (/usr)。"
            "インストール: pip (ローカルサービスは起動時の環境変数を使います。変更するにはサービスを停止してください)",
        ),
        (
            "this machine's clock is 2 h 05 min ahead of the service's; requests are signed with its time",
            "이 컴퓨터의 시계가 서비스보다 2시간 05분 빠릅니다. 요청은 서비스의 시각으로 서명합니다",
            "このマシンの時計はサービスより2時間05分進んでいます。リクエストはサービスの時刻で署名します",
        ),
    ],
)
def test_a_sentence_is_translated_with_its_values_and_what_follows_it(text, korean, japanese):
    assert translated(text, "ko") == korean
    assert translated(text, "ja") == japanese
    assert translated(text, "en") == text


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: no flights",
        "it is what it is; try again",
        "",
        "a: b; c" * 500,
        "{n} and {error}",
        "; : ; ",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert translated(text, "ko") == text


def test_every_advice_is_translated():
    for text in [READ_THE_LOG, *(text.replace(r"\1", "pyarrow") for _, text in ADVICE)]:
        for language in ("ko", "ja"):
            assert not left_in_english(translated(text, language).replace("show tables in db", "")), text


@each_language
@pytest.mark.parametrize("sentence", [sentence for _, sentence in SENTENCES])
def test_every_sentence_about_a_failure_is_translated(sentence, language):
    text = re.sub(r"\{\w+\}", "7", sentence)
    for part in (text, f"{text}, which led to 7", f"the script exited with code 1 after it caught {text}"):
        assert not left_in_english(
            re.sub(r"\(.*\)|spark\.driver\.maxResultSize|GROUP BY", "", translated(part, language))
        )


@pytest.mark.parametrize(
    ("english", "korean", "japanese"), sentences(), ids=[each[0] for each in sentences()]
)
def test_a_translation_has_the_values_of_its_sentence(english, korean, japanese):
    assert placeholders(korean) == placeholders(japanese) == placeholders(english)


@each_language
@pytest.mark.parametrize(
    "finding",
    [
        "one of 200 tasks took 61 % of the time: 26 s, the median task 390 ms; skewed on 7?",
        "its tasks ran out of memory and wrote 5.0 GiB to disk",
        "Java collected garbage for 26 % of its tasks' time",
        "its 400 tasks are tiny, the median 57 ms: use fewer partitions",
        "its only task took 19 s on one of 4 cores",
    ],
)
def test_every_finding_about_a_stage_is_translated(finding, language):
    # As it is, not only in parts: the units stay.
    assert left_in_english(re.sub(r"\bms\b|GiB|Java", "", translated(finding, language))) == []


WRITERS = {
    *("_failed", "Outcome", "ScriptProblem", "NoSpark", "waiting"),  # the local service
    *("blind", "lost", "_lose", "give_up", "OutcomeUnknown", "set_card_fields"),  # the session
    *("TooManyRequests", "ServiceBroken", "Unreachable"),  # the client
}
"""What is called with a text that cards show."""


@each_language
@pytest.mark.parametrize("folder", ["local", "session", "client"])
def test_every_reason_in_the_code_is_translated(folder, language):
    reasons = [
        # A value right after a word is the rest of the reason, such as ": " and the last line of a log, or nothing.
        re.sub(rf"(?<=[a-z]){VALUE}$", "", text).replace(VALUE, "7")
        for tree in trees(PACKAGE / folder)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and name_of(call) in WRITERS
        for argument in [*call.args, *(each.value for each in call.keywords)]
        if len(re.findall("[a-z]{2,}", text := text_of(argument))) > 1
    ]

    assert reasons
    english = [text for text in reasons if translated(text, language) == text]
    assert not english, f"card/sentences.txt lacks {english}"


MESSAGES = {"mistake", "error", "ArgumentTypeError", "say", "_say", "_note", "warn", "Detached"} | {
    name for name in errors.__all__ if name[0].isupper()
}
"""What is called with a message of a magic, a command or the local service; those of values begin with a name."""
PIECES = (
    "7; see 7 --help",
    "7 7, or escape it to send it",
    "jobCondition.7: 7",
    "7=7 is 7, not 7",
    "the grid 7",
    "the parameter 7 7",
    "the secret 7",
    "7; run it: 7",
    "7; each line of a parameter block is name = value",
    "7: do not start it again; %dataflow_wait 7 waits until that is clear",
    "dataflow-magic: ",
    "7 is set and 7; set both or neither",
    "7 has no 7",
    "s3a://7 cannot be 77 (7)7",
    'DATAFLOW_JAVA=7 7; set it to the home of Java 7 or newer, to "wheel", or unset it',
    "run 7 of 7 was 7 and may be an identical run of another user; if it is yours, %dataflow_cancel 7 --yes or "
    "cancel(sure=True) ends it",
    "7; there is nothing to start",
    "standard input is no terminal, so nothing was deleted; --yes deletes 7 without asking",
    "Data Flow service at 7, data in 7, 7",
)
"""Messages whose words are those of their parts, or names of Python's arguments."""


@each_language
@pytest.mark.parametrize(
    "folder", ["card", "cell", "cli", "client", "config", "ledger", "local", "magics", "session"]
)
def test_every_message_that_a_user_reads_is_translated(folder, language):
    english = [
        text
        for name, text in messages(folder)
        if translated(text, language) == text and text not in PIECES and name != "ValueError"
    ]
    of_values = [
        text
        for name, text in messages(folder)
        if name == "ValueError" and translated(f"7 {text}", language) == f"7 {text}"
    ]

    assert messages(folder)
    assert not english, f"card/sentences.txt lacks {english}"
    assert folder != "cell" or [text for text in of_values if not text.startswith("7")] == []


def messages(folder: str) -> list[tuple[str, str]]:
    """Return what is called and its text, for each message of a folder; values are 7."""
    return [
        (name_of(call), re.sub(rf"(?<=[a-z]){VALUE}$", "", text).replace(VALUE, "7"))
        for tree in trees(PACKAGE / folder)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and name_of(call) in {*MESSAGES, "ValueError"}
        if not ast.unparse(call.func).startswith("logger.")
        for argument in [*call.args, *(each.value for each in call.keywords)]
        if len(re.findall("[a-z]{2,}", text := text_of(argument))) > 1
    ]


@pytest.mark.parametrize(
    ("text", "korean"),
    [
        (
            "NCLOUD_ACCESS_KEY is set and NCLOUD_SECRET_KEY is not; set both or neither",
            "NCLOUD_ACCESS_KEY만 설정되어 있고 NCLOUD_SECRET_KEY은(는) 없습니다. 둘 다 설정하거나 둘 다 해제하세요",
        ),
        (
            "profile 'prod' of ~/.ncloud/configure has no ncloud_secret_access_key",
            "~/.ncloud/configure의 프로필 'prod'에 ncloud_secret_access_key이(가) 없습니다",
        ),
        (
            "no run 'x' in any of 3 jobs; %dataflow_attach x JOB asks one job",
            "작업 3개에 실행 'x'이(가) 없습니다. 작업 하나만 조회하려면 %dataflow_attach x JOB",
        ),
        (
            "stopped the service at http://127.0.0.1:1, process 7; 2 RUNNING runs ended FAILED",
            "서비스 http://127.0.0.1:1을(를) 중지했습니다 (프로세스 7). FAILED로 끝남: 2 RUNNING runs",
        ),
        (
            "wrote 12 bytes to s3a://b/x.py; job daily (a1) updated on local; run it: %dataflow_run daily",
            "s3a://b/x.py에 12바이트를 썼습니다. local의 작업 daily (a1): 변경함. 실행하려면: %dataflow_run daily",
        ),
        (
            "Data Flow service at http://127.0.0.1:1, data in /d, keys in /d/keys.env",
            "Data Flow 서비스: http://127.0.0.1:1, 데이터: /d, 키 파일: /d/keys.env",
        ),
        (
            "standard input is no terminal, so nothing was deleted; --yes deletes 1 job, 2 runs and 3 objects (4 kB) of /d "
            "without asking",
            "표준 입력이 터미널이 아니어서 아무것도 삭제하지 않았습니다. --yes를 붙이면 /d의 1 job, 2 runs and 3 objects (4 kB)을(를) "
            "묻지 않고 삭제합니다",
        ),
        (
            "run a1 of daily was found by its parameters and may be an identical run of another user; if it is yours, "
            "%dataflow_cancel a1 --yes or cancel(sure=True) ends it",
            "작업 daily의 실행 a1은(는) 파라미터로 찾았으므로 다른 사람의 같은 실행일 수 있습니다. 본인의 실행이면 "
            "%dataflow_cancel a1 --yes 또는 cancel(sure=True)로 끝내세요",
        ),
    ],
)
def test_a_message_of_several_parts_is_translated_whole(text, korean):
    assert translated(text, "ko") == korean


def test_every_sentence_is_one_that_the_package_writes():
    """A sentence that is reworded where it is written must be reworded here, or a card shows it in English."""
    written = "\n".join(
        [*OF_ARGPARSE, *(text_of(node) for tree in trees(PACKAGE) for node in ast.walk(tree))]
    )
    unknown = [
        english
        for english, *_ in sentences()
        if not all(part.strip(" (),.:") in written for part in re.split(r"\{\w+\}", english))
    ]

    assert not unknown, f"no code writes these sentences of card/sentences.txt: {unknown}"


OF_ARGPARSE = (
    "the following arguments are required: ",
    "expected one argument",
    "invalid choice: ",
    "(choose from ",
    "argument ",
)
"""What the parser of Python writes into a message of ours."""

VALUE = "\n"
"""Stands for a value that only a running program has."""


@cache
def trees(folder: Path) -> list[ast.Module]:
    return [ast.parse(file.read_text("utf-8")) for file in sorted(folder.rglob("*.py"))]


@cache
def constants() -> dict[str, str]:
    return {
        target.id: node.value.value
        for tree in trees(PACKAGE)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def text_of(node: ast.AST) -> str:
    """Return the text of an expression, empty where it is none."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(text_of(part) for part in node.values)
        case ast.FormattedValue(value=ast.Name(id=name)):
            return constants().get(name, VALUE)
        case ast.FormattedValue():
            return VALUE
    return ""


def name_of(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
