"""Reading pages as a person does: their text, their links, the elements in them."""

from html import unescape
from html.parser import HTMLParser

from django.http import HttpResponse
from django.utils.html import strip_tags


class _Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    collector = _Collector()
    collector.feed(html)
    return collector.found


def tags_in(html: str) -> list[str]:
    return [tag for tag, _ in elements(html)]


def links_in(html: str) -> list[str]:
    return [attributes["href"] for tag, attributes in elements(html) if "href" in attributes]


def link_named(html: str, name: str) -> str:
    """Where the link of that text leads."""
    before = html.split(f">{name}</a>")[0]
    return elements(before[before.rindex("<a ") :] + ">")[0][1]["href"]


def main_of(response: HttpResponse) -> str:
    """The page without its frame."""
    html = response.content.decode()
    if "<main" not in html:
        return html
    return html.split("<main")[1].split("</main>")[0].partition(">")[2]


def text_of(response: HttpResponse) -> str:
    return as_text(main_of(response))


def as_text(html: str) -> str:
    return " ".join(unescape(strip_tags(html.replace("<", " <"))).split())
