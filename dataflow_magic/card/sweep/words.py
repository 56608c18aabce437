"""What the card of a sweep says in English, Korean and Japanese, beside what it shares with that of one run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dataflow_magic.card.words import ENGLISH, LANGUAGES, Words, words_of

__all__ = [
    "ENDED_SENDING",
    "ENGLISH_SWEEP",
    "RETRIED",
    "SWEEP_CANCELED",
    "UNSENT",
    "SweepWords",
    "sweep_words_of",
]

UNSENT: Final = "UNSENT"
"""Word for the runs of a sweep whose request has not left; ours."""
RETRIED: Final = "RETRIED"
"""Word for the failed runs of a sweep that were started once more; ours."""
SWEEP_CANCELED: Final = "the sweep was canceled"
"""Why a sweep sends no more, where somebody canceled it."""
ENDED_SENDING: Final = "the sending was ended"
"""Why a sweep sends no more, where its session was closed."""


@dataclass(frozen=True, slots=True)
class SweepWords:
    """The labels of a sweep's card in one language; braces take numbers, times and names.

    Parameters
    ----------
    shared
        What the card of one run says as well.
    own_glosses
        As `Words.glosses`, of the words a sweep has for itself.
    one_run, many_runs
        How many, to stand for ``{runs}`` in the others.
    group
        Name of some of the table's rows, by what they have in common.
    stopped
        Reason of ours why no more is sent -> the same in this language; others are shown as they came.
    """

    shared: Words = ENGLISH
    own_glosses: Mapping[str, str] = field(default_factory=dict)
    card: str = "Data Flow sweep"
    one_run: str = "{count} run"
    many_runs: str = "{count} runs"
    sweep: str = "sweep of {runs} on {target}"
    over: str = "{over} of {runs} over"
    share: str = "{over}: {completed} completed, {rest} not"
    what_is_over: str = "Runs that are over"
    since_first: str = "since the first run was submitted"
    table: str = "Runs of the sweep"
    group: str = "{what} runs"
    state: str = "state"
    time: str = "time"
    since: str = "since {time}"
    retried: str = "retried"
    retried_after: str = "retried; it was: {reason}"
    not_sent: str = "{count} not sent: {reason}"
    not_again: str = "not started again: {reason}"
    stopped: Mapping[str, str] = field(default_factory=dict)
    silent: str = "no news of {count} since {time}"
    refresh: str = "show the sweep again to refresh"
    stop_waiting: str = "interrupt the kernel to stop waiting; the runs go on"
    retry_starts: str = ".retry_failed() starts the {count} failed again"
    rest_sends: str = ".send_rest() sends the {count} unsent"
    not_shown: str = "not shown: {counts}"
    list_all: str = "list all with"
    cancel_all: str = "Cancel all"
    confirm: str = "Cancel {runs}?"
    retry: str = "Retry failed ({count})"

    def gloss(self, word: str) -> str:
        """Return what a state means, where its word does not say it in this language."""
        return self.own_glosses.get(word) or self.shared.glosses.get(word, "")

    def runs(self, count: int) -> str:
        """Say how many runs."""
        return (self.one_run if count == 1 else self.many_runs).format(count=count)


ENGLISH_SWEEP: Final = SweepWords()

KOREAN_SWEEP: Final = SweepWords(
    shared=LANGUAGES["ko"],
    own_glosses={UNSENT: "미전송", RETRIED: "다시 실행됨"},
    card="Data Flow 스윕",
    one_run="실행 {count}개",
    many_runs="실행 {count}개",
    sweep="스윕: {runs} · {target}",
    over="{runs} 중 {over}개 종료",
    share="{over}: 완료 {completed}개, 그 외 {rest}개",
    what_is_over="종료된 실행",
    since_first="첫 실행 요청 후 경과",
    table="스윕의 실행 목록",
    group="실행: {what}",
    state="상태",
    time="시간",
    since="{time}부터",
    retried="다시 실행됨",
    retried_after="다시 실행됨; 이전 결과: {reason}",
    not_sent="{count}개 보내지 않음: {reason}",
    not_again="다시 실행되지 않음: {reason}",
    stopped={SWEEP_CANCELED: "스윕이 취소됨", ENDED_SENDING: "보내기가 중단됨"},
    silent="{count}개가 {time}부터 소식 없음",
    refresh="스윕을 다시 표시하면 새로 고쳐집니다",
    stop_waiting="커널을 중단하면 기다리기만 멈추고 실행은 계속됩니다",
    retry_starts=".retry_failed(): 실패한 {count}개를 다시 실행",
    rest_sends=".send_rest(): 보내지 않은 {count}개를 보내기",
    not_shown="표시하지 않음: {counts}",
    list_all="전체 목록:",
    cancel_all="모두 취소",
    confirm="{runs}를 취소할까요?",
    retry="실패만 다시 실행 ({count})",
)

JAPANESE_SWEEP: Final = SweepWords(
    shared=LANGUAGES["ja"],
    own_glosses={UNSENT: "未送信", RETRIED: "再実行済み"},
    card="Data Flow のスイープ",
    one_run="実行 {count} 件",
    many_runs="実行 {count} 件",
    sweep="スイープ: {runs} · {target}",
    over="{runs}中 {over} 件終了",
    share="{over}: 完了 {completed} 件、それ以外 {rest} 件",
    what_is_over="終了した実行",
    since_first="最初の実行の送信からの経過時間",
    table="スイープの実行一覧",
    group="実行: {what}",
    state="状態",
    time="時間",
    since="{time} から",
    retried="再実行済み",
    retried_after="再実行済み; 前回の結果: {reason}",
    not_sent="{count} 件は未送信: {reason}",
    not_again="再実行されていません: {reason}",
    stopped={SWEEP_CANCELED: "スイープがキャンセルされました", ENDED_SENDING: "送信が中断されました"},
    silent="{count} 件は {time} から応答なし",
    refresh="スイープを再表示すると更新されます",
    stop_waiting="カーネルを中断すると待機だけが終わり、実行は続きます",
    retry_starts=".retry_failed(): 失敗した {count} 件を再実行",
    rest_sends=".send_rest(): 未送信の {count} 件を送信",
    not_shown="表示していないもの: {counts}",
    list_all="一覧:",
    cancel_all="すべてキャンセル",
    confirm="{runs}をキャンセルしますか?",
    retry="失敗分を再実行 ({count})",
)

_LANGUAGES: Final = {each.shared.language: each for each in (ENGLISH_SWEEP, KOREAN_SWEEP, JAPANESE_SWEEP)}


def sweep_words_of(language: str) -> SweepWords:
    """Return the words of a language, the English ones where there are none; as `words_of`."""
    return _LANGUAGES[words_of(language).language]
