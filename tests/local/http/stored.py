"""A job and a run as the store returns them, and the run's response as the executeJob page prints it."""

from datetime import UTC, datetime

from dataflow_magic.local.store import StoredJob, StoredRun

REQUIRED = {"nrn": "nrn:PUB:IAM::1:Role/r", "scriptPath": "b/scripts/", "logPath": "b/logs/"}
PAGE_RESPONSE = {
    "jobExecutionId": "p4Y5Pk000000",
    "jobId": "gqigvH000000",
    "jobCondition": {
        "workerType": "DEFAULT",
        "numWorker": 2,
        "timeout": 360,
        "nrn": "nrn:PUB:IAM::*******:Role/********-0496-11f0-baf6-246e96591a38",
        "scriptPath": "dataflow-2706412-****/scripts/",
        "logPath": "dataflow-2706412-****/sparkHistoryLogs/",
    },
    "status": "READY",
    "startDate": "2025-03-20T17:27:17+09:00",
    "createdDate": "2025-03-20T17:27:17+09:00",
    "runningTime": 0,
    "parsedParameters": [],
    "type": "JOB",
}
"""As printed on the executeJob page, but for the ids it masks."""

CREATED = datetime(2025, 3, 20, 8, 27, 17, 654321, tzinfo=UTC)
RUN = StoredRun(
    run_id="p4Y5Pk000000",
    job_id="gqigvH000000",
    job_name="daily_sales",
    condition=PAGE_RESPONSE["jobCondition"],  # type: ignore[arg-type]
    parameters={"$table_name": "test.sample_table2"},
    trigger_id=None,
    workflow_id=None,
    status="READY",
    detail="",
    created=CREATED,
    started=None,
    ended=None,
    max_concurrent_runs=None,
)
JOB = StoredJob(
    job_id="gqigvH000000",
    name="daily_sales",
    type="SCRIPT",
    max_concurrent_runs=None,
    condition={"numWorker": 2, "timeout": 360},
    extra={},
    created=CREATED,
    updated=CREATED,
)
