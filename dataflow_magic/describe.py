"""What would be sent, and where it would go, in words. Sends nothing and starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from dataflow_magic.cell import RunRequest
from dataflow_magic.client import as_curl, execution_body
from dataflow_magic.errors import ConfigError
from dataflow_magic.local.attach import check_installed, default_folder, peek
from dataflow_magic.local.java import java_in_words
from dataflow_magic.settings import Target, mask

__all__ = ["describe", "dry_run", "in_lines"]

NOT_STARTED = "http://127.0.0.1:PORT"


def dry_run(request: RunRequest, target: Target, environment: Mapping[str, str], runs: int = 1) -> str:
    """Return the request as curl, with a comment on what a real run reads first; holds neither secret nor signature.

    Parameters
    ----------
    runs
        How many the request is the first of.
    """
    endpoint, access_key = _where(target, environment)
    condition = request.condition
    whole = None not in (condition.nrn, condition.script_path, condition.log_path)
    notes = [f"# the first of {runs:,} requests of a sweep"] if runs > 1 else []
    if not request.job.may_be_id:
        notes.append(f"# the job is looked up by its name first: {request.job.text}")
    if not whole:
        notes.append("# the job's stored condition is read first; these fields are laid over it")
    path = f"/jobs/{quote(request.job.text, safe='')}/executions"
    query = {"triggerId": request.trigger_id, "workflowId": request.workflow_id}
    body = execution_body(condition, request.parameters)
    return "\n".join([*notes, as_curl(endpoint, path, body, query, access_key)])


def describe(target: Target, environment: Mapping[str, str], clock: str = "") -> str:
    """Return where runs go and with which key, one fact a line; the key masked.

    Parameters
    ----------
    clock
        How far this machine's clock is off, where it is known to be.
    """
    endpoint, access_key = _where(target, environment)
    facts = {"target": f"{target.name} ({target.source})"}
    if target.kind == "local":
        folder = default_folder(environment)
        running = peek(folder)
        facts["endpoint"] = running.endpoint if running else "none yet"
        facts["access key"] = mask(access_key) if running else "made when the service starts"
        facts["service"] = f"running, process {running.pid}" if running else "starts with the first run"
        facts["folder"] = str(folder.path)
        # A running service keeps the Java it was started with, whatever the variables say now.
        facts["java"] = running.java if running else java_in_words(environment)
        try:
            check_installed()
        except ConfigError as error:
            facts["service"] = str(error)
    else:
        facts["endpoint"] = endpoint
        facts["access key"] = mask(access_key)
    if clock:
        facts["clock"] = clock
    return in_lines(facts)


def in_lines(facts: Mapping[str, str]) -> str:
    """Return named facts, one a line."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items())


def _where(target: Target, environment: Mapping[str, str]) -> tuple[str, str]:
    if target.kind != "local":
        return target.endpoint, target.access_key
    running = peek(default_folder(environment))
    return (running.endpoint, running.access_key) if running else (NOT_STARTED, "")
