"""What a card says in English, Korean and Japanese. Pure.

Labels and numbers only: what the service, a script or an error says is shown as it came. The Japanese glosses of the service's
states are those of its executeJob page; the Korean ones say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dataflow_magic.models.view import NOT_STARTED, SUBMITTING, UNCLEAR
from dataflow_magic.models.wire import RunState

__all__ = ["ENGLISH", "LANGUAGES", "Words", "words_of"]


@dataclass(frozen=True, slots=True)
class Words:
    """A card's labels in one language; braces take numbers, times and names.

    Parameters
    ----------
    language
        A tag of BCP 47, for the HTML.
    glosses
        State -> what it means, where the service's own word does not say it in this language.
    hours, minutes, seconds
        Two units at most: ``{h}``, ``{m}`` and ``{s}``.
    """

    language: str = "en"
    glosses: Mapping[str, str] = field(default_factory=dict)
    hours: str = "{h} h {m:02d} min"
    minutes: str = "{m} min {s:02d} s"
    seconds: str = "{s} s"
    whole_minutes: str = "{m} min"
    card: str = "Data Flow run"
    run: str = "run"
    on: str = "on"
    as_of: str = "as of {time}"
    refresh: str = "refresh with"
    submitted: str = "submitted {time}"
    ended: str = "ended {time}"
    since_submission: str = "since submission"
    again: str = "again with"
    waiting: str = "waiting for: {what}"
    for_the_answer: str = "the service's answer"
    for_the_start: str = "the service to start it"
    blind: str = "no news since {time}"
    cancel_sent: str = "cancel sent"
    stop_waiting: str = "interrupt the kernel to stop waiting; the run goes on"
    tasks: str = "{done} of {total} tasks"
    stages: str = "{done} of {total} stages"
    attempts_failed: str = "failed attempts: {failed}"
    progress: str = "Spark tasks done, of the Spark jobs begun so far"
    usually: str = "usually {median} ({shortest} to {longest} in {runs} runs)"
    usually_one: str = "{median} the last time"
    first: str = "no completed run before to compare with"
    late: str = "longer than its last {runs} completed runs (at most {longest})"
    parameters: str = "Parameters"
    condition: str = "Job condition"
    more: str = "and {count} more"
    workers: str = "workers"
    timeout: str = "timeout"
    role: str = "role"
    script: str = "script"
    log: str = "log"
    trigger: str = "trigger"
    workflow: str = "workflow"
    last_lines: str = "Last {count} lines of the log"
    no_log: str = "the log is empty so far"
    what_to_try: str = "What to try"
    cancel: str = "Cancel"
    confirm: str = "Yes, cancel it"
    keep: str = "Keep running"
    cancelling: str = "Cancelling…"
    run_again: str = "Run again"
    logs: str = "Logs"
    hide_logs: str = "Hide logs"

    def duration(self, seconds: int) -> str:
        """Write a time span in whole seconds: ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
        if seconds < 60:
            return self.seconds.format(s=seconds)
        if seconds < 3600:
            return self.minutes.format(m=seconds // 60, s=seconds % 60)
        return self.hours.format(h=seconds // 3600, m=seconds % 3600 // 60)


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
    },
    hours="{h}시간 {m:02d}분",
    minutes="{m}분 {s:02d}초",
    seconds="{s}초",
    whole_minutes="{m}분",
    card="Data Flow 실행",
    run="실행",
    on="·",
    as_of="{time} 기준",
    refresh="새로 고침:",
    submitted="요청 {time}",
    ended="종료 {time}",
    since_submission="요청 후 경과",
    again="다시 실행:",
    waiting="기다리는 중: {what}",
    for_the_answer="서비스의 응답",
    for_the_start="서비스의 실행 시작",
    blind="{time}부터 소식 없음",
    cancel_sent="취소 요청됨",
    stop_waiting="커널을 중단하면 기다리기만 멈추고 실행은 계속됩니다",
    tasks="태스크 {done}/{total}",
    stages="스테이지 {done}/{total}",
    attempts_failed="시도 {failed}회 실패",
    progress="지금까지 시작된 Spark 작업의 태스크",
    usually="보통 {median} (최근 {runs}회 {shortest}~{longest})",
    usually_one="지난번 {median}",
    first="비교할 완료된 실행이 없음",
    late="최근 완료된 {runs}회보다 오래 걸림 (최대 {longest})",
    parameters="파라미터",
    condition="작업 조건",
    more="외 {count}개",
    workers="워커 수",
    timeout="타임아웃",
    role="역할",
    script="스크립트",
    log="로그",
    trigger="트리거",
    workflow="워크플로",
    last_lines="로그의 마지막 {count}줄",
    no_log="아직 로그가 없습니다",
    what_to_try="해결 방법",
    cancel="취소",
    confirm="네, 취소합니다",
    keep="계속 실행",
    cancelling="취소 중…",
    run_again="다시 실행",
    logs="로그",
    hide_logs="로그 닫기",
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
        NOT_STARTED: "開始されていません",
        UNCLEAR: "要確認",
    },
    hours="{h}時間{m:02d}分",
    minutes="{m}分{s:02d}秒",
    seconds="{s}秒",
    whole_minutes="{m}分",
    card="Data Flow の実行",
    run="実行",
    on="·",
    as_of="{time} 時点",
    refresh="更新:",
    submitted="送信 {time}",
    ended="終了 {time}",
    since_submission="送信からの経過時間",
    again="再実行:",
    waiting="待機: {what}",
    for_the_answer="サービスの応答",
    for_the_start="サービスによる開始",
    blind="{time} から応答なし",
    cancel_sent="キャンセル送信済み",
    stop_waiting="カーネルを中断すると待機だけが終わり、実行は続きます",
    tasks="タスク {done}/{total}",
    stages="ステージ {done}/{total}",
    attempts_failed="試行 {failed} 回失敗",
    progress="これまでに始まった Spark ジョブのタスク",
    usually="通常 {median} (直近 {runs} 回は {shortest}~{longest})",
    usually_one="前回は {median}",
    first="比べられる完了した実行はまだない",
    late="直近の完了した {runs} 回より長い (最長 {longest})",
    parameters="パラメータ",
    condition="ジョブの条件",
    more="他 {count} 件",
    workers="ワーカー数",
    timeout="タイムアウト",
    role="ロール",
    script="スクリプト",
    log="ログ",
    trigger="トリガー",
    workflow="ワークフロー",
    last_lines="ログの最後の {count} 行",
    no_log="ログはまだありません",
    what_to_try="対処",
    cancel="キャンセル",
    confirm="はい、中止します",
    keep="続ける",
    cancelling="キャンセル中…",
    run_again="再実行",
    logs="ログ",
    hide_logs="ログを閉じる",
)

LANGUAGES: Final[Mapping[str, Words]] = {each.language: each for each in (ENGLISH, KOREAN, JAPANESE)}


def words_of(language: str) -> Words:
    """Return the words of a language, the English ones where there are none: ``ko``, ``ko_KR.UTF-8``, ``ja-JP``."""
    return LANGUAGES.get(language[:2].lower(), ENGLISH)
