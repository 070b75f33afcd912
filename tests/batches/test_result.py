from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.template.loader import get_template
from django.test.utils import CaptureQueriesContext

from batches import archive
from batches.models import Batch, MessageBatch, Request, Result
from tests.batches.answers import (
    BUSY,
    CUT,
    WRONG,
    add_part,
    answered,
    collect,
    make_batch,
    move_in,
)
from tests.batches.build import make_batch as make_bare_batch
from tests.batches.build import make_run, make_upload, succeeded
from tests.batches.html import link_named, links_in, main_of, text_of
from tests.cast import Cast

THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "s"}
TOOL = {"type": "tool_use", "id": "t", "name": "save_label", "input": {"label": "good"}}
DRAWER = {"headers": {"HX-Request": "true", "HX-Target": "drawer"}}


@pytest.fixture(autouse=True)
def _moved_in(cast: Cast) -> None:
    move_in(cast)


def get(cast: Cast, batch: Batch, row: int, query: str = "", status: int = 200, **more: Any) -> Any:
    client = cast.client(cast.vera)
    response = client.get(f"/w/team/batches/{batch.pk}/results/{row}/{query}", **more)
    assert response.status_code == status
    return response


def said(*content: dict[str, Any], **message: Any) -> dict[str, Any]:
    return succeeded(content=list(content), **message)


def shown(cast: Cast, answer: dict[str, Any] | bytes, query: str = "") -> HttpResponse:
    return get(cast, answered({2: answer}), 2, query)


def test_it_shows_what_was_asked_and_what_came_back(cast: Cast) -> None:
    usage = {"input_tokens": 412, "output_tokens": 96, "cache_read_input_tokens": 7}
    batch = answered({2: succeeded("It is **good**.", usage=usage)})
    response = get(cast, batch, 2)
    text = text_of(response)
    assert "Row 2 Succeeded" in text
    assert "id r-2 · end_turn" in text
    assert "<strong>good</strong>" in main_of(response)
    assert "Input id r-2 text text 2 Request" in text
    assert '"params": {}' in text.replace(" :", ":")
    assert "412 in · 96 out · cache read 7" in text
    assert "Attempts" not in text


def test_the_drawer_holds_the_row_and_nothing_around_it(cast: Cast) -> None:
    batch = answered({2: succeeded("yes"), 3: succeeded("no"), 4: succeeded("so")})
    fragment = get(cast, batch, 3, **DRAWER).content.decode()
    assert "<html" not in fragment
    assert "data-close" in fragment
    assert fragment.count('hx-target="#drawer" hx-push-url="true"') == 2
    page = get(cast, batch, 3).content.decode()
    assert "<html" in page
    assert "hx-push-url" not in page.split('class="row-open"')[1].split("</article>")[0]


def test_the_ways_on_and_back_keep_the_filter(cast: Cast) -> None:
    batch = answered({2: BUSY, 3: succeeded("x"), 4: BUSY, 5: succeeded("x"), 6: BUSY})
    links = links_in(main_of(get(cast, batch, 4, "?error=overloaded_error")))
    base = f"/w/team/batches/{batch.pk}/results/"
    for row in (2, 6):
        assert f"{base}{row}/?error=overloaded_error" in links
    assert f"{base}?error=overloaded_error" in links
    assert {f"{base}3/", f"{base}5/"} <= set(links_in(main_of(get(cast, batch, 4))))


def test_a_row_that_the_file_has_not_is_no_page(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    for row in (0, 1, 3, 2**31, 10**30):
        get(cast, batch, row, status=404)


def test_plain_shows_the_text_as_it_is(cast: Cast) -> None:
    html = main_of(shown(cast, succeeded("It is **good**."), "?plain=1"))
    assert "It is **good**." in html
    assert "<strong>" not in html


def test_json_is_pretty_with_every_character_as_it_came(cast: Cast) -> None:
    response = shown(
        cast, succeeded('{"score":1.50,"quote":"caf\\u00e9","big":12345678901234567890123}')
    )
    text = text_of(response)
    assert '"score" : 1.50' in text
    assert "caf\\u00e9" in text
    assert "12345678901234567890123" in text


def test_each_kind_of_block_is_shown_as_what_it_is(cast: Cast) -> None:
    search = {"type": "web_search_tool_result", "content": [{"url": "https://example.org"}]}
    usage = {"output_tokens_details": {"thinking_tokens": 40}, "output_tokens": 50}
    texts = [{"type": "text", "text": "First, "}, {"type": "text", "text": "second."}]
    text = text_of(shown(cast, said(THINKING, *texts, TOOL, search, usage=usage)))
    assert "Thinking · 40 tokens Let me see." in text
    assert "First, second." in text
    assert 'Tool call: save_label Copy { "label" : "good" }' in text
    assert "web_search_tool_result Copy" in text
    assert "The model thought, and the API does not tell what." in text_of(
        shown(cast, said({"type": "thinking", "thinking": "", "signature": "s"}))
    )


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{}],
        [{"type": None}],
        [{"type": "text"}],
        [{"type": "tool_use"}],
        [{"type": "later", "deep": [[[[{}]]]]}],
    ],
)
def test_odd_content_is_no_error(cast: Cast, content: list[dict[str, Any]]) -> None:
    assert "Answer" in text_of(shown(cast, succeeded(content=content)))


def test_an_answer_that_nobody_can_decode_whole_is_shown_as_far_as_it_goes(cast: Cast) -> None:
    deep = b'{"type":"succeeded","message":{"content":[{"type":"text","text":"\\ud800 ok"},'
    deep += b'{"type":"later","value":' + b"[" * 5_000 + b"]" * 5_000 + b"}]}}"
    assert "\ufffd ok" in text_of(shown(cast, deep))


def test_a_long_answer_is_cut_and_raw_is_all_of_it(cast: Cast) -> None:
    batch = answered({2: succeeded("a" * 200_000)})
    response = get(cast, batch, 2)
    assert "The first 64 KB of 200,000 characters. Open raw" in text_of(response)
    assert len(response.content) < 120_000
    raw = get(cast, batch, 2, "?raw=answer")
    part = MessageBatch.objects.get()
    assert raw.content + b"\n" == archive.results(part.pk, part.results_fence).read_bytes()
    assert raw.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert raw.headers["Content-Disposition"] == 'attachment; filename="row-2-answer.json"'


def test_the_request_is_downloaded_as_it_was_sent(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    part, request = MessageBatch.objects.get(), Request.objects.get()
    sent = archive.requests(part.pk, part.requests_fence).read_bytes()
    assert get(cast, batch, 2, "?raw=request").content == sent[: request.length]
    get(cast, batch, 2, "?raw=else", status=404)


def test_an_error_is_said_in_the_words_of_the_api_with_our_advice(cast: Cast) -> None:
    text = text_of(shown(cast, WRONG))
    assert "invalid_request_error messages: at least one message is required" in text
    assert "sending it again unchanged will fail again" in text
    assert "Safe to send again; not billed." in text_of(shown(cast, BUSY))


def test_cut_off_and_refused_are_explained(cast: Cast) -> None:
    text = text_of(shown(cast, CUT))
    assert "Row 2 Cut off" in text
    assert "Cut off after 5 tokens. Answered and billed, but incomplete." in text
    details = {"type": "refusal", "category": "bio", "explanation": "It asks for a toxin."}
    refused = said(stop_reason="refusal", stop_details=details)
    text = text_of(shown(cast, refused))
    assert "Claude declined to answer." in text
    assert "The API says: bio: It asks for a toxin." in text


def test_a_row_that_waits_or_never_left_says_so(cast: Cast) -> None:
    batch = make_batch(6)
    add_part(batch, (2, 3), message_batch_id="msgbatch_1")
    add_part(batch, (4,), state="rejected", reason="The API refused part 2 (403).")
    make_run(batch, {5: "Row 5: the prompt is empty."})
    assert "Waiting" in text_of(get(cast, batch, 2))
    assert "The answer is here once part 1 has ended." in text_of(get(cast, batch, 2))
    assert "Not sent" in text_of(get(cast, batch, 4))
    assert "The API refused part 2 (403)." in text_of(get(cast, batch, 4))
    page = get(cast, batch, 5)
    pill = '<span class="pill pill-gray">{}Left out</span>'
    assert pill.format(get_template("icons/canceled.svg").render()) in main_of(page)
    left_out = text_of(page)
    assert "Row 5: the prompt is empty. It was left out and never sent." in left_out
    assert "Not chosen by any run yet." in text_of(get(cast, batch, 6))


def test_attempts_are_told_newest_first(cast: Cast) -> None:
    batch = make_batch(2)
    first = add_part(batch, (2, 3))
    collect(first, {2: BUSY, 3: succeeded("yes")})
    again = add_part(batch, (2,), make_run(batch))
    collect(again, {2: succeeded("at last")})
    text = text_of(get(cast, batch, 2))
    assert "at last" in text.split("Attempts")[0]
    assert "Part 2, counts Succeeded" in text.split("Attempts")[1]
    assert "Part 1 Errored" in text.split("Attempts")[1]
    assert text.split("Attempts")[1].count("$0.00") == 1
    assert text.split("Attempts")[1].count("cost not known") == 1
    assert "Attempts" not in text_of(get(cast, batch, 3))


def test_a_row_is_retried_where_that_makes_sense(cast: Cast) -> None:
    batch = answered({2: succeeded("yes"), 3: BUSY, 4: CUT, 5: WRONG})
    client = cast.client(cast.bob)
    retry = f"/w/team/batches/{batch.pk}/retry/"
    links = {
        row: links_in(main_of(client.get(f"/w/team/batches/{batch.pk}/results/{row}/")))
        for row in (2, 3, 4, 5)
    }
    assert not any(retry in link for link in links[2])
    assert f"{retry}?row=3" in links[3]
    assert f"{retry}?row=4" in links[4]
    assert f"{retry}recipe/?to=row%3D5" in links[5]
    assert not any(retry in link for link in links_in(main_of(get(cast, batch, 3))))
    MessageBatch.objects.update(state="incomplete")
    page = main_of(client.get(f"/w/team/batches/{batch.pk}/results/3/"))
    assert not any(retry in link for link in links_in(page))


def test_a_results_file_that_is_gone_is_said(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    part = MessageBatch.objects.get()
    archive.results(part.pk, part.results_fence).unlink()
    archive.requests(part.pk, part.requests_fence).unlink()
    page = get(cast, batch, 2)
    text = text_of(page)
    assert "but the answer's file is not readable (results-1.jsonl)" in text
    assert f'/parts/{part.pk}/">Collect again</a>' in page.content.decode()
    get(cast, batch, 2, "?raw=answer", status=404)


def test_reasons_that_are_gone_are_said(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")}, rows=2)
    run = batch.runs.get()
    run.left_out_fence = 1
    run.save()
    text = text_of(get(cast, batch, 3))
    said = "Not sent by the last run; the file that says why is gone (left-out-1.jsonl)."
    assert f"{said} It was left out and never sent." in text
    problems = cast.client(cast.bob).get(f"/w/team/batches/{batch.pk}/problems/")
    assert problems.status_code == 200


def test_a_ready_request_has_its_request_and_no_columns(cast: Cast) -> None:
    upload = make_upload([], [archive.Row(7, own_id="mine")])
    batch = make_bare_batch(upload, rows=1)
    part = add_part(batch, (7,))
    collect(part, {7: succeeded("yes")})
    response = get(cast, batch, 7)
    assert "Input" not in text_of(response)
    assert '<details class="fold" id="row-request" open>' in main_of(response)


def test_an_adopted_batch_has_rows_without_a_file(cast: Cast) -> None:
    batch = make_bare_batch(None)
    collect(add_part(batch, (1, 2)), {1: succeeded("one"), 2: succeeded("two")})
    assert "two" in text_of(get(cast, batch, 2))
    get(cast, batch, 3, status=404)


def test_long_cells_are_folded(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    lines = "\n".join(f"line {number}" for number in range(9))
    batch.upload = make_upload(["text", "empty"], [archive.Row(2, cells=[lines, ""])])
    batch.save()
    html = main_of(get(cast, batch, 2))
    summary = html.split('<details class="rest-of-cell"><summary>')[1].split("</summary>")[0]
    assert summary.split("\n") == [f"line {number}" for number in range(6)]
    assert "∅" in html


def test_all_of_it_is_text(cast: Cast) -> None:
    evil = "<img src=x onerror=alert(1)>"
    blocks = [{"type": "text", "text": evil}, {**TOOL, "name": evil, "input": {evil: evil}}]
    later = {"type": evil, "x": evil}
    html = main_of(shown(cast, said(*blocks, later, {**THINKING, "thinking": evil})))
    assert "<img" not in html
    error = {"type": "errored", "error": {"error": {"type": evil, "message": evil}}}
    assert "<img" not in main_of(shown(cast, error))


def test_the_sandbox_bills_nothing(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    Result.objects.update(cost="0.00015")
    MessageBatch.objects.update(api="claude")
    assert "cache read 0 · $0.00015" in text_of(get(cast, batch, 2))
    MessageBatch.objects.update(api="sandbox")
    said = "cache read 0 · $0.00 (with a real key about $0.00015)"
    assert said in text_of(get(cast, batch, 2, **DRAWER))


def test_a_row_costs_the_same_however_many_there_are(cast: Cast) -> None:
    counts = []
    for rows in (3, 60):
        batch = answered({row: succeeded("yes") for row in range(2, rows + 2)})
        client = cast.client(cast.vera)
        client.get("/w/team/")
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/w/team/batches/{batch.pk}/results/3/")
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[1] < 36


def test_strangers_do_not_see_it(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    client = cast.client(cast.charlie)
    assert client.get(f"/w/team/batches/{batch.pk}/results/2/").status_code == 404


def test_a_row_is_opened_live_with_what_was_sent(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    place = f"/w/team/batches/{batch.pk}/results/2/"
    body = cast.client(cast.bob).get(place).content.decode()
    assert f'name="origin" value="{place}"' in body
    assert "&quot;params&quot;" in body.partition('name="request" value="')[2].partition('">')[0]
    assert "Open live" not in get(cast, batch, 2).content.decode()


@pytest.mark.parametrize(
    ("query", "said", "url"),
    [
        ("", "Results", "results/"),
        ("?stop=max_tokens", "Results", "results/?stop=max_tokens"),
        ("?back=https%3A%2F%2Fexample.org", "Results", "results/?back=https%3A%2F%2Fexample.org"),
        ("?back=problems&stop=max_tokens", "Problems", "problems/"),
    ],
)
def test_it_leads_back_to_where_it_was_opened(cast: Cast, query: str, said: str, url: str) -> None:
    batch = answered({2: CUT, 3: CUT})
    html = main_of(get(cast, batch, 2, query))
    where = f"/w/team/batches/{batch.pk}/"
    assert link_named(html, f"‹ {said}") == f"{where}{url}"
    current = html.split(' aria-current="page"')[0].rsplit('href="', 1)[1]
    assert current == f'{where}{said.lower()}/"'
    assert f"{where}results/3/{query}" in links_in(html), "the next one knows it, too"


def test_a_line_is_called_a_line(cast: Cast) -> None:
    batch = answered({2: CUT})
    batch.upload.kind, batch.upload.columns = "requests", []
    batch.upload.save()
    assert "Line 2 Cut off" in text_of(get(cast, batch, 2))
