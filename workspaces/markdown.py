"""What a model wrote as Markdown, as HTML that can do nothing but be read.

Raw HTML stays text, an image is its alternative text, and a link leads to another site or to a
mail program or is none.
"""

import re
from collections.abc import Sequence
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "a", "ul", "ol", "li"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
LINKS = re.compile(r"https?://|mailto:", re.IGNORECASE)
HEADING = re.compile(r"h[1-6]")
HIGHEST = 3  # the page's own headings are above


def render(text: str) -> SafeString:
    html = _markdown.render(text)
    return mark_safe(
        nh3.clean(
            html,
            tags=TAGS,
            attributes=ATTRIBUTES,
            attribute_filter=_keep,
            link_rel="noopener noreferrer nofollow",
            url_schemes={"http", "https", "mailto"},
        )
    )


def _keep(tag: str, attribute: str, value: str) -> str | None:
    """An address without a scheme would lead to a page of ours."""
    return None if attribute == "href" and not LINKS.match(value) else value


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        if HEADING.fullmatch(token.tag):
            token.tag = f"h{min(int(token.tag[1]) + HIGHEST - 1, 6)}"


def _alternative(self: Any, tokens: Sequence[Token], index: int, *rest: Any) -> str:
    return escape(tokens[index].content)


_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_markdown.core.ruler.push("lower_headings", _lower_headings)
_markdown.add_render_rule("image", _alternative)
