"""The labels of both cards in English, Korean and Japanese. Pure.

Text of the service, of a script and of libraries is shown as it came; this package's own sentences are in `sentences`. The
Japanese glosses of the service's states are those of its executeJob page; the Korean ones say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from dataflow_magic.card.sentences import translated
from dataflow_magic.models.times import Span
from dataflow_magic.models.view import NOT_STARTED, SUBMITTING, UNCLEAR
from dataflow_magic.models.wire import RunState

__all__ = ["ENGLISH", "LANGUAGES", "PAUSED", "RETRIED", "SKIPPED", "UNSENT", "Words", "words_of"]

PAUSED: Final = "PAUSED"
"""What a sweep is whose starts wait for its user."""
UNSENT: Final = "UNSENT"
"""The state of runs of a sweep whose request was not sent; ours."""
SKIPPED: Final = "SKIPPED"
"""The state of requests of a sweep that need no run, since an earlier one serves; ours."""
RETRIED: Final = "RETRIED"
"""The state of failed runs of a sweep that were started once more; ours."""


@dataclass(frozen=True, slots=True)
class Words:
    """A card's labels in one language; braces take numbers, times and names.

    Parameters
    ----------
    language
        A tag of BCP 47, for the HTML.
    glosses
        State -> its meaning, where the state's own word is of another language.
    hours, minutes, seconds
        Two units at most: ``{h}``, ``{m}`` and ``{s}``.
    then
        Stands between two clauses.
    one_run, many_runs
        A number of runs, which other labels take as ``{runs}``.
    """

    language: str = "en"
    glosses: Mapping[str, str] = field(default_factory=dict)
    hours: str = "{h} h {m:02d} min"
    minutes: str = "{m} min {s:02d} s"
    seconds: str = "{s} s"
    whole_minutes: str = "{m} min"
    then: str = "; "

    # Both cards
    run: str = "run"
    as_of: str = "as of {time}"
    submitted: str = "submitted {time}"
    ended: str = "ended {time}"
    waited: str = "waited {time}"
    ran: str = "ran {time}"
    in_all: str = "{time} in all"
    waiting: str = "waiting for: {what}"
    for_the_answer: str = "the service's answer"
    for_the_start: str = "the service to start it"
    cancel_sent: str = "cancel sent"
    more: str = "and {count} more"
    keep: str = "Keep running"
    cancelling: str = "Cancelling…"

    # The card of a run
    card: str = "Data Flow run"
    on: str = "on"
    refresh: str = "refresh with"
    left: str = "its kernel has ended; after %load_ext dataflow_magic continue with"
    stale: str = "the saved notebook keeps an earlier state of this card; show the end in a cell with"
    since_submission: str = "since submission"
    again: str = "run again:"
    blind: str = "no answer since {time}"
    stop_waiting: str = "interrupt the kernel to stop waiting; the run continues"
    tasks: str = "{done} of {total} tasks"
    tasks_done: str = "{done} tasks done"
    stages: str = "{done} of {total} stages"
    attempts_failed: str = "failed attempts: {failed}"
    progress: str = "Spark tasks done, of the Spark jobs started so far"
    usually: str = "usually {median} ({shortest} to {longest} in {runs} runs)"
    usually_one: str = "{median} the last time"
    late: str = "longer than its last {runs} completed runs (at most {longest})"
    parameters: str = "Parameters"
    condition: str = "Job condition"
    workers: str = "workers"
    timeout: str = "timeout"
    role: str = "role"
    script: str = "script"
    log: str = "log"
    trigger: str = "trigger"
    workflow: str = "workflow"
    last_line: str = "Last line of the log"
    last_lines: str = "Last {count} lines of the log"
    no_log: str = "the log is empty so far"
    whole_log: str = "the whole log:"
    time_went: str = "Where the time went"
    stage: str = "stage {number}: {name}"
    all_stages: str = "all stages over time:"
    spark_pages: str = "Spark's own pages"
    spark_application: str = "Spark application"
    no_stages: str = "no stage has begun yet"
    tasks_over_time: str = "Tasks over time, at most {most} at once; dashed: cores"
    stage_columns: tuple[str, ...] = (
        "stage",
        "place",
        "took",
        "tasks",
        "median",
        "slowest",
        "rows read",
        "rows written",
        "shuffled",
        "spilled",
    )
    copy_id: str = "Copy id"
    copied: str = "Copied"
    what_to_try: str = "What to try"
    place: str = "{file}, line {line}"
    in_function: str = "{place}, in {function}"
    expression: str = "expression: {expression}"
    cancel: str = "Cancel"
    confirm_one: str = "Cancel this run?"
    confirm: str = "Yes, cancel"
    found: str = "found by its parameters"
    confirm_found: str = "Found by its parameters: cancel it?"
    run_again: str = "Run again"
    logs: str = "Logs"
    hide_logs: str = "Hide logs"

    # The card of a sweep
    sweep_card: str = "Data Flow sweep"
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
    failed_by: str = "{count} failed: {causes}"
    retried: str = "retried"
    retried_after: str = "retried; its reason was: {reason}"
    not_sent: str = "{count} not sent: {reason}"
    limited: str = "at most {count} at once: the job's maxConcurrentRuns"
    not_again: str = "not started again: {reason}"
    silent: str = "no answer about {count} since {time}"
    stop_waiting_for_sweep: str = "interrupt the kernel to stop waiting; the runs continue"
    retry_starts: str = "{call} starts the {count} failed again"
    rest_sends: str = "{call} starts the {count} unsent"
    log_of_run: str = "the log of one run:"
    not_shown: str = "not shown: {counts}"
    list_all: str = "list all with"
    cancel_all: str = "Cancel all"
    confirm_all: str = "Cancel {runs}?"
    confirm_all_found: str = "Cancel {runs}, {found} of them found by parameters?"
    retry: str = "Retry failed ({count})"
    pause: str = "Pause"
    resume: str = "Resume ({count})"

    def duration(self, seconds: int) -> str:
        """Return a time span in whole seconds: ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
        if seconds < 60:
            return self.seconds.format(s=seconds)
        if seconds < 3600:
            return self.minutes.format(m=seconds // 60, s=seconds % 60)
        return self.hours.format(h=seconds // 3600, m=seconds % 3600 // 60)

    def length(self, span: Span) -> str:
        """Return a measured time, rounded to the whole seconds or minutes that its source counts."""
        if span.source == "minutes":
            return self.whole_minutes.format(m=span.length // timedelta(minutes=1))
        return self.duration(round(span.length.total_seconds()))

    def gloss(self, state: str) -> str:
        """Return the meaning of a state, empty where its own word is enough or it is unknown."""
        return self.glosses.get(state, "")

    def runs(self, count: int) -> str:
        """Return a number of runs in words."""
        return (self.one_run if count == 1 else self.many_runs).format(count=count)

    def sentence(self, text: str) -> str:
        """Return a sentence of this package in this language; any other text as it is."""
        return translated(text, self.language)


ENGLISH: Final = Words()

KOREAN: Final = Words(
    language="ko",
    glosses={
        RunState.READY: "대기 중",
        RunState.RUNNING: "실행 중",
        RunState.COMPLETED: "완료",
        RunState.FAILED: "실패",
        RunState.CANCELED: "취소",
        SUBMITTING: "요청 중",
        NOT_STARTED: "시작되지 않음",
        UNCLEAR: "확인 필요",
        UNSENT: "미전송",
        PAUSED: "일시 중지",
        SKIPPED: "건너뜀",
        RETRIED: "다시 실행됨",
    },
    hours="{h}시간 {m:02d}분",
    minutes="{m}분 {s:02d}초",
    seconds="{s}초",
    whole_minutes="{m}분",
    then=". ",
    run="실행",
    as_of="{time} 기준",
    submitted="요청 {time}",
    ended="종료 {time}",
    waited="대기 {time}",
    ran="실행 {time}",
    in_all="총 {time}",
    waiting="대기: {what}",
    for_the_answer="서비스 응답",
    for_the_start="서비스의 실행 시작",
    cancel_sent="취소 요청됨",
    more="외 {count}개",
    keep="계속 실행",
    cancelling="취소 중…",
    card="Data Flow 실행",
    on="·",
    refresh="새로 고침:",
    left="커널이 종료되었습니다. %load_ext dataflow_magic 실행 후 이어서 보기:",
    stale="저장된 노트북에는 이 카드의 이전 상태가 남습니다. 최종 상태를 셀에 표시하기:",
    since_submission="요청 후 경과 시간",
    again="다시 실행:",
    blind="{time}부터 응답 없음",
    stop_waiting="커널을 중단하면 대기만 멈추고 실행은 계속됩니다",
    tasks="태스크 {done}/{total}",
    tasks_done="태스크 {done}개 완료",
    stages="스테이지 {done}/{total}",
    attempts_failed="실패한 시도 {failed}회",
    progress="지금까지 시작된 Spark 작업 중 완료된 태스크",
    usually="보통 {median} (최근 {runs}회 {shortest}~{longest})",
    usually_one="지난번 {median}",
    late="최근 완료된 실행 {runs}회보다 오래 걸림 (최대 {longest})",
    parameters="파라미터",
    condition="작업 조건",
    workers="워커 수",
    timeout="타임아웃",
    role="역할",
    script="스크립트",
    log="로그",
    trigger="트리거",
    workflow="워크플로",
    last_line="로그 마지막 줄",
    last_lines="로그 마지막 {count}줄",
    no_log="아직 로그가 없습니다",
    whole_log="전체 로그:",
    time_went="시간이 걸린 곳",
    stage="스테이지 {number}: {name}",
    all_stages="모든 스테이지의 시간 흐름:",
    spark_pages="Spark 자체 페이지",
    spark_application="Spark 애플리케이션",
    no_stages="아직 시작된 스테이지가 없습니다",
    tasks_over_time="시간별 태스크 수, 최대 동시 {most}개. 점선: 코어 수",
    stage_columns=(
        "스테이지",
        "위치",
        "소요",
        "태스크",
        "중앙값",
        "최대",
        "읽은 행",
        "쓴 행",
        "셔플",
        "스필",
    ),
    copy_id="ID 복사",
    copied="복사됨",
    what_to_try="조치 방법",
    place="{file} {line}행",
    in_function="{place}, {function} 함수",
    expression="식: {expression}",
    cancel="취소",
    confirm_one="이 실행을 취소할까요?",
    confirm="예, 취소합니다",
    found="파라미터로 찾은 실행",
    confirm_found="파라미터로 찾은 실행입니다. 취소할까요?",
    run_again="다시 실행",
    logs="로그",
    hide_logs="로그 닫기",
    sweep_card="Data Flow 스윕",
    one_run="실행 {count}개",
    many_runs="실행 {count}개",
    sweep="스윕: {runs} · {target}",
    over="{runs} 중 {over}개 종료",
    share="{over}: 완료 {completed}개, 그 외 {rest}개",
    what_is_over="종료된 실행",
    since_first="첫 실행 요청 후 경과 시간",
    table="스윕의 실행 목록",
    group="실행: {what}",
    state="상태",
    time="시간",
    since="{time}부터",
    failed_by="실패 {count}개: {causes}",
    retried="다시 실행됨",
    retried_after="다시 실행됨 (이전 실패 사유: {reason})",
    not_sent="{count}개 전송 안 함: {reason}",
    limited="동시에 최대 {count}개: 작업의 maxConcurrentRuns",
    not_again="다시 실행하지 않음: {reason}",
    silent="{count}개가 {time}부터 응답 없음",
    stop_waiting_for_sweep="커널을 중단하면 대기만 멈추고 실행은 계속됩니다",
    retry_starts="{call}: 실패한 {count}개 다시 실행",
    rest_sends="{call}: 전송하지 않은 {count}개 시작",
    log_of_run="실행 하나의 로그:",
    not_shown="표시하지 않은 실행: {counts}",
    list_all="전체 목록:",
    cancel_all="모두 취소",
    confirm_all="{runs}를 취소할까요?",
    confirm_all_found="{runs}를 취소할까요? (파라미터로 찾은 실행 {found}개 포함)",
    retry="실패만 다시 실행 ({count})",
    pause="일시 중지",
    resume="재개 ({count})",
)

JAPANESE: Final = Words(
    language="ja",
    glosses={
        RunState.READY: "待機中",
        RunState.RUNNING: "実行中",
        RunState.COMPLETED: "完了",
        RunState.FAILED: "失敗",
        RunState.CANCELED: "キャンセル",
        SUBMITTING: "送信中",
        NOT_STARTED: "未開始",
        UNCLEAR: "要確認",
        UNSENT: "未送信",
        PAUSED: "一時停止",
        SKIPPED: "スキップ",
        RETRIED: "再実行済み",
    },
    hours="{h}時間{m:02d}分",
    minutes="{m}分{s:02d}秒",
    seconds="{s}秒",
    whole_minutes="{m}分",
    then="。",
    run="実行",
    as_of="{time} 時点",
    submitted="送信 {time}",
    ended="終了 {time}",
    waited="待機 {time}",
    ran="実行 {time}",
    in_all="合計 {time}",
    waiting="待機: {what}",
    for_the_answer="サービスの応答",
    for_the_start="サービスによる開始",
    cancel_sent="キャンセル送信済み",
    more="他 {count} 件",
    keep="実行を続ける",
    cancelling="キャンセル中…",
    card="Data Flow の実行",
    on="·",
    refresh="更新:",
    left="カーネルは終了しました。%load_ext dataflow_magic の実行後に続けるには:",
    stale="保存されたノートブックにはこのカードの以前の状態が残ります。最終状態をセルに表示するには:",
    since_submission="送信からの経過時間",
    again="再実行:",
    blind="{time} から応答なし",
    stop_waiting="カーネルを中断すると待機だけが終わり、実行は続きます",
    tasks="タスク {done}/{total}",
    tasks_done="タスク {done} 件完了",
    stages="ステージ {done}/{total}",
    attempts_failed="失敗した試行 {failed} 回",
    progress="これまでに開始された Spark ジョブのうち完了したタスク",
    usually="通常 {median} (直近 {runs} 回は {shortest}~{longest})",
    usually_one="前回は {median}",
    late="直近に完了した {runs} 回より長くかかっています (最長 {longest})",
    parameters="パラメータ",
    condition="ジョブ条件",
    workers="ワーカー数",
    timeout="タイムアウト",
    role="ロール",
    script="スクリプト",
    log="ログ",
    trigger="トリガー",
    workflow="ワークフロー",
    last_line="ログの最後の行",
    last_lines="ログの最後の {count} 行",
    no_log="ログはまだありません",
    whole_log="ログ全体:",
    time_went="時間がかかった箇所",
    stage="ステージ {number}: {name}",
    all_stages="全ステージの時系列:",
    spark_pages="Spark 自身のページ",
    spark_application="Spark アプリケーション",
    no_stages="まだ開始されたステージはありません",
    tasks_over_time="時間ごとのタスク数、最大同時 {most} 件。破線: コア数",
    stage_columns=(
        "ステージ",
        "場所",
        "所要",
        "タスク",
        "中央値",
        "最長",
        "読み取り行",
        "書き込み行",
        "シャッフル",
        "スピル",
    ),
    copy_id="ID をコピー",
    copied="コピーしました",
    what_to_try="対処方法",
    place="{file} の {line} 行目",
    in_function="{place}、関数 {function}",
    expression="式: {expression}",
    cancel="キャンセル",
    confirm_one="この実行をキャンセルしますか?",
    confirm="はい、キャンセルします",
    found="パラメータで特定した実行",
    confirm_found="パラメータで特定した実行です。キャンセルしますか?",
    run_again="再実行",
    logs="ログ",
    hide_logs="ログを閉じる",
    sweep_card="Data Flow のスイープ",
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
    failed_by="失敗 {count} 件: {causes}",
    retried="再実行済み",
    retried_after="再実行済み (前回の失敗理由: {reason})",
    not_sent="{count} 件は未送信: {reason}",
    limited="同時に最大 {count} 件: ジョブの maxConcurrentRuns",
    not_again="再実行されていません: {reason}",
    silent="{count} 件は {time} から応答なし",
    stop_waiting_for_sweep="カーネルを中断すると待機だけが終わり、実行は続きます",
    retry_starts="{call}: 失敗した {count} 件を再実行",
    rest_sends="{call}: 未送信の {count} 件を開始",
    log_of_run="1 件の実行のログ:",
    not_shown="表示していない実行: {counts}",
    list_all="一覧:",
    cancel_all="すべてキャンセル",
    confirm_all="{runs}をキャンセルしますか?",
    confirm_all_found="{runs}をキャンセルしますか? (パラメータで特定した実行 {found} 件を含む)",
    retry="失敗分を再実行 ({count})",
    pause="一時停止",
    resume="再開 ({count})",
)

LANGUAGES: Final[Mapping[str, Words]] = {each.language: each for each in (ENGLISH, KOREAN, JAPANESE)}


def words_of(language: str) -> Words:
    """Return the labels of a language, English where it has none: ``ko``, ``ko_KR.UTF-8``, ``ja-JP``."""
    return LANGUAGES.get(language[:2].lower(), ENGLISH)
