"""Mistakes that a client of this API can make, each planted into a worker to try the checker.

A checker that overlooks one of them would overlook it in the program, too.
"""

import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

from batches import collecting, proof, reconciling, submitting
from batches.indexing import count_index
from batches.models import MessageBatch
from claude_api import Client, OutcomeUnknown
from leases.clock import database_now
from leases.models import Lease, LeaseQuerySet
from leases.renewing import Renewal

State = MessageBatch.State
BUGS: dict[str, Callable[[], None]] = {}


def bug(plant: Callable[[], None]) -> Callable[[], None]:
    BUGS[plant.__name__.replace("_", " ")] = plant
    return plant


def plant(name: str) -> None:
    if name:
        BUGS[name]()


@bug
def create_is_retried() -> None:
    create = Client.create_batch

    def create_batch(self: Client, body: Any, length: int, *rest: Any) -> Any:
        chunks = list(body)
        try:
            return create(self, chunks, length, *rest)
        except OutcomeUnknown:
            return create(self, chunks, length, *rest)

    Client.create_batch = create_batch  # type: ignore[method-assign]


@bug
def unknown_is_sent_again() -> None:
    submitting.become_unknown = send_again
    reconciling.become_unknown = send_again


def send_again(part: MessageBatch, at: Any, error: Any = None) -> None:
    part.release_as(State.QUEUED, at, reason="Again.")


@bug
def overloaded_means_not_created() -> None:
    settle = submitting.settle_failure

    def settle_failure(part: MessageBatch, key: Any, error: Any) -> None:
        if getattr(error, "status", 0) == 529:
            submitting.requeue(part, key, error, database_now())
        else:
            settle(part, key, error)

    submitting.settle_failure = settle_failure


@bug
def intent_comes_after_the_wire() -> None:
    def post(part: MessageBatch, key: Any, client: Client, renewal: Renewal) -> None:
        path = submitting.requests_path(part)
        body = submitting.requests_body(path, renewal)
        try:
            remote, request_id = client.create_batch(body, submitting.body_length(path))
        except OutcomeUnknown:
            part.release(database_now())
            return
        intend(part, key, "")
        created = submitting.Created(part.nonce, remote, request_id)
        submitting.write_created(part, created)
        submitting.save_created(part, created)

    intend = submitting.intend
    submitting.intend = lambda part, key, head: True
    submitting.post = post


@bug
def fences_are_ignored() -> None:
    def mine(self: Lease) -> LeaseQuerySet:
        return type(self)._default_manager.filter(pk=self.pk)

    def renew(self: Lease, at: Any) -> bool:
        return bool(self.mine().update(owner=self.owner))

    Lease.mine = mine  # type: ignore[method-assign]
    Lease.renew = renew  # type: ignore[method-assign]


@bug
def the_lease_is_not_checked() -> None:
    Renewal.check = lambda self: None  # type: ignore[method-assign]


@bug
def redirects_are_followed() -> None:
    start = httpx.Client.__init__

    def follow(self: httpx.Client, **options: Any) -> None:
        start(self, **(options | {"follow_redirects": True}))

    httpx.Client.__init__ = follow  # type: ignore[method-assign]
    # Only what can be read again can be sent to a second place.
    build = httpx.Client.build_request

    def build_request(self: httpx.Client, *given: Any, **options: Any) -> httpx.Request:
        if options.get("content") is not None and not isinstance(options["content"], bytes):
            options["content"] = b"".join(options["content"])
        return build(self, *given, **options)

    httpx.Client.build_request = build_request  # type: ignore[method-assign]


@bug
def there_is_no_journal() -> None:
    submitting.write_created = lambda part, created: None


@bug
def the_journal_comes_after_the_database() -> None:
    write, save = submitting.write_created, submitting.save_created
    submitting.write_created = lambda part, created: None

    def save_created(part: MessageBatch, created: Any) -> bool:
        saved = save(part, created)
        write(part, created)
        return saved

    submitting.save_created = save_created


@bug
def the_nonce_is_not_checked() -> None:
    def is_ours(part: Any, remote: Any, client: Any) -> bool | None:
        return True if remote.processing_status == "ended" else None

    reconciling.is_ours = is_ours


@bug
def somebody_is_asked_too_soon() -> None:
    reconciling.LEAST_LISTINGS = 1
    reconciling.timedelta = lambda **span: timedelta()  # type: ignore[assignment,misc]


@bug
def answers_are_not_counted() -> None:
    proof.Proof.objections = lambda self: []  # type: ignore[method-assign]

    def store(part: MessageBatch, proof: Any, renewal: Renewal, at: Any) -> None:
        totals = collecting.write_index(part, proof, renewal) | count_index(part)
        part.release_as(State.STORED, None, event="Stored.", at=at, stored_at=at, **totals)

    collecting.store = store


@bug
def types_are_not_counted() -> None:
    proof.Proof.disagreements = lambda self: []  # type: ignore[method-assign]


@bug
def the_key_is_logged() -> None:
    create = Client.create_batch

    def create_batch(self: Client, *given: Any) -> Any:
        # Loggers hide what looks like a key.
        sys.stderr.write(f"creating with {self._key}\n")
        return create(self, *given)

    Client.create_batch = create_batch  # type: ignore[method-assign]


@bug
def foreign_answers_are_taken() -> None:
    def row_of(self: proof.Proof, custom_id: str) -> int | None:
        digits, _, nonce = custom_id.partition("_")
        if nonce == self.nonce:
            return int(digits)
        return next((row for row in self.rows if row not in self.places), None)

    proof.Proof.row_of = row_of  # type: ignore[method-assign]


@bug
def the_first_answers_count() -> None:
    """Whatever later downloads say."""
    take = proof.Proof.take

    def take_all(self: proof.Proof, line: Any) -> bool:
        taken = take(self, line)
        self.changed.clear()
        return taken

    proof.Proof.take = take_all  # type: ignore[method-assign]
    proof.Proof.disagreements = lambda self: []  # type: ignore[method-assign]


@bug
def a_cancelled_part_is_given_up() -> None:
    """Its paid answers are not fetched."""
    collect = collecting.collect

    def give_up(part: MessageBatch, renewal: Renewal, at: Any) -> None:
        if part.cancel_requested_at:
            part.release_as(State.LOST, None, reason="Canceled.", answers=Counter())
        else:
            collect(part, renewal, at)

    collecting.collect = give_up
