"""Rows that are sent once more: the question, the recipe for it, and what it leaves."""

from collections.abc import Callable
from typing import Any

import msgspec
from django.db import transaction
from playwright.sync_api import Page

from batches import archive
from batches.models import Batch, MessageBatch
from tests.batches import answers, build
from tests.screenshots.making import (
    RECIPE,
    House,
    ago,
    end_part,
    ended,
    estimate,
    make_draft,
    place,
    send,
    table_of,
)
from tests.screenshots.state import State
from tests.screenshots.troubles import press
from workspaces.models import Workspace

WRONG = {
    3: answers.WRONG,
    4: answers.BUSY,
    5: answers.EXPIRED,
    6: answers.CANCELED,
    8: answers.CUT,
    9: answers.REFUSED,
    10: answers.BUSY,
}
EDITED = "Is this review of the {{product}} positive, negative or mixed? One word.\n\n{{review}}"


def of_retries(house: House) -> list[State]:
    team = house.workspace("again", "Once more", api="claude")
    failed = estimate(ended(team, "Some rows failed", WRONG))
    here = place(failed, "retry/")
    edited = estimate(ended(team, "With an edited recipe", WRONG))
    recipe = {**RECIPE, "prompt": EDITED}
    Batch.objects.filter(pk=edited.pk).update(typed={"retry": recipe})
    queued = estimate(ended(team, "Pressed a moment ago", WRONG))
    build.make_run(queued, state="queued", recipe=RECIPE)
    queued.recount()
    silent = ended(house.workspace("again-keyless", "No key"), "No key to retry with", WRONG)
    again = retried(team)
    everything = "type=errored&type=expired&type=canceled&stop=max_tokens&stop=refusal"
    return [
        State("retry", f"{here}?type=expired&error=overloaded_error", main=True),
        State("retry-raise", f"{here}?stop=max_tokens"),
        State("retry-several", f"{here}?{everything}"),
        State("retry-rows", f"{here}?row=4&row=10"),
        State("retry-nothing", f"{here}?row=2&row=7", main=True),
        State("retry-unedited", f"{here}?error=invalid_request_error"),
        State("retry-edited", f"{place(edited, 'retry/')}?{everything}&recipe=edited"),
        State("retry-checking", f"{place(again, 'retry/')}?type=errored"),
        State("retry-no-key", f"{place(silent, 'retry/')}?type=expired"),
        State("retry-queued-already", f"{place(queued, 'retry/')}?type=expired"),
        State("retry-refused", f"{here}?type=expired", do=type_and_press("-5")),
        State("retry-of-finished-requests", f"{place(ready(team), 'retry/')}?stop=max_tokens"),
        State("retry-recipe", f"{here}recipe/?to=error%3Dinvalid_request_error", main=True),
        State("retry-sandbox", f"{place(in_sandbox(), 'retry/')}?type=expired"),
        State("dialog-retry", place(failed, "problems/"), do=press("Retry 2")),
        State(
            "dialog-retry-raise",
            place(failed, "problems/"),
            do=press("Raise max tokens"),
            main=True,
        ),
        State("problems-to-mend", place(failed, "problems/"), main=True),
        State("problems-to-mend-viewer", place(failed, "problems/"), who="vera"),
        State("problems-retried", place(again, "problems/")),
        State("results-selected", place(failed, "results/"), do=select_two, main=True),
        State(
            "results-filter-selected", f"{place(failed, 'results/')}?type=errored", do=select_two
        ),
        State("row-to-retry", f"{place(failed, 'results/')}4/"),
        State("row-attempts", f"{place(again, 'results/')}4/", main=True),
        State("row-attempts-open", f"{place(again, 'results/')}", do=open_row(4)),
        State("overview-retried", place(again)),
        State("overview-retry-queued", place(queued)),
        State("recipe-sent-twice", place(again, "recipe/")),
        State("activity-retried", place(again, "activity/")),
    ]


def type_and_press(tokens: str) -> Callable[[Page], None]:
    def refuse(page: Page) -> None:
        page.get_by_label("Max tokens").fill(tokens)
        page.locator("#retry-problems .error").wait_for()

    return refuse


def select_two(page: Page) -> None:
    for box in page.locator("table.answers tbody input[name=row]").all()[:2]:
        box.check()


def open_row(number: int) -> Callable[[Page], None]:
    def open_it(page: Page) -> None:
        page.locator("tr[data-row] a").get_by_text(str(number), exact=True).click()
        page.locator("#row-title").wait_for()

    return open_it


def retried(team: Workspace) -> Batch:
    """Of four rows that were sent once more with another prompt one has failed a second time."""
    batch = ended(team, "Sent once more", WRONG)
    run = build.make_run(batch, recipe={**RECIPE, "prompt": EDITED}, requested_at=ago(5))
    part = build.make_part(
        run,
        {row: f"R-{999 + row}" for row in (3, 4, 5, 10)},
        api="claude",
        message_batch_id=f"msgbatch_01{batch.pk:04}againaEDMaPF0",
        sent_at=ago(4),
        created_at=ago(4),
    )
    with transaction.atomic():
        part.link_attempts()
    end_part(part, {10: answers.BUSY}, took=10)
    batch.record("run", "mei pressed Retry 4 rows (at most $0.0031).", at=ago(5))
    batch.record("stored", "All 4 answers of part 3 are here.", at=ago(2))
    batch.refresh_from_db()
    return batch


def ready(team: Workspace) -> Batch:
    """A file of finished requests, one of which was cut off."""
    asked: dict[str, Any] = {"model": RECIPE["model"], "max_tokens": 60, "messages": []}
    asked["messages"] = [{"role": "user", "content": "Say why."}]
    rows = [
        archive.Row(number, own_id=f"q-{number}", params=msgspec.Raw(msgspec.json.encode(asked)))
        for number in range(1, 6)
    ]
    upload = build.make_upload([], rows, filename="questions.jsonl")
    type(upload).objects.filter(pk=upload.pk).update(workspace=team)
    upload.workspace = team
    batch = Batch.objects.create(workspace=team, upload=upload, name="Finished requests", rows=5)
    run = build.make_run(batch, requested_at=ago(13))
    part = build.make_part(run, {number: f"q-{number}" for number in range(1, 6)}, api="claude")
    MessageBatch.objects.filter(pk=part.pk).update(sent_at=ago(12), created_at=ago(12))
    end_part(part, {3: answers.CUT})
    return batch


def in_sandbox() -> Batch:
    sandbox = Workspace.objects.get(slug="sandbox")
    batch = make_draft(sandbox, table_of(5), "Retried in the sandbox")
    end_part(send(batch, [5])[0], {4: answers.EXPIRED})
    return estimate(batch)
