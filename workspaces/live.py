"""Regions of a page that keep themselves fresh: asked for every few seconds, sent when changed.

A region carries the digest of its own content and asks with it; one that came without a trigger
asks no more. It holds no form: the token in a form is another one each time.
"""

import hashlib
import re
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

# The page keeps its own clocks going.
_CLOCK = re.compile(r">[^<]*</time>")


class Region:
    """The element `#name` of a page; `seconds` is None where nothing is left to watch."""

    def __init__(
        self,
        request: HttpRequest,
        name: str,
        template: str,
        context: dict[str, Any],
        *,
        url: str,
        seconds: int | None,
        **query: str,
    ) -> None:
        """`query` is asked with beside what the page was asked with."""
        self._name, self._url, self._seconds = name, url, seconds
        kept: dict[str, Any] = {key: value for key, value in request.GET.items() if key != "seen"}
        self._query = kept | query
        self._seen = request.GET.get("seen")
        self._content = mark_safe(render_to_string(template, context, request))
        self._digest = hashlib.sha256(_CLOCK.sub("", self._content).encode()).hexdigest()[:16]

    def __str__(self) -> SafeString:
        """The element with its content, for the page and for the answer alike."""
        if self._seconds is None:
            return format_html('<div id="{}">{}</div>', self._name, self._content)
        return format_html(
            # How it swaps itself is not how a link in it fills the dialog.
            '<div id="{}" hx-get="{}?{}" hx-trigger="every {}s" hx-swap="outerHTML" '
            'hx-disinherit="hx-swap">{}</div>',
            self._name,
            self._url,
            urlencode({**self._query, "seen": self._digest}),
            self._seconds,
            self._content,
        )

    __html__ = __str__

    def answer(self) -> HttpResponse:
        """What the region's own URL answers: 204, which changes nothing, where nothing changed."""
        if self._seconds is not None and self._seen == self._digest:
            return HttpResponse(status=204)
        return HttpResponse(str(self))
