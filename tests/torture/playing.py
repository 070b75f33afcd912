"""Worlds side by side, each in a process of its own, which is gone when the run is."""

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tests.torture import naive
from tests.torture.checker import check
from tests.torture.elsewhere import Elsewhere
from tests.torture.plans import NAIVE, Play
from tests.torture.scenes import SCENES
from tests.torture.worker import fork
from tests.torture.world import Databases, World


class Outcome(msgspec.Struct):
    """What came of a world; `violations` are in the checker's words."""

    violations: list[str]
    reached: dict[str, int] = msgspec.field(default_factory=dict)
    kills: int = 0
    asked: int = 0
    seconds: float = 0


class Players:
    def __init__(self, directory: Path, url: str, side_by_side: int) -> None:
        self.directory, self.url, self.side_by_side = directory, url, side_by_side
        self.databases = Databases(directory)
        self.elsewhere = Elsewhere(directory)
        self.worlds = 0
        self.playing: dict[int, tuple[Play, Path, float]] = {}

    def play(self, plays: Iterable[Play]) -> Iterator[tuple[Play, Outcome]]:
        """So many at once; what ends first comes first."""
        waiting, playing = deque(plays), self.playing
        while waiting or playing:
            while waiting and len(playing) < self.side_by_side:
                play, began = waiting.popleft(), time.monotonic()
                self.worlds += 1
                place = self.directory / f"world-{self.worlds}"
                place.mkdir()
                pid = fork(lambda play=play, place=place: self.perform(play, place), place / "said")
                playing[pid] = (play, place, began)
            ended = next((pid for pid in playing if os.waitpid(pid, os.WNOHANG)[0]), 0)
            if not ended:
                time.sleep(0.02)
                continue
            play, place, began = playing.pop(ended)
            outcome = read_outcome(place)
            outcome.seconds = time.monotonic() - began
            yield play, outcome

    def perform(self, play: Play, place: Path) -> None:
        """In the process of the world."""
        if play.scene == NAIVE:
            outcome = Outcome(naive.run(self.url, place, play.seed, play.times))
        else:
            outcome = self.try_world(play, place)
        (place / "outcome").write_bytes(msgspec.json.encode(outcome))

    def try_world(self, play: Play, place: Path) -> Outcome:
        self.databases.begin(place)
        with World(self.databases, place, self.url, play.seed, play.bug) as world:
            world.elsewhere = self.elsewhere
            SCENES[play.scene](world, play.times)
            found = check(world)
            return Outcome(found, world.reached, world.kills, world.asked)

    def end(self) -> None:
        for pid in self.playing:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if self.playing:
            # Their workers die with them, and what those write to is removed next.
            time.sleep(0.2)
        self.elsewhere.end()
        self.databases.drop(self.databases.template)


def read_outcome(place: Path) -> Outcome:
    path = place / "outcome"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Outcome)
    return Outcome([f"the world broke: {(place / 'said').read_text()[-3000:]}"])
