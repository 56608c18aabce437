"""The contrast of a card's text by WCAG 2, in the colours of JupyterLab's own themes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import tinycss2
import tinycss2.color4

from dataflow_magic.card.run.html import to_html
from dataflow_magic.card.run.state import card_state
from tests.states import NOON, STATES

READABLE = 4.5
"""Contrast that level AA asks of text; WCAG 2, success criterion 1.4.3."""
Colour = tuple[float, float, float]


states = pytest.mark.parametrize("view", STATES.values(), ids=STATES)


class Theme:
    """The variables of one of JupyterLab's themes, from the style sheet it ships."""

    def __init__(self, name: str) -> None:
        folder = Path(sys.prefix) / "share/jupyter/lab/themes/@jupyterlab" / f"theme-{name}-extension"
        sheet = (folder / "index.css").read_text()
        self.page = {"light": "#fff", "dark": "#111"}[name]
        self._variables = dict(re.findall(r"(--[\w-]+):\s*([^;}]+)", sheet))

    def resolved(self, value: str, own: dict[str, str]) -> str:
        """Return a value with each variable replaced, a card's own first."""
        while found := re.search(
            r"var\(\s*(--[\w-]+)\s*(?:,((?:[^()]|\((?:[^()]|\([^()]*\))*\))*))?\)", value
        ):
            name, fallback = found.groups()
            known = own.get(name) or self._variables.get(name) or fallback
            assert known is not None, f"no style sheet sets {name}"
            value = value.replace(found[0], known.strip())
        return value


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> Theme:
    return Theme(request.param)


def declarations(text: str) -> dict[str, str]:
    """Return property and value of each declaration of a rule or of a style attribute."""
    found = tinycss2.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True)
    return {each.name: tinycss2.serialize(each.value).strip() for each in found if each.type == "declaration"}


def rules_of(page: str) -> list[dict[str, str]]:
    """Return the declarations of each rule of a card's style sheet, those within @media too."""
    blocks = [declarations(block) for sheet in re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
              for block in re.findall(r"\{([^{}]*)\}", sheet)]  # fmt: skip
    assert blocks
    return blocks


def over(value: str, below: Colour) -> Colour:
    """Return the visible colour of one that may be transparent, on its background."""
    parsed = tinycss2.color4.parse_color(value)
    assert parsed is not None, f"{value!r} is no colour this test can read"
    *channels, alpha = parsed.to("srgb")
    red, green, blue = (
        alpha * channel + (1 - alpha) * base for channel, base in zip(channels, below, strict=True)
    )
    return red, green, blue


def contrast(text: Colour, ground: Colour) -> float:
    lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Colour) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("text", "ground", "ratio"), [("#000", "#fff", 21.0), ("#777", "#fff", 4.48), ("#fff", "#fff", 1.0)]
)
def test_contrast_is_that_of_wcag(text, ground, ratio):
    white = (1.0, 1.0, 1.0)

    assert contrast(over(text, white), over(ground, white)) == pytest.approx(ratio, abs=0.005)


@states
def test_the_state_is_readable_on_its_background_with_inline_style_alone(view):
    state = card_state(view, NOON)
    page = to_html(state)
    # Of the elements with colours of their own, the one that begins last before the word.
    before, _, _ = page.partition(f">{state.state}<")
    style = [each for each in map(declarations, re.findall(r' style="([^"]*)"', before)) if "color" in each][
        -1
    ]

    ground = over(style.get("background") or style["background-color"], (1.0, 1.0, 1.0))
    assert contrast(over(style["color"], ground), ground) >= READABLE


@states
def test_every_colour_of_text_is_readable_in_the_theme(view, theme):
    rules = rules_of(to_html(card_state(view, NOON)))
    own = {name: value for rule in rules for name, value in rule.items() if name.startswith("--")}
    page = over(theme.page, (0.0, 0.0, 0.0))
    colours = set()
    for rule in rules:
        value = theme.resolved(rule.get("color", "inherit"), own)
        if value in ("inherit", "currentColor", "currentcolor"):
            continue
        ground = theme.resolved(rule.get("background-color") or rule.get("background") or "none", own)
        below = page if ground in ("none", "transparent", "inherit") else over(ground, page)
        colours.add(value)
        assert contrast(over(value, below), below) >= READABLE, f"{rule} is hard to read"

    assert colours
