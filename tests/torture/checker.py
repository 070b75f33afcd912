"""The invariants: what the database and the archive say, against what the sandbox really has."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from django.db import transaction

from batches import archive
from batches.exporting import write_export
from batches.models import Batch, MessageBatch, Request, Result
from batches.submitting import read_created
from tests.torture.world import PROMPT, World, created_with, nonce_of
from workspaces.models import Event

State = MessageBatch.State
AT_REST = {State.STORED, State.LOST, State.DROPPED, State.REJECTED}
# Not every step is an event: these pass without one.
SILENT = {State.BUILDING, State.QUEUED, State.SENDING}


def check(world: World) -> list[str]:
    """Every violation of a world that has come to rest, in words."""
    ledger = world.scope.ledger()
    checks = (
        check_creates(world, ledger),
        check_rows_sent(world, ledger),
        check_results(world, ledger),
        check_edges(),
        check_rest(),
        check_counters(),
        check_exports(),
        check_workspaces(),
        check_log(world),
    )
    return [*world.violations, *(said for found in checks for said in found)]


def check_creates(world: World, ledger: dict[str, Any]) -> Iterator[str]:
    """I1: every batch at the API that carries a nonce of ours belongs to exactly one attempt."""
    parts = {part.nonce: part for part in MessageBatch.objects.all()}
    ours = [create for create in ledger["creates"] if is_ours(create)]
    for nonce, times in Counter(nonce_of(create) for create in ours).items():
        if times > 1:
            yield f"double: {times} batches were created with the nonce {nonce}"
    for create in ours:
        nonce, id = nonce_of(create), create["id"]
        if {one.rpartition("_")[2] for one in create["custom_ids"]} != {nonce}:
            yield f"{id} mixes nonces"
        if nonce in world.gone:
            if world.gone[nonce] != id:
                yield f"lost: {id} was forgotten with its batch"
        elif nonce not in parts:
            yield f"lost: {id} carries a nonce that no part has"
        elif id in world.left_there:
            if not is_left(parts[nonce], id):
                yield f"lost: {id} was left at the API, and {parts[nonce]} does not say so"
        elif parts[nonce].message_batch_id != id:
            yield f"lost: {id} is {parts[nonce]}, which is {parts[nonce].state} and knows it not"
        elif sent_rows(create) != rows_of(parts[nonce]):
            yield f"{id} was sent with other rows than {parts[nonce]}"
    created = {create["id"]: nonce_of(create) for create in ours}
    for part in parts.values():
        if part.message_batch_id and created.get(part.message_batch_id) != part.nonce:
            yield f"wrong adoption: {part} is taken to be {part.message_batch_id}"


def is_left(part: MessageBatch, id: str) -> bool:
    known = any(one["id"] == id and one.get("left") for one in part.candidates)
    return known and part.state == State.DROPPED


def check_rows_sent(world: World, ledger: dict[str, Any]) -> Iterator[str]:
    """I2: no row is sent more often than somebody said, and the journal knows what was sent."""
    sent: Counter[tuple[int, int]] = Counter()
    for part in MessageBatch.objects.all():
        times = len(created_with(ledger, part.nonce))
        for row in rows_of(part):
            sent[part.batch_id, row] += times
    for (batch, row), times in sent.items():
        if times > 1 + world.approved[batch, row]:
            yield f"double: row {row} of batch {batch} was sent {times} times"
    for event in Event.objects.filter(verb=State.SUBMITTED, sentence__contains="was sent"):
        id = event.sentence.rstrip(".").rpartition(" ")[2]
        part = MessageBatch.objects.filter(message_batch_id=id).first()
        created = read_created(part) if part else None
        if part and (created is None or created.message_batch.id != id):
            yield f"{part} was sent, and created.json does not say so"


def check_results(world: World, ledger: dict[str, Any]) -> Iterator[str]:
    """I3, I6: what is stored is what the API has, byte for byte, each answer once, and its cost."""
    deleted = {delete["id"] for delete in ledger["deletes"]}
    for part in MessageBatch.objects.filter(state__in=[State.STORED, State.LOST]):
        path = archive.results(part.pk, part.results_fence or 0)
        ours = path.read_bytes() if path.exists() else b""
        if part.message_batch_id and part.message_batch_id not in deleted:
            theirs = world.results(part.message_batch_id)
            if sorted(ours.splitlines()) != sorted(theirs.splitlines()):
                yield f"lost: the results file of {part} is not what the API has"
            yield from check_counts(world, part)
            tokens = count_tokens(theirs)
            found = (part.tokens.get("input_tokens"), part.tokens.get("output_tokens"))
            if tokens != found:
                yield f"{part} used {tokens} tokens at the API and {found} here"
        results = list(Result.objects.of(part.pk).order_by("pk"))
        if [result.row for result in results] != rows_of(part):
            yield f"the index of {part} does not have each row once"
        for result in results:
            line = ours[result.offset : result.offset + result.length]
            if not names_row(line, part.custom_id(result.row)):
                yield f"the index of {part}, row {result.row}, shows another line"


def check_counts(world: World, part: MessageBatch) -> Iterator[str]:
    path = f"/v1/messages/batches/{part.message_batch_id}"
    counts = world.scope.call(path, method="GET")["request_counts"]
    here = {name: getattr(part, name) for name in counts}
    if part.state == State.STORED and here != counts:
        yield f"{part} is stored with {here}, and the API counts {counts}"


def check_edges() -> Iterator[str]:
    """I4: the story of a part has only steps that the program may take."""
    for batch in Batch.objects.all():
        known: dict[int, str] = {}
        # Parts of different Runs may bear one number: the story then begins anew within.
        numbers = Counter(batch.message_batches.values_list("part", flat=True))
        story = Event.objects.filter(subject=f"batch:{batch.pk}", verb__in=State.values)
        for event in story.order_by("pk"):
            number = event.data.get("part")
            before = known.get(number, State.BUILDING)
            possible = reachable(before)
            if numbers[number] > 1:
                possible |= reachable(State.BUILDING)
            if event.verb not in possible:
                yield f"part {number} of batch {batch.pk} went from {before} to {event.verb}"
            known[number] = event.verb


def reachable(state: str) -> set[str]:
    found: set[str] = set()
    new = {State(state)}
    while new:
        beyond = set().union(*(MessageBatch.EDGES.get(one, set()) for one in new)) - found
        found |= beyond
        new = beyond & SILENT
    return set(map(str, found))


def check_rest() -> Iterator[str]:
    """I5: nothing is still on its way."""
    for part in MessageBatch.objects.exclude(state__in=AT_REST):
        yield f"half a state: {part} is {part.state}"
    numbers = set(MessageBatch.objects.values_list("pk", flat=True))
    for model in (Request, Result):
        field = "pk" if model is Request else "request_id"
        pks = model.objects.values_list(field, flat=True)
        if strays := {pk >> 17 for pk in pks} - numbers:
            yield f"{model.__name__}s without their part: {sorted(strays)}"
    kept = {int(path.name) for path in (archive.created(1).parent.parent).glob("[0-9]*")}
    if strays := kept - numbers:
        yield f"files without their part: {sorted(strays)}"


def check_counters() -> Iterator[str]:
    """The counters of a Batch are those that its parts give."""
    for batch in Batch.objects.all():
        names = ("state", "sent", "succeeded", "errored", "canceled", "missing", "tokens", "cost")
        before = {name: getattr(batch, name) for name in names}
        with transaction.atomic():
            batch.recount()
        after = {name: getattr(batch, name) for name in names}
        if before != after:
            yield f"batch {batch.pk} counted {before} and is {after}"


def check_exports() -> Iterator[str]:
    """I8: the export has every row of the upload once, in its order."""
    for batch in Batch.objects.all():
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "rows.jsonl"
            write_export(batch, path)
            rows = [msgspec.json.decode(line)["row"] for line in path.read_bytes().splitlines()]
        if rows != list(range(2, 2 + batch.rows)):
            yield f"the export of batch {batch.pk} has other rows than its upload"


def check_workspaces() -> Iterator[str]:
    """I9: nothing refers to another workspace's."""
    for part in MessageBatch.objects.select_related("batch"):
        if part.workspace_id != part.batch.workspace_id:
            yield f"{part} is in another workspace than its batch"


def check_log(world: World) -> Iterator[str]:
    """I10: no key and no prompt in the log; and nothing in it that nobody foresaw."""
    logs = [world.log, *(world.directory / "data").glob("log/*")]
    text = "".join(path.read_text(errors="replace") for path in logs)
    for name, secret in (("the key", world.secret), ("a prompt", PROMPT)):
        if secret in text:
            yield f"{name} stands in the log"
    if "Traceback" in text and not world.bug:
        yield f"a surprise stands in the log: {text[text.index('Traceback') :][-1500:]}"


def is_ours(create: dict[str, Any]) -> bool:
    return "_" in create["custom_ids"][0]


def sent_rows(create: dict[str, Any]) -> list[int]:
    return [int(one.partition("_")[0]) for one in create["custom_ids"]]


def rows_of(part: MessageBatch) -> list[int]:
    return list(Request.objects.of(part.pk).order_by("pk").values_list("row", flat=True))


def names_row(line: bytes, custom_id: str) -> bool:
    return bool(msgspec.json.decode(line)["custom_id"] == custom_id) if line else False


def count_tokens(content: bytes) -> tuple[int, int]:
    used = [0, 0]
    for line in content.splitlines():
        usage = msgspec.json.decode(line)["result"].get("message", {}).get("usage", {})
        used[0] += usage.get("input_tokens", 0)
        used[1] += usage.get("output_tokens", 0)
    return used[0], used[1]
