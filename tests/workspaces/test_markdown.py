import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batches.html import tags_in
from workspaces.markdown import TAGS, render


def test_it_renders_what_models_write() -> None:
    html = render("# Findings\n\n- **good**\n- ~~bad~~\n\n| a |\n|---|\n| `1` |\n")
    for tag in ("h3", "ul", "li", "strong", "s", "table", "td", "code"):
        assert f"<{tag}>" in html


def test_html_of_a_model_is_text() -> None:
    html = render("<script>alert(1)</script>\n\n<b onclick=x>bold</b> <style>a{}</style>")
    assert tags_in(html) == ["p", "p"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_an_image_is_its_alternative_text() -> None:
    html = render('![the <i>logo</i>](https://evil.example/x.png "t")')
    assert "evil" not in html
    assert "the &lt;i&gt;logo&lt;/i&gt;" in html


def test_a_link_tells_nobody_where_it_was() -> None:
    html = render("[guide](https://example.org/a?b=1) <mailto:a@example.org>")
    assert (
        '<a href="https://example.org/a?b=1" rel="noopener noreferrer nofollow">guide</a>' in html
    )
    assert 'href="mailto:a@example.org"' in html


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "/accounts/logout/",
        "//evil.example",
        "file:///etc/passwd",
        "ftp://example.org",
        "\\\\evil.example",
    ],
)
def test_every_other_link_leads_nowhere(target: str) -> None:
    assert "href" not in render(f"[x](<{target}>)")


@given(st.text(alphabet="<>[]()!*_`#|-\n\\ \"'&;:/=ahrefjsionxml1", max_size=80))
def test_only_known_tags_come_out(text: str) -> None:
    assert set(tags_in(render(text))) <= TAGS


@pytest.mark.parametrize("piece", ["[", "![", "*a ", "> ", "`", "<", "](", "|a"])
def test_what_is_meant_to_take_long_does_not(piece: str) -> None:
    assert render(piece * (4_000 // len(piece))) is not None
