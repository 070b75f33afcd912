"""Work on one Batch, and no other, until it has ended or a person must decide."""

import sys
import threading
from collections.abc import Callable

from tqdm import tqdm

from batches.asking import Question, questions
from batches.models import Batch, MessageBatch
from batches.worker import on_duty, turn
from workspaces.models import Event

REST = 0.2
# Parts and the clock are what is known; a percentage or a time to go would be made up.
BAR = "{n_fmt} of {total_fmt} parts ended |{bar:40}| {elapsed}{postfix}"


class Story:
    """Says what happens to a Batch: its events as lines, and on a terminal a bar of its parts."""

    def __init__(self, batch: Batch, say: Callable[[str], None]) -> None:
        self.say = say
        self.events = Event.objects.filter(
            workspace_id=batch.workspace_id, subject=f"batch:{batch.pk}"
        ).order_by("pk")
        self.last = getattr(self.events.last(), "pk", 0)
        self.told: set[str] = set()
        self.bar = tqdm(
            bar_format=BAR, disable=not sys.stderr.isatty(), dynamic_ncols=True, leave=False
        )

    def go_on(self, batch: Batch) -> None:
        news = list(self.events.filter(pk__gt=self.last))
        for event in news:
            self.last = event.pk
            self.tell(event.sentence)
        if not news:
            self.tell_what_holds_up(batch)
        self.draw(batch)

    def tell(self, sentence: str) -> None:
        with tqdm.external_write_mode(sys.stderr):
            self.say(sentence)

    def tell_what_holds_up(self, batch: Batch) -> None:
        """Why parts wait, said once: the API is not reached, say."""
        held_up = batch.message_batches.filter(
            state__in=[MessageBatch.State.QUEUED, MessageBatch.State.SUBMITTED]
        ).exclude(reason="")
        for number, reason in held_up.order_by("part").values_list("part", "reason"):
            if reason not in self.told:
                self.told.add(reason)
                self.tell(f"Part {number}: {reason}")

    def draw(self, batch: Batch) -> None:
        self.bar.total = batch.parts
        self.bar.n = batch.parts_ended
        self.bar.set_postfix_str(f"{batch.answered:,} of {batch.sent:,} answered", refresh=False)
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()


def follow(batch: Batch, stop: threading.Event, say: Callable[[str], None]) -> list[Question]:
    """Take turns for `batch` until it has ended, `stop` is set, or somebody is asked.

    What is asked comes back; an empty list where nothing is.
    """
    story = Story(batch, say)
    try:
        with on_duty():
            while not stop.is_set():
                worked = turn(only=batch, stop=stop)
                batch.refresh_from_db()
                story.go_on(batch)
                if batch.final:
                    return []
                if asked := list(questions(batch)):
                    return asked
                if not worked:
                    stop.wait(REST)
    finally:
        story.close()
    return []
