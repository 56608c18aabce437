"""Text of ``--dry-run``, ``%dataflow_status`` and ``%dataflow_config``. Sends nothing and starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from dataflow_magic.client.client import execution_body, execution_query
from dataflow_magic.client.sending import as_curl
from dataflow_magic.config.credentials import key_sources, mask
from dataflow_magic.config.settings import (
    Place,
    Target,
    language,
    locale_variable,
    marker,
    place_of,
    resolve_target,
    waits,
)
from dataflow_magic.errors import CellError, ConfigError
from dataflow_magic.ledger.ledger import ledger_path
from dataflow_magic.local.launch import check_installed, default_folder, peek, peek_at
from dataflow_magic.local.spark.java import java_in_words
from dataflow_magic.models.marker import marked, marker_of, marker_problem
from dataflow_magic.models.request import RunRequest
from dataflow_magic.models.secret import MASK
from dataflow_magic.models.text import in_columns, in_lines

__all__ = ["describe", "describe_settings", "dry_run"]

WAIT_WORDS = {True: "yes", False: "no", None: "auto: under nbclient, papermill and nbconvert"}
NOT_STARTED = "http://127.0.0.1:PORT"


def dry_run(request: RunRequest, target: Target, environment: Mapping[str, str], runs: int = 1) -> str:
    """Return a request as curl, with comments on what a run reads first; without secrets and signature.

    Parameters
    ----------
    runs
        Number of runs of the sweep that begins with this request.
    """
    endpoint, access_key = _where(target, environment)
    condition = request.condition
    whole = None not in (condition.nrn, condition.script_path, condition.log_path)
    if request.marker == "parameter" and (problem := marker_problem(request)):
        raise CellError(problem)
    request = marked(request, "KEY")
    notes = [f"# the first of {runs:,} requests of a sweep"] if runs > 1 else []
    if not request.job.may_be_id:
        notes.append(f"# a run first looks up the job by its name: {request.job.text}")
    if not whole:
        notes.append("# a run first reads the job's stored condition; these fields override it")
    if request.marker != "off":
        notes.append("# KEY stands for the run's key, which is new for each start")
        if request.marker == "log-path" and condition.log_path is None:
            notes.append(f"# the job's log path gets the last folder {marker_of('KEY')}/")
    path = f"/jobs/{quote(request.job.text, safe='')}/executions"
    body = execution_body(request.condition, request.parameters)
    query = execution_query(**request.query)
    return "\n".join([*notes, as_curl(endpoint, path, body, query, access_key)])


def describe(
    target: Target, environment: Mapping[str, str], more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the target, its endpoint and the masked access key, one per line.

    Parameters
    ----------
    more
        Further facts about the target; those that are empty are left out.
    """
    endpoint, access_key = _where(target, environment)
    facts = {"target": f"{target.name} ({target.source})"}
    if target.kind == "local":
        folder = default_folder(environment)
        running = peek(folder)
        facts["endpoint"] = running.endpoint if running else "none until the service starts"
        facts["access key"] = mask(access_key) if running else "created when the service starts"
        facts["service"] = f"running, process {running.pid}" if running else "starts with the first run"
        facts["folder"] = str(folder.path)
        # A running service keeps the Java it started with, even if the variables have changed.
        facts["java"] = running.java if running else java_in_words(environment)
        try:
            check_installed()
        except ConfigError as error:
            facts["service"] = str(error)
    else:
        facts["endpoint"] = endpoint
        facts["access key"] = mask(access_key)
    return in_lines(facts | {name: fact for name, fact in more.items() if fact})


def describe_settings(config: Mapping[str, str], environment: Mapping[str, str], configure_file: Path) -> str:
    """Return each setting, its value, the source of that value and the values it overrides, one per line; keys masked.

    Parameters
    ----------
    config
        Values of ``%config`` by the names of the traits; empty or ``auto`` where ``%config`` sets none.
    """
    wait, tongue, rules = config["wait"], config["language"], config["marker"]

    def marker_rules() -> str:
        marker(rules, environment, job="", target="")
        return rules or environment.get("DATAFLOW_MARKER", "").strip() or "off"

    rows = [
        ("setting", "value", "from", "overrides"),
        *_place_rows(config, environment, configure_file),
        _row("wait", wait, "DATAFLOW_WAIT", environment, lambda: WAIT_WORDS[waits(wait, environment)]),
        _row("marker", rules or "auto", "DATAFLOW_MARKER", environment, marker_rules),
        _row("language", tongue, "DATAFLOW_LANGUAGE", environment, lambda: language(tongue, environment)),
        ("ledger", str(ledger_path(environment)), *_home(environment)),
        ("local service", str(default_folder(environment).path), *_home(environment)),
    ]
    return in_columns(rows)


Cells = tuple[str, str, str, str]


def _place_rows(
    config: Mapping[str, str], environment: Mapping[str, str], configure_file: Path
) -> Iterator[Cells]:
    layers = [
        ("%config", Place.of_layer(config["target"], config["profile"])),
        ("the environment", place_of(environment)),
    ]
    said = [(source, place) for source, place in layers if any(place)]
    place = said[0][1] if said else Place()
    beneath = ", ".join(_in_words(lower, source) for source, lower in said[1:])
    try:
        target = resolve_target(
            *place,
            environment,
            configure_file,
            find_local=lambda endpoint: peek_at(default_folder(environment), endpoint),
        )
    except ConfigError as error:
        yield "target", f"none: {error}", _source(said, "default"), beneath
        return
    yield (
        "target",
        target.name,
        _source(said, f"default ({'no ' * (target.kind == 'local')}credentials found)"),
        beneath,
    )
    if target.kind == "local":
        yield "access key", "created when the service starts", "default", ""
        return
    yield (
        "endpoint",
        target.endpoint,
        "DATAFLOW_ENDPOINT" if environment.get("DATAFLOW_ENDPOINT") else "default",
        "",
    )
    others = [each for each in key_sources(environment, configure_file) if each != target.source]
    yield "access key", mask(target.access_key), target.source, ", ".join(others)
    yield "secret key", MASK, target.source, ", ".join(others)


def _row(
    name: str, chosen: str, variable: str, environment: Mapping[str, str], count: Callable[[], str]
) -> Cells:
    said = environment.get(variable, "")
    try:
        value = count()
    except ConfigError as error:
        value = f"none: {error}"
    if chosen != "auto":
        return name, value, "%config", f"{variable} {said!r}" if said else ""
    default = (locale_variable(environment) if name == "language" else "") or "default"
    return name, value, variable if said not in {"", "auto"} else default, ""


def _source(said: list[tuple[str, Place]], default: str) -> str:
    if not said:
        return default
    source, place = said[0]
    if source == "%config":
        return source
    names = {"DATAFLOW_TARGET": place.target, "DATAFLOW_PROFILE": place.profile}
    return " and ".join(name for name, value in names.items() if value)


def _in_words(place: Place, source: str) -> str:
    # A URL may contain a password; the client refuses such a URL, and this table hides it.
    shown = [word if "@" not in word else MASK for word in place if word]
    return f"{_source([(source, place)], '')} {' and '.join(map(repr, shown))}"


def _home(environment: Mapping[str, str]) -> tuple[str, str]:
    return ("DATAFLOW_MAGIC_HOME" if environment.get("DATAFLOW_MAGIC_HOME") else "default"), ""


def _where(target: Target, environment: Mapping[str, str]) -> tuple[str, str]:
    if target.kind != "local":
        return target.endpoint, target.access_key
    running = peek(default_folder(environment))
    return (running.endpoint, running.access_key) if running else (NOT_STARTED, "")
