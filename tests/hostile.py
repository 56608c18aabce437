"""Hostile text, and runs that have it in every field that comes from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from dataflow_magic.models.failure import Failure
from dataflow_magic.models.view import KST, Progress, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.views import run_view

__all__ = ["NOON", "PAYLOADS", "hostile_views"]

NOON = datetime(2026, 11, 1, 12, tzinfo=KST)

_HARM = "window.harmed=1;fetch('http://harm.example/')"
PAYLOADS = {
    "script": f"<script>{_HARM}</script>",
    "event handler": f'<img src=x onerror="{_HARM}"><svg onload="{_HARM}">',
    "out of an attribute": f'"><b onmouseover="{_HARM}" style="position:fixed;inset:0">x</b>',
    "out of a quoted attribute": f"' autofocus onfocus='{_HARM}' x='",
    "out of the style sheet": f"</style><script>{_HARM}</script><style>*{{display:none}}",
    "out of a table": f"</td></tr></table></section></pre><iframe srcdoc='<script>{_HARM}</script>'></iframe>",
    "a style sheet": "<style>@import url(http://harm.example/x.css);body{background:url(http://harm.example/y)}</style>",
    "an expression": "x;width:expression(alert(1));background:url(javascript:alert(1));position:fixed",
    "fetched": "<img src=http://harm.example/x.png><link rel=stylesheet href=http://harm.example/x.css>",
    "a link": "[click](javascript:window.harmed=1) <a href='javascript:window.harmed=1'>click</a>",
    "a comment": "<!-- <script>--><!--><![CDATA[ ]]> &lt;script&gt; &#60;b&#62; &amp;amp;",
    "a formula": f"$\\href{{javascript:{_HARM}}}{{x}}$ $$\\frac{{a}}{{b}}$$ \\(x\\) \\[y\\] `code` **bold** # h",
    "backslashes": r"\\server\share \$5 \ref{x} \begin{align}a&b\end{align} \[z\] \(w\)",
    "writing direction": "a\u202egnp.exe\u2066b\u2069\u200f\u061c\ufeffc",
    "colours": "\x1b[31mred\x1b[0m\x1b]8;;http://harm.example\x07link\x1b]8;;\x07\x9b2J\x1b[2J\x1b[1;1Hhome",
    "NUL and controls": "a\x00b\x07c\x08d\x0be\x0cf\x7fg\x85h\r\ni\u2028j",
    "half a pair": "a\ud800b\udfffc",
    "a million characters": "<b onclick=x>" + "A" * 1_000_000,
    "a million words": "ab\u0301 " * 250_000,
    "marks on one letter": "Z" + "\u0337" * 5_000,
    "lines": "line\n" * 5_000,
    "template": "${alert(1)} {{7*7}} %(x)s {0} %s <%= 1 %>",
}
"""Texts by their kind."""


def hostile_views(text: str) -> Iterator[RunView]:
    """Yield runs in different states with the text in each field a service, a log or a user fills."""
    sent = run_view(  # with an address as it is: that is checked long before a card
        NOON,
        target=text,
        job_id=text,
        job_name=text,
        condition=JobCondition(
            num_worker=2, timeout=60, nrn=text, script_path=text, log_path=text, worker_type=text
        ),
        parameters={f"${text}": text, "$other": text, text[:40]: 1},
        key="k3y",
        notebook=text,
        trigger_id=text,
        workflow_id=text,
        clock=text,
    )
    yield sent
    yield replace(sent, is_lost=True, blind_since=NOON, blind_reason=text)
    ready = _in_state(sent, "READY", text)
    yield ready
    yield replace(ready, blind_since=NOON, blind_reason=text, cancel_requested=True)
    yield _in_state(sent, text, text)
    yield replace(_in_state(sent, "RUNNING", text), progress=Progress(1, 2, 3, 4, 5, text))
    ended = _in_state(sent, "FAILED", text, end_date=NOON + timedelta(seconds=60))
    yield ended
    yield replace(ended, failure=Failure(text, tuple(text for _ in range(20))))


def _in_state(view: RunView, status: str, detail: str, end_date: datetime | None = None) -> RunView:
    execution = JobExecution.model_construct(
        job_execution_id=detail, job_id=detail, status=status, status_detail=detail, end_date=end_date
    )
    return replace(view, execution=execution)
