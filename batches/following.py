"""Work on one Batch, and no other, until it has ended or a person must decide."""

import sys
import threading
from collections.abc import Callable

from tqdm import tqdm

from batches.asking import Question, questions
from batches.models import Batch
from batches.worker import on_duty, turn
from workspaces.models import Event

REST = 0.2


class Story:
    """Says what happens to a Batch: its events as lines, and on a terminal a bar of its parts."""

    def __init__(self, batch: Batch, say: Callable[[str], None]) -> None:
        self.say = say
        self.events = Event.objects.filter(
            workspace_id=batch.workspace_id, subject=f"batch:{batch.pk}"
        ).order_by("pk")
        self.last = getattr(self.events.last(), "pk", 0)
        self.bar = tqdm(unit="part", disable=not sys.stderr.isatty(), dynamic_ncols=True)

    def go_on(self, batch: Batch) -> None:
        for event in self.events.filter(pk__gt=self.last):
            self.last = event.pk
            with tqdm.external_write_mode(sys.stderr):
                self.say(event.sentence)
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
