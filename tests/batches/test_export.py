import re
from html import unescape

import pytest
from django.test import Client
from django.utils.html import strip_tags

from batches.models import Batch
from tests.batches.build import make_batch, make_run, make_upload, table_rows
from tests.batches.test_download import make_answered, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(make_user())
    return client


def page_of(client: Client, batch: Batch, query: str = "", **headers: str) -> str:
    response = client.get(f"/w/team/batches/{batch.pk}/export/{query}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def text_of(page: str) -> str:
    return " ".join(unescape(strip_tags(page)).split())


def checked(page: str) -> set[str]:
    """What the form sends as it stands: name=value."""
    inputs = re.findall(r"<input[^>]*>", page)
    sent = [one for one in inputs if " checked" in one or 'type="hidden"' in one]
    pairs = [re.search(r'name="(\w+)" value="([^"]*)"', one) for one in sent]
    return {f"{pair[1]}={pair[2]}" for pair in pairs if pair and pair[1] != "csrfmiddlewaretoken"}


def test_it_says_what_there_is(client: Client) -> None:
    batch = make_answered(succeeded=3, errored=1, expired=1, left_out=1)
    Batch.objects.filter(pk=batch.pk).update(concerns={"succeeded": {"max_tokens": 1}})
    page = page_of(client, batch)
    text = text_of(page)
    assert "All 6 the order of your file; rows that were left out say why" in text
    assert "Succeeded 3" in text
    assert "Problems 4 left out, not succeeded, or worth a look" in text
    assert "This filter" not in text
    assert "partial" not in text
    assert {"format=csv", "rows=all", "bom=1", "exact=0"} <= checked(page)
    assert f'action="/w/team/batches/{batch.pk}/download/"' in page


def test_in_a_dialog_it_is_a_part_of_a_page(client: Client) -> None:
    page = page_of(client, make_answered(), **{"HX-Request": "true"})
    assert "<html" not in page
    assert "data-close" in page


def test_the_filter_of_the_results_is_offered(client: Client) -> None:
    batch = make_answered(concerns={"succeeded": {"max_tokens": 1}})
    page = page_of(client, batch, "?stop=max_tokens")
    assert "This filter 1 max tokens" in text_of(page)
    assert "stop=max_tokens" in checked(page)
    here = f"http://testserver/w/team/batches/{batch.pk}/results/?type=errored&q=x"
    page = page_of(client, batch, **{"HX-Request": "true", "HX-Current-URL": here})
    assert "This filter errored, “x”" in text_of(page)
    assert {"type=errored", "q=x"} <= checked(page)


def test_our_columns_step_aside_and_say_so(client: Client) -> None:
    batch = make_batch(make_upload(["text", "error"], table_rows(["a", "b"])), state="ended")
    make_run(batch)
    assert "ours are called claude_text, claude_error." in text_of(page_of(client, batch))


def test_a_running_batch_says_what_is_missing(client: Client) -> None:
    batch = make_answered()
    Batch.objects.filter(pk=batch.pk).update(state="in_progress")
    assert "The batch still runs" in text_of(page_of(client, batch))


def test_what_has_no_rows_says_why(client: Client) -> None:
    draft = make_batch(make_upload(["text"], []), state="draft")
    for batch, sentence in (
        (make_batch(None, state="ended"), "was adopted"),
        (draft, "Nothing was"),
    ):
        page = page_of(client, batch)
        assert sentence in text_of(page)
        assert "/download/" not in page


def test_strangers_find_nothing(client: Client) -> None:
    batch = make_answered()
    client.force_login(make_user("charlie"))
    batch.workspace.memberships.filter(user__username="charlie").delete()
    assert client.get(f"/w/team/batches/{batch.pk}/export/").status_code == 404


def test_bad_input_is_kept_as_text(client: Client) -> None:
    page = page_of(client, make_answered(), "?rows=filter&q=<script>&format=x")
    assert "<script>" not in page.split("<main")[1]
    assert "Choose CSV or JSONL." in page
