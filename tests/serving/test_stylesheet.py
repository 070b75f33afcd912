"""The colours are readable: WCAG 2 contrast, computed from the tokens of the stylesheet."""

import re
from pathlib import Path

import pytest

SHEET = (Path(__file__).parents[2] / "static" / "sluice.css").read_text()
TOKENS = {
    name: colours
    for name, *colours in re.findall(
        r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", SHEET
    )
}
TEXT_ON = {
    "text": ("canvas", "surface", "selected", "hover", "sunken"),
    "text-2": ("surface", "hover", "selected", "gray-soft", "canvas"),
    "text-3": ("canvas", "surface", "sunken", "hover"),
    "accent": ("surface", "canvas", "selected", "accent-soft"),
    "on-accent": ("accent", "accent-hover"),
    "green": ("green-soft", "surface", "hover"),
    "amber": ("amber-soft", "surface", "hover"),
    "red": ("red-soft", "surface", "canvas", "hover"),
}
EDGE_ON = {"line-strong": ("surface",), "focus": ("surface", "canvas")}
PAIRS = [
    (front, back, least)
    for table, least in ((TEXT_ON, 4.5), (EDGE_ON, 3.0))
    for front, backs in table.items()
    for back in backs
]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(front: str, back: str) -> float:
    dark, light = sorted((luminance(front), luminance(back)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_it_can_be_read(front: str, back: str, least: float, scheme: int) -> None:
    assert contrast(TOKENS[front][scheme], TOKENS[back][scheme]) >= least


def test_every_custom_property_that_is_used_is_defined() -> None:
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", SHEET))
    defined = set(re.findall(r"--([a-z0-9-]+):", SHEET))
    assert used <= defined


def test_no_template_holds_a_style_or_a_script() -> None:
    templates = Path(__file__).parents[2] / "templates"
    for path in templates.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), path
