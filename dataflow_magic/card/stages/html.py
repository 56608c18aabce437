"""The stages of a run over time as HTML with small pieces of SVG, and as a table of text. Pure."""

from __future__ import annotations

from typing import Final

from dataflow_magic.card.markup import Markup, command, element, joined, style_sheet, whole
from dataflow_magic.card.stages.state import WIDTH, Points, StageRow, StagesState
from dataflow_magic.models.text import in_columns

__all__ = ["to_html", "to_line", "to_text"]

HEIGHT: Final = 60
ROW_HEIGHT: Final = 16


def to_html(state: StagesState) -> str:
    """Return the drawing as one piece of HTML that needs nothing else."""
    words = state.words
    run = joined(words.run, " ", whole(state.run_id))
    head = element(
        "header",
        element("strong", element("bdi", state.job), class_="dfm-job"),
        " ",
        element("span", run, f" · {state.status}", class_="dfm-run"),
        " ",
        element("small", state.span, class_="dfm-when"),
        class_="dfm-head",
    )
    if not state.rows:
        return _card(state, head, element("p", words.no_stages, class_="dfm-none"))
    pages, where = state.pages
    return _card(
        state,
        head,
        element("p", words.tasks_over_time.format(most=state.most), class_="dfm-none"),
        _overview(state),
        element("ol", *(_row(row) for row in state.rows), class_="dfm-stages"),
        element("p", state.left_out, class_="dfm-none") if state.left_out else "",
        command(f"{pages}:", where) if pages else "",
    )


def _card(state: StagesState, *parts: str) -> str:
    return element(
        "section",
        style_sheet("card.css"),
        style_sheet("stages.css"),
        *parts,
        class_="dfm-card dfm-timeline",
        aria_label=state.words.time_went,
        lang=state.words.language,
    )


def to_text(state: StagesState) -> str:
    """Return the stages as a table, with what is out of line below."""
    words = state.words
    head = f"{state.job}  {words.run} {state.run_id}  {state.status}  {state.span}"
    if not state.rows:
        return f"{head}\n  {words.no_stages}"
    table = in_columns([words.stage_columns, *(row.cells for row in state.rows)])
    found = [f"  {row.name}: {row.finding}" for row in state.rows if row.finding]
    more = [f"  {state.left_out}"] if state.left_out else []
    pages, where = state.pages
    return "\n".join([head, table, *more, *found, *([f"  {pages}: {where}"] if pages else [])])


def to_line(state: StagesState) -> str:
    """Return how many stages there are, in one line."""
    return f"{state.status}  {state.job}  {state.run_id}  {len(state.rows)}"


def _overview(state: StagesState) -> Markup:
    cores = " ".join(f"{x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in state.cores)
    return _svg(
        HEIGHT,
        element("path", d=_area(state.level, HEIGHT), fill="#2f81f7", fill_opacity="0.6"),
        element(
            "polyline", points=cores, fill="none", stroke="currentColor", stroke_dasharray="4 3", stroke_opacity="0.6",
            vector_effect="non-scaling-stroke",
        )
        if cores
        else "",
    )  # fmt: skip


def _row(row: StageRow) -> Markup:
    colour = "#cf222e" if row.is_failed else "#2f81f7"
    bar = {"x": f"{row.begin:.1f}", "width": f"{row.length:.1f}", "height": str(ROW_HEIGHT), "y": "0"}
    slowest = (
        element(
            "rect", x=f"{row.slowest[0]:.1f}", width=f"{max(2.0, row.slowest[1]):.1f}", y="6", height="4",
            fill="#9a6700" if row.finding else "currentColor", fill_opacity="1" if row.finding else "0.55",
        )
        if row.slowest
        else ""
    )  # fmt: skip
    return element(
        "li",
        element("span", row.name, joined(" ", element("code", row.place)) if row.place else ""),
        " ",
        element("span", row.took, class_="dfm-took"),
        _svg(
            ROW_HEIGHT,
            element("rect", fill=colour, fill_opacity="0.2", **bar),
            element("path", d=_area(row.level, ROW_HEIGHT), fill=colour, fill_opacity="0.5"),
            slowest,
            title=row.facts,
        ),
        element("p", row.finding) if row.finding else "",
    )


def _svg(height: int, *shapes: str, title: str = "") -> Markup:
    return element(
        "svg",
        element("title", title) if title else "",
        *shapes,
        viewBox=f"0 0 {WIDTH} {height}",
        preserveAspectRatio="none",
        width="100%",
        height=str(height),
        role="img" if title else "",
        aria_hidden="" if title else "true",
    )


def _area(points: Points, height: int) -> str:
    """Return the path of the area below a curve."""
    if not points:
        return ""
    corners = " ".join(f"L{x:.1f} {height * (1 - min(1.0, y)):.1f}" for x, y in points)
    return f"M{points[0][0]:.1f} {height} {corners} L{points[-1][0]:.1f} {height}Z"
