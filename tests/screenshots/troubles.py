"""What needs a person: no outcome, set aside, incomplete, about to vanish; and what is deleted."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from django.utils import timezone
from playwright.sync_api import Page

from batches import archive, indexing
from batches.models import Batch, MessageBatch, Request, Result, Run
from tests.batches import answers, build
from tests.screenshots.making import (
    House,
    ago,
    end_part,
    ended,
    make_draft,
    part_rows,
    place,
    prove,
    send,
    table_of,
    tell,
)
from tests.screenshots.state import State
from workspaces.models import Workspace

BROKE = "We do not know whether it was created: the connection broke after the request was sent."
NOT_CREATED: dict[str, Any] = {
    "message_batch_id": None,
    "processing_status": "",
    "processing": 0,
    "created_at": None,
    "expires_at": None,
}
FOUND, OTHER, OURS = (f"msgbatch_01{word}aEDMaPF0wBRaqT3" for word in ("Found", "Other", "Ours"))
NEARLY_FULL = (
    "The disk is nearly full: 212 MB are free, and below 1 GB nothing is sent or collected. "
    "Make room to go on."
)
DAY = 24 * 60


def of_troubles(house: House) -> list[State]:
    """Beside what is calm, in a workspace of their own; and its home, which tells of them."""
    team = house.workspace("support", "Support team", api="claude")
    house.workspace("kept", "Kept for a year", api="claude")
    Workspace.objects.filter(slug="kept").update(retention_days=365)
    old = ended(team, "Tickets of last winter")
    MessageBatch.objects.filter(batch=old).update(ended_at=ago(90 * DAY), stored_at=ago(90 * DAY))
    old.message_batches.update(sent_at=ago(90 * DAY))
    Run.objects.filter(batch=old).update(requested_at=ago(91 * DAY))
    Batch.objects.filter(pk=old.pk).update(created_at=ago(91 * DAY))
    return [
        *of_decisions(team),
        *of_parts(team),
        *of_deleting(team),
        State("home-needs-you", "/w/support/", main=True),
        State("home-needs-you-viewer", "/w/support/", who="vera"),
        State("settings-kept", "/w/kept/settings/"),
        State("settings-much-is-older", "/w/support/settings/", do=keep_for("30"), main=True),
        State("settings-wrong-days", "/w/support/settings/", do=keep_for("0")),
    ]


def keep_for(days: str) -> Callable[[Page], None]:
    def fill_in(page: Page) -> None:
        page.locator("input[name=days]").fill(days)
        page.get_by_role("button", name="Save").click()
        page.locator("form .notice, form .error").first.wait_for()

    return fill_in


def press(name: str) -> Callable[[Page], None]:
    """Open the dialog of a link or a button with this name."""

    def open_it(page: Page) -> None:
        page.locator("main").get_by_role("link", name=name).first.click()
        page.locator("#dialog[open] h2").wait_for()

    return open_it


# Decisions.


def unknown(team: Workspace, name: str, size: int = 5, **fields: Any) -> MessageBatch:
    """The first of two parts, which nobody knows the outcome of; the other one is answered."""
    batch = make_draft(team, table_of(size + 7), name)
    first, second = send(batch, [size, 7])
    end_part(second)
    looked = {"listings": 16, "unknown_at": ago(11), "settled_at": ago(2), "sent_at": ago(12)}
    known = {"state": "unknown", "reason": BROKE, **NOT_CREATED, **looked}
    MessageBatch.objects.filter(pk=first.pk).update(**(known | fields))
    tell(batch).recount()
    first.refresh_from_db()
    return first


def candidate(id: str, ours: bool | None = None, status: str = "in_progress") -> dict[str, Any]:
    at = {"created_at": ago(11.8).isoformat(), "processing_status": status}
    return {"id": id, "ours": ours, "size": 5, "succeeded": 4 if status == "ended" else 0, **at}


def late(team: Workspace, name: str, status: str, size: int = 5) -> MessageBatch:
    found = [candidate(OURS + name[:2], ours=True, status=status)]
    dropped = "Dropped by a person after its outcome stayed unknown."
    fields = {"state": "dropped", "reason": dropped, "due_at": None, "candidates": found}
    return unknown(team, name, size, **fields)


def decision(part: MessageBatch) -> str:
    return place(part.batch, f"parts/{part.pk}/decide/")


def of_decisions(team: Workspace) -> list[State]:
    nothing = unknown(team, "Not found at the API")
    alike = [candidate(FOUND), candidate(OTHER, ours=False, status="ended")]
    two = unknown(team, "Two that may be it", candidates=alike)
    asking = unknown(team, "Being asked about", candidates=alike[:1], adopt_id=FOUND)
    refused = unknown(team, "Named in vain", 6, candidates=alike[:1])
    no = f"{OTHER} was not taken for part 1: {OTHER} holds 800 requests, part 1 has 6."
    refused.batch.record("not_adopted", no, part=1)
    runs, over = late(team, "Turned up running", "in_progress"), late(team, "Was paid", "ended")
    again = make_replacement(late(team, "Sent twice", "ended"))
    looked_for = unknown(team, "Looked for", settled_at=None)
    done = unknown(team, "Taken", state="submitted", message_batch_id=f"{FOUND}1", reason="")
    aside = make_draft(team, table_of(12), "Stopped three workers")
    send(aside, [5, 7], crashes=3, lease_until=None)
    aside.recount()

    def type_wrong(page: Page) -> None:
        page.get_by_label("to confirm").fill("7")
        page.get_by_role("button", name="Send part 1 again").click()
        page.locator("#confirm-error").wait_for()

    return [
        State("decide", decision(nothing)),
        State("decide-candidates", decision(two), main=True),
        State("decide-being-asked", decision(asking)),
        State("decide-adoption-refused", decision(refused)),
        State("decide-wrong-number", decision(two), do=type_wrong),
        State("decide-viewer", decision(two), who="vera"),
        State("decide-late", decision(runs), main=True),
        State("decide-late-ended", decision(over)),
        State("decide-late-sent-again", decision(again)),
        State("decide-nothing", decision(done)),
        State("dialog-decide", place(two.batch), do=press("Decide"), main=True),
        State("overview-two-candidates", place(two.batch)),
        State("overview-being-asked", place(asking.batch)),
        State("overview-adoption-refused", place(refused.batch)),
        State("overview-looked-for", place(looked_for.batch)),
        State("overview-late", place(runs.batch)),
        State("overview-decide-viewer", place(two.batch), who="vera"),
        State("overview-set-aside", place(aside), main=True),
        State("overview-set-aside-viewer", place(aside), who="vera"),
        State("start-again", place(aside, "start-again/")),
        State("dialog-start-again", place(aside), do=press("Start again")),
    ]


def make_replacement(part: MessageBatch) -> MessageBatch:
    """The rows of a dropped part were sent once more before it turned up."""
    run = build.make_run(part.batch, recipe=part.batch.recipe, requested_at=ago(8))
    rows = {row: f"R-{999 + row}" for row in part_rows(part)}
    newer = build.make_part(run, rows, replaces=part, api="claude", sent_at=ago(7))
    end_part(newer)
    return part


# Parts.


def write_created(part: MessageBatch) -> None:
    remote = {
        "id": part.message_batch_id,
        "processing_status": "in_progress",
        "request_counts": {"processing": part.size},
        "created_at": ago(12).isoformat(),
        "expires_at": ago(12 - DAY).isoformat(),
    }
    created = {"nonce": part.nonce, "request_id": "req_011CVqXM8yvT", "message_batch": remote}
    with archive.writing(archive.created(part.pk)) as file:
        file.write(msgspec.json.encode(created))


def incomplete(team: Workspace, name: str, **fields: Any) -> MessageBatch:
    """The second of two parts, whose results file fell short by three rows."""
    batch = make_draft(team, table_of(12), name)
    first, second = send(batch, [5, 7])
    end_part(first)
    rows = part_rows(second)
    some = {row: build.succeeded("positive") for row in rows[:4]}
    answers.collect(second, some, state="incomplete")
    lines = {"lines": 6, "downloads": 2, "unexpected": 1, "unexpected_ids": ["theirs-17"]}
    bad = {"unreadable": 1, "unreadable_lines": [6]}
    prove(second, **lines, **bad)
    values = {
        "state": "incomplete",
        "reason": "Part 2 is incomplete: 3 of 7 answers are missing; 1 line is not ours; "
        "line 6 cannot be read. We ask again.",
        "processing_status": "ended",
        "processing": 0,
        "succeeded": 7,
        "ended_at": ago(3),
        "attempts": 2,
        "due_at": timezone.now() + timedelta(minutes=4),
    }
    MessageBatch.objects.filter(pk=second.pk).update(**(values | fields))
    tell(batch).recount()
    second.refresh_from_db()
    return second


def lose(part: MessageBatch) -> None:
    """Whatever has no answer is `missing`."""
    for request in Request.objects.of(part.pk).filter(result=None):
        Result.objects.create(request=request, batch=part.batch, row=request.row, type="missing")
    MessageBatch.objects.filter(pk=part.pk).update(**indexing.count_index(part))
    part.batch.recount()


def of_parts(team: Workspace) -> list[State]:
    proven = ended(team, "Proven to be whole", {4: answers.BUSY})
    stored = proven.message_batches.order_by("part")[0]
    write_created(stored)
    stored.sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    stored.save(update_fields=["sha256"])
    short = incomplete(team, "Three answers are missing")
    stopped = incomplete(team, "Nobody waits", stop_waiting_at=ago(1))
    gone = "Nobody waits for what is missing: 3 answers."
    over = incomplete(team, "Lost for good", state="lost", reason=gone, due_at=None)
    lose(over)
    vanishing = incomplete(
        team, "Gone in three days", created_at=ago(26 * DAY - 60), ended_at=ago(26 * DAY - 69)
    )
    full = make_draft(team, table_of(12), "No room on the disk")
    first, second = send(full, [5, 7], reason=NEARLY_FULL)
    MessageBatch.objects.filter(pk=first.pk).update(processing_status="ended", processing=0)
    queued = {"state": "queued", "sent_at": None, **NOT_CREATED}
    MessageBatch.objects.filter(pk=second.pk).update(**queued)
    full.recount()
    forgotten = ended(team, "Deleted at the API")
    forgotten.message_batches.update(deleted_at=ago(1), delete_requested_at=ago(2))
    kept = forgotten.message_batches.order_by("part")[0]

    def page_of(part: MessageBatch, action: str = "") -> str:
        return place(part.batch, f"parts/{part.pk}/{action}")

    return [
        State("part", page_of(stored), main=True),
        State("part-viewer", page_of(stored), who="vera"),
        State("part-incomplete", page_of(short), main=True),
        State("part-not-waited-for", page_of(stopped)),
        State("part-lost", page_of(over)),
        State("part-running", page_of(first)),
        State("part-deleted-there", page_of(kept)),
        State("part-stop", page_of(short, "stop/")),
        State("dialog-part-stop", page_of(short), do=press("Stop waiting"), main=True),
        State("overview-incomplete", place(short.batch)),
        State("overview-lost", place(over.batch)),
        State("overview-vanishing", place(vanishing.batch), main=True),
        State("overview-disk-full", place(full)),
        State("row-missing", f"{place(over.batch, 'results/')}12/"),
        State("row-not-here-yet", f"{place(short.batch, 'results/')}12/"),
        State("delete-not-fetched", place(short.batch, "delete/"), main=True),
    ]


# Deleting.


def of_deleting(team: Workspace) -> list[State]:
    whole = ended(team, "To be deleted", {4: answers.BUSY})
    running = make_draft(team, table_of(5), "Still running")
    send(running, [5])
    undecided = unknown(team, "Not decided", 8)
    forgotten = Batch.objects.get(name="Deleted at the API")
    draft = make_draft(team, table_of(5), "Never sent")

    def open_delete(page: Page) -> None:
        page.locator("#batch-menu summary").click()
        page.get_by_role("link", name="Delete…").click()
        page.locator("#dialog[open] h2").wait_for()

    return [
        State("delete-draft", place(draft, "delete/")),
        State("delete-running", place(running, "delete/")),
        State("delete-undecided", place(undecided.batch, "delete/")),
        State("delete-nothing-there", place(forgotten, "delete/")),
        State("delete-remote", place(whole, "delete/remote/"), main=True),
        State("delete-remote-done", place(forgotten, "delete/remote/")),
        State("dialog-delete-both", place(whole), do=open_delete),
        State(
            "dialog-delete-not-fetched",
            place(Batch.objects.get(name="Three answers are missing")),
            do=open_delete,
        ),
    ]
