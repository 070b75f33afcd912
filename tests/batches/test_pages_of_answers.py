"""What the API answers, followed from its POST to the pages that show it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from batches import collecting, polling, submitting
from batches.models import Batch, Result
from tests.batches.html import link_named, links_in, main_of, text_of
from tests.batches.stage import MINUTE, SandboxScope, make_batch, make_part, now
from workspaces.models import Membership, Workspace


def collected(workspace: Workspace, rows: int) -> Batch:
    batch = make_batch(workspace, [f"review {row}" for row in range(rows)])
    make_part(batch, rows)
    assert submitting.step(now())
    assert polling.step(now() + MINUTE)
    assert collecting.step(now() + MINUTE)
    return Batch.objects.get()


@pytest.fixture
def reader(client: Client, workspace: Workspace) -> Client:
    vera = User.objects.create_user("vera")
    Membership.objects.create(workspace=workspace, user=vera, role=Membership.Role.VIEWER)
    client.force_login(vera)
    return client


def test_answers_are_read_from_the_first_page_to_the_last_row(
    at_sandbox: SandboxScope, workspace: Workspace, reader: Client
) -> None:
    at_sandbox.change(batch_seconds=0)
    batch = collected(workspace, 60)
    place = f"/w/acme/batches/{batch.pk}/"
    first = reader.get(f"{place}results/")
    # The sandbox ends what it writes at 16 tokens: every answer is cut off there.
    assert "All 60 Succeeded 60 Cut off 60" in text_of(first)
    last = reader.get(link_named(main_of(first), "Last"))
    rows = [link for link in links_in(main_of(last)) if "/results/61/" in link]
    answer = Result.objects.get(row=61)
    row = reader.get(rows[-1])
    assert "Row 61 Cut off id 61 · max_tokens" in text_of(row)
    assert answer.preview[:20] in text_of(row)
    assert f"{answer.input_tokens} in · {answer.output_tokens} out" in text_of(row)
    assert "wörter" in text_of(row)
    problems = reader.get(f"{place}problems/")
    assert "60 rows: 60 answered but worth a look" in text_of(problems)
    assert "Problems 60" in text_of(problems)


def test_every_row_that_went_wrong_is_in_a_group(
    at_sandbox: SandboxScope, workspace: Workspace, reader: Client
) -> None:
    at_sandbox.change(batch_seconds=0, failure_rate=1)
    batch = collected(workspace, 4)
    problems = reader.get(f"/w/acme/batches/{batch.pk}/problems/")
    assert "4 rows: 4 " in text_of(problems)
    group = link_named(main_of(problems), "See all 4")
    assert "Rows 2–5, 4 in all" in text_of(reader.get(group))
