"""Batches that scripts made: the list, and those that were adopted from it."""

import msgspec
from django.utils import timezone

from batches import adopting, archive
from batches.adopted_rows import write_requests
from batches.indexing import count_index, scan, write_index
from batches.models import Batch, Listing, Match, MessageBatch, Upload
from leases.clock import database_now
from leases.renewing import Renewal
from tests.batches.stage import HOUR, MINUTE, remote, result_line
from tests.screenshots.making import (
    House,
    ago,
    make_draft,
    place,
    prove,
    send,
    table_of,
)
from tests.screenshots.state import State
from tests.screenshots.troubles import press
from workspaces.models import Workspace

IDS = [f"ticket-{number}" for number in (1, 2, 3, 7, 8, 10, 11, 24)]
ODD = "a" * 70 + "_" + "b" * 20


def of_elsewhere(house: House) -> list[State]:
    def workspace(slug: str) -> Workspace:
        return house.workspace(f"scripts-{slug}", "Scripts and reports", api="claude")

    team, looking = workspace("many"), workspace("looking")
    workspace("none")
    Listing.ask(looking, database_now())
    Listing.objects.filter(workspace=looking).update(seen=3_000, fence=1)
    waiting = workspace("waiting")
    Listing.objects.create(workspace=waiting, asked_at=ago(2), due_at=ago(2))
    later = "Not listed yet: the API answers 529 overloaded_error: Overloaded."
    put_off = workspace("later")
    Listing.objects.create(workspace=put_off, due_at=timezone.now() + HOUR, reason=later, fence=1)
    nothing, refused = workspace("nothing"), workspace("refused")
    listed(nothing, [])
    no = "The API answers 403 permission_error: this key may not list batches."
    Listing.objects.create(workspace=refused, state="refused", reason=no, listed_at=ago(1))
    house.workspace("scripts-keyless", "No key here")
    fitting, alone, beside = adopted(team, "1"), adopted(team, "2"), adopted(team, "3")
    upload = make_draft(team, [[one, "x", "en", "x"] for one in IDS], "Its file").upload
    fits = {"upload": upload, "column": "id"}
    Match.objects.filter(batch=fitting).update(state="fits", **fits)
    Match.objects.filter(batch=alone).update(state="none")
    Match.objects.filter(batch=beside).update(state="shown", **fits)
    show_beside(beside, upload)
    list_some(team)
    return [
        State("adopt-none-yet", "/w/scripts-none/adopt/", main=True),
        State("adopt-looking", "/w/scripts-looking/adopt/"),
        State("adopt-no-worker", "/w/scripts-waiting/adopt/"),
        State("adopt-later", "/w/scripts-later/adopt/"),
        State("adopt", "/w/scripts-many/adopt/", main=True),
        State("adopt-viewer", "/w/scripts-many/adopt/", who="vera"),
        State("adopt-nothing", "/w/scripts-nothing/adopt/"),
        State("adopt-refused", "/w/scripts-refused/adopt/"),
        State("adopt-no-key", "/w/scripts-keyless/adopt/"),
        State("overview-elsewhere", place(alone), main=True),
        State("overview-elsewhere-fits", place(fitting)),
        State("overview-elsewhere-beside", place(beside)),
        State("results-elsewhere", place(alone, "results/")),
        State("results-elsewhere-beside", place(beside, "results/")),
        State("problems-elsewhere", place(alone, "problems/")),
        State("row-elsewhere", f"{place(alone, 'results/')}2/"),
        State("row-elsewhere-beside", f"{place(beside, 'results/')}3/"),
        State("recipe-elsewhere", place(alone, "recipe/")),
        State("match", place(fitting, "match/"), main=True),
        State("match-nothing", place(alone, "match/")),
        State("dialog-match", place(fitting), do=press("Show beside its rows")),
        State("part-elsewhere", place(alone, f"parts/{part_of(alone).pk}/")),
        State("delete-elsewhere", place(alone, "delete/")),
    ]


def listed(workspace: Workspace, found: list[adopting.Found], **more: object) -> None:
    """What a worker leaves once it has looked."""
    key = workspace.live_key()
    assert key is not None
    done = {"state": "done", "listed_at": ago(1), "api": key.api, "account": key.account()}
    shown = {"seen": 12 + len(found), "found": msgspec.to_builtins(found)}
    values = {**done, **shown, **more}
    Listing.objects.update_or_create(workspace=workspace, defaults=values)


def found(name: str, size: int, status: str, hours: int, part: int = 0) -> adopting.Found:
    at = timezone.now() - hours * HOUR
    id = f"msgbatch_01{name}aEDMaPF0wBRaq"
    failed = max(1, size // 90)
    counts = {"succeeded": size - failed, "errored": failed} if status == "ended" else {}
    one = msgspec.convert(
        remote(id, size, status, at, **counts), adopting.RemoteBatch, strict=False
    )
    return adopting.Found.of(one, part)


def adopted(workspace: Workspace, name: str) -> Batch:
    """Listed, adopted and collected, as people and workers do it."""
    one = found(f"Script{name}", len(IDS), "ended", 3)
    listed(workspace, [one])
    batch = adopting.adopt(workspace, one.id, database_now(), workspace.memberships.first().user)
    part = part_of(batch)
    with archive.writing(archive.results(part.pk, 1)) as file:
        for number, custom_id in enumerate(IDS):
            kind = "errored" if number == 3 else "succeeded"
            file.write(result_line(custom_id, kind, "The parcel came late, and the box was open."))
    fields = {"results_fence": 1, "lease_until": timezone.now() + MINUTE}
    ours = {"proven_at": ago(9), "stored_at": ago(9)}
    MessageBatch.objects.filter(pk=part.pk).update(**fields, **ours)
    part.refresh_from_db()
    renewal = Renewal(part)
    write_requests(part, list(enumerate(IDS, 1)), renewal)
    totals = write_index(part, scan(part), renewal)
    assert part.release_as("stored", None, event="All 8 answers of part 1 are here.", **totals)
    part.refresh_from_db()
    prove(part, lines=len(IDS))
    MessageBatch.objects.filter(pk=part.pk).update(**count_index(part))
    batch.recount()
    batch.refresh_from_db()
    return batch


def part_of(batch: Batch) -> MessageBatch:
    part: MessageBatch = batch.message_batches.get()
    return part


def show_beside(batch: Batch, upload: Upload | None) -> None:
    """The answers took the numbers of the file's rows."""
    part = part_of(batch)
    MessageBatch.objects.filter(pk=part.pk).update(lease_until=timezone.now() + MINUTE)
    part.refresh_from_db()
    renewal = Renewal(part)
    write_requests(part, list(enumerate(IDS, 2)), renewal)
    totals = write_index(part, scan(part), renewal)
    part.release(None, **totals, **count_index(part))
    Batch.objects.filter(pk=batch.pk).update(upload=upload, columns=["review"])
    batch.recount()


def list_some(team: Workspace) -> None:
    """Running, ended, of a part of ours, deleted already; and one that is looked for."""
    ours = make_draft(team, table_of(12), "Restored from a backup")
    first, second = send(ours, [5, 7], state="queued", message_batch_id=None, created_at=None)
    MessageBatch.objects.filter(pk=second.pk).update(
        state="unknown", unknown_at=ago(9), settled_at=ago(5), reason="The connection broke."
    )
    deleted = msgspec.structs.replace(found("Gone", 90, "ended", 400), archived_at=ago(90))
    some = [
        found("Running", 1_200, "in_progress", 1),
        found("Nightly", 98_765, "ended", 30),
        found("Ours", 5, "ended", 31, first.pk),
        found("Weekly", 800, "canceling", 60),
        deleted,
    ]
    listed(team, some, looked_for=[second.pk], more=True)
