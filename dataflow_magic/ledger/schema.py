"""The tables of the ledger, version by version."""

from __future__ import annotations

from typing import Final

__all__ = ["MIGRATIONS"]

MIGRATIONS: Final = (
    """
    CREATE TABLE runs (
      key TEXT PRIMARY KEY,
      run_id TEXT,
      job TEXT NOT NULL,
      status TEXT NOT NULL,
      submitted INTEGER NOT NULL,
      running INTEGER,
      ended INTEGER,
      workers INTEGER,
      timeout_minutes INTEGER,
      error TEXT,
      target TEXT NOT NULL,
      job_id TEXT NOT NULL,
      worker_type TEXT,
      nrn TEXT,
      script_path TEXT,
      log_path TEXT,
      trigger_id TEXT,
      workflow_id TEXT,
      parameters TEXT NOT NULL,
      notebook TEXT,
      endpoint TEXT NOT NULL,
      more_condition TEXT NOT NULL,
      phase TEXT NOT NULL,
      is_live INTEGER NOT NULL,
      story TEXT NOT NULL,
      kernel TEXT NOT NULL,
      execution TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX runs_by_id ON runs (job_id, run_id);
    CREATE INDEX runs_by_time ON runs (submitted);
    CREATE INDEX live_runs ON runs (job_id) WHERE is_live;
    """,
    """
    CREATE TABLE names (
      job_id TEXT NOT NULL,
      name TEXT NOT NULL,
      job TEXT NOT NULL,
      uses INTEGER NOT NULL,
      is_secret INTEGER NOT NULL,
      PRIMARY KEY (job_id, name)
    ) WITHOUT ROWID;
    INSERT INTO names
      SELECT job_id, ltrim(each.key, '$') AS name, job, count(*), 0
      FROM runs, json_each(coalesce(nullif(parameters, ''), '{}')) AS each GROUP BY job_id, name
      UNION ALL SELECT job_id, '', job, count(*), 0 FROM runs GROUP BY job_id;
    """,
    """
    ALTER TABLE runs ADD COLUMN marker TEXT;
    ALTER TABLE runs ADD COLUMN found_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN keeps_attempts INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE attempts (
      key TEXT NOT NULL,
      number INTEGER NOT NULL,
      signed_ms INTEGER NOT NULL,
      sent_us INTEGER NOT NULL,
      sent_steady_us INTEGER NOT NULL,
      boot TEXT NOT NULL,
      offset_us INTEGER,
      uncertainty_us INTEGER,
      ended_us INTEGER,
      ended_steady_us INTEGER,
      outcome TEXT NOT NULL,
      PRIMARY KEY (key, number)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE scripts (
      target TEXT NOT NULL,
      key TEXT NOT NULL,
      notebook TEXT NOT NULL,
      digest TEXT NOT NULL,
      PRIMARY KEY (target, key, notebook)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE runs ADD COLUMN waited INTEGER;
    ALTER TABLE runs ADD COLUMN ran INTEGER;
    ALTER TABLE runs ADD COLUMN total INTEGER;
    ALTER TABLE runs ADD COLUMN timed_by TEXT;
    UPDATE runs SET waited = running - submitted, timed_by = 'here' WHERE running >= submitted;
    UPDATE runs SET total = 1000000 * (
      strftime('%s', json_extract(execution, '$.endDate')) - strftime('%s', json_extract(execution, '$.createdDate'))
    ) WHERE NOT is_live AND execution <> '';
    UPDATE runs SET ran = total - waited WHERE total >= waited;
    """,
    """
    ALTER TABLE runs ADD COLUMN error_class TEXT;
    ALTER TABLE runs ADD COLUMN own_line TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE runs ADD COLUMN sweep TEXT;
    ALTER TABLE runs ADD COLUMN number INTEGER;
    CREATE INDEX runs_of_sweeps ON runs (sweep) WHERE sweep IS NOT NULL;
    CREATE TABLE sweeps (
      key TEXT PRIMARY KEY,
      job TEXT NOT NULL,
      job_id TEXT NOT NULL,
      target TEXT NOT NULL,
      endpoint TEXT NOT NULL,
      notebook TEXT,
      submitted INTEGER NOT NULL,
      kernel TEXT NOT NULL,
      swept TEXT NOT NULL,
      plan TEXT NOT NULL,
      common TEXT NOT NULL,
      state TEXT NOT NULL,
      story TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX sweeps_by_time ON sweeps (submitted);
    CREATE TABLE sweep_requests (
      sweep TEXT NOT NULL,
      number INTEGER NOT NULL,
      parameters TEXT NOT NULL,
      skipped TEXT NOT NULL,
      PRIMARY KEY (sweep, number)
    ) WITHOUT ROWID;
    """,
)
"""Each brings a file from one version to the next; ``PRAGMA user_version`` is the version of a file."""
