"""Batches that were sent: running, ended in each way, and their answers."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

from batches import archive
from batches.models import Batch, MessageBatch
from tests.batches import answers, build
from tests.screenshots.making import (
    CHINESE,
    COLUMNS,
    RECIPE,
    UNBROKEN,
    House,
    ago,
    end_part,
    ended,
    make_draft,
    part_way,
    place,
    running,
    send,
    table_of,
    tell,
    worker_stopped,
)
from tests.screenshots.state import State
from workspaces.models import ApiKey, Workspace

WRONG = {
    3: answers.WRONG,
    4: answers.BUSY,
    5: answers.EXPIRED,
    6: answers.CANCELED,
    8: answers.CUT,
    9: answers.REFUSED,
}


def of_runs(house: House, team: Workspace, many: int) -> list[State]:
    sandbox = Workspace.objects.get(slug="sandbox")
    refused = house.workspace("refused", "Key refused", api="claude")
    at_work = running(team, "Review themes", size=max(5, many // 100), labels=["q3", "support"])
    whole, partly = ended(team, "Every row answered"), ended(team, "Some rows failed", WRONG)
    nothing = ended(team, "No row answered", dict.fromkeys(range(2, 14), answers.WRONG))
    fresh = {"message_batch_id": None, "processing_status": "", "created_at": None}
    queued = make_draft(team, table_of(12), "Waiting its turn")
    send(queued, [5, 7], state="queued", **fresh, sent_at=None, due_at=ago(2))
    lost = make_draft(team, table_of(12), "Outcome unknown")
    send(lost, [5, 7])
    first = lost.message_batches.order_by("part").first()
    assert first is not None
    MessageBatch.objects.filter(pk=first.pk).update(
        state="unknown",
        **fresh,
        settled_at=ago(5),
        unknown_at=ago(9),
        listings=3,
        reason="The connection broke after the request was sent.",
    )
    lost.recount()
    canceling = part_way(
        team, "Being canceled", "submitted", cancel_requested_at=ago(1), cancel_initiated_at=ago(1)
    )
    canceled = ended(team, "Canceled in time", dict.fromkeys(range(2, 14), answers.CANCELED))
    single = make_draft(team, table_of(8), "A single part")
    send(single, [8])
    crowd = make_draft(team, table_of(60), "Sixty parts")
    crowded = send(crowd, [1] * 60)[:43]
    MessageBatch.objects.filter(pk__in=[part.pk for part in crowded]).update(
        state="stored", processing_status="ended", succeeded=1, answers={"succeeded": 1}
    )
    crowd.recount()
    building = make_draft(team, table_of(8), "Being built")
    build.make_run(building, state="queued", recipe=RECIPE)
    building.recount()
    refused_run = make_draft(team, table_of(8), "Nothing to send")
    build.make_run(refused_run, state="refused", reason="No row can be sent: 8 rows are left out.")
    refused_run.recount()
    adopted = Batch.objects.create(
        workspace=team, upload=None, name="Adopted from the API", recipe=RECIPE
    )
    end_part(send(adopted, [6])[0])
    in_refused = running(refused, "Waits for a key", ended=2)
    ApiKey.objects.filter(workspace=refused).update(
        refused="The API answers 401 authentication_error: invalid x-api-key.", refused_type="key"
    )
    long, chinese = running(team, UNBROKEN[:200]), running(team, CHINESE)

    def open_part(page: Page) -> None:
        page.locator("details[id^=part-] summary").first.click()

    def open_more(page: Page) -> None:
        page.locator(".page-actions details.menu summary").first.click()

    def show_keys(page: Page) -> None:
        page.keyboard.press("?")

    def open_dialog(name: str) -> Callable[[Page], None]:
        def press(page: Page) -> None:
            link = page.locator(f"a[href*='/{name}/']").first
            if not link.is_visible():
                page.locator(".page-actions details.menu summary").first.click()
            link.click()
            page.locator("#dialog[open]").wait_for()

        return press

    found = {
        "overview-running": at_work,
        "overview-whole": whole,
        "overview-partly": partly,
        "overview-none": nothing,
        "overview-queued": queued,
        "overview-unknown": lost,
        "overview-canceling": canceling,
        "overview-canceled": canceled,
        "overview-one-part": single,
        "overview-sixty-parts": crowd,
        "overview-building": building,
        "overview-refused": refused_run,
        "overview-adopted": adopted,
        "overview-key-refused": in_refused,
        "overview-long-name": long,
        "overview-chinese": chinese,
        "overview-sandbox": running(sandbox, "In the sandbox"),
    }
    some = {"overview-running", "overview-partly", "overview-unknown", "overview-long-name"}
    here = place(at_work)
    return [
        *(State(name, place(batch), main=name in some) for name, batch in found.items()),
        State("overview-part", place(partly), do=open_part),
        State("overview-menu", here, do=open_more),
        State("overview-keys", here, do=show_keys),
        State("overview-viewer", here, who="vera"),
        State("overview-worker-stopped", place(queued), during=worker_stopped),
        State("dialog-cancel", here, do=open_dialog("cancel")),
        State("dialog-download", place(partly), do=open_dialog("export")),
        State("dialog-rename", place(partly), do=open_dialog("rename")),
        State("dialog-delete", place(partly), do=open_dialog("delete")),
        State("cancel", f"{here}cancel/", main=True),
        State("rename", f"{place(partly)}rename/"),
        State("delete", f"{place(partly)}delete/", main=True),
        State("export", f"{place(partly)}export/", main=True),
        State("recipe-sent", f"{place(partly)}recipe/", main=True),
        State("file-sent", f"{place(partly)}file/", main=True),
        State("activity", f"{place(at_work)}activity/", main=True),
        State("results-none-yet", f"{place(single)}results/"),
        State("results-no-success", f"{place(nothing)}results/?type=succeeded"),
        State("problems-none", f"{place(whole)}problems/"),
        State("activity-empty", f"{place(adopted)}activity/"),
    ]


MARKDOWN = """## What they say

The lid is **tight** and it keeps warm until the evening. Three points:

1. It is heavy.
2. The handle gets `hot`.
3. Nobody would send it back.

| part | said |
| --- | --- |
| lid | tight |
| handle | hot |

> Would buy it again.

```python
print("warm")
```
"""


def of_answers(house: House, team: Workspace, many: int) -> list[State]:
    thinking = {
        "type": "thinking",
        "thinking": "Warm is good. Heavy is not.\n" * 3,
        "signature": "x",
    }
    tool = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "label",
        "input": {"label": "warm", "sure": True},
    }
    rich: dict[int, Any] = {
        2: build.succeeded(MARKDOWN),
        3: build.succeeded('{"label": "positive", "reasons": ["fast", "quiet"], "score": 0.93}'),
        4: build.succeeded(content=[thinking, {"type": "text", "text": "mixed"}]),
        5: build.succeeded(content=[tool], stop_reason="tool_use"),
        6: answers.WRONG,
        7: build.succeeded("y" * 3_000),
        8: answers.CUT,
        9: answers.REFUSED,
        10: answers.EXPIRED,
        11: build.succeeded(CHINESE * 4),
    }
    shown = ended(team, "Many kinds of answers", rich, columns=COLUMNS, rows=14)
    Batch.objects.filter(pk=shown.pk).update(columns=["product", "review"])
    large = make_draft(team, table_of(many), "Very many rows")
    for part in send(large, [many // 4] * 4):
        end_part(part, {40: answers.BUSY, 41: answers.WRONG, 42: answers.CUT})
    tell(large)
    here, one = place(shown, "results/"), ended(team, "One answer", rows=2)
    lost = ended(team, "A file is gone", rows=4)
    for part in lost.message_batches.all():
        archive.results(part.pk, part.results_fence or 0).unlink()

    def open_row(page: Page) -> None:
        page.locator("tr[data-row] a").first.click()
        page.locator("#row-title").wait_for()

    def open_columns(page: Page) -> None:
        page.locator("#result-filters details.menu summary").first.click()

    return [
        State("results", here, main=True),
        State("results-one", place(one, "results/")),
        State("results-many", place(large, "results/")),
        State("results-filtered", f"{here}?type=errored"),
        State("results-found", f"{here}?q=mixed"),
        State("results-nothing-found", f"{here}?q=nowhere", main=True),
        State("results-row-open", here, do=open_row),
        State("results-columns", here, do=open_columns, widths=(1440,)),
        State(
            "results-running",
            place(Batch.objects.get(name="Review themes", state="in_progress"), "results/"),
        ),
        State("results-viewer", here, who="vera"),
        State(
            "problems", place(Batch.objects.get(name="Some rows failed"), "problems/"), main=True
        ),
        State("row-markdown", f"{here}2/", main=True),
        State("row-plain", f"{here}2/?plain=1"),
        State("row-json", f"{here}3/", main=True),
        State("row-thinking", f"{here}4/"),
        State("row-tool", f"{here}5/"),
        State("row-errored", f"{here}6/", main=True),
        State("row-long", f"{here}7/", main=True),
        State("row-cut", f"{here}8/"),
        State("row-declined", f"{here}9/"),
        State("row-expired", f"{here}10/"),
        State("row-chinese", f"{here}11/"),
        State("row-viewer", f"{here}6/", who="vera"),
        State("row-file-gone", f"{place(lost, 'results/')}2/"),
    ]
