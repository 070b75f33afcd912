"""The programs of the Procfile as one: they start together, and end together."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import honcho.manager
from honcho.environ import parse_procfile
from honcho.printer import Message
from honcho.process import Process

# What a worker gets to finish its step in, in seconds; honcho's own is too short for an upload.
honcho.manager.KILL_WAIT = 30


class Logs:
    """Where honcho prints: one file for each program, begun anew at each start."""

    width = 0

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: dict[str, BinaryIO] = {}
        directory.mkdir(exist_ok=True)

    def path(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def write(self, message: Message) -> None:
        file = self._files.get(message.name)
        if file is None:
            file = self._files[message.name] = self.path(message.name).open("wb", buffering=0)
        data = message.data
        file.write(data if isinstance(data, bytes) else data.encode())

    def hold(self, name: str, text: str) -> bool:
        return self.path(name).exists() and text in self.path(name).read_text(errors="replace")

    def last_lines(self, name: str, count: int = 10) -> list[str]:
        if not self.path(name).exists():
            return []
        return self.path(name).read_text(errors="replace").splitlines()[-count:]

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class Child(Process):
    """Stands between us and a program: it ends when we are gone, and the program when it is."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        # Handlers, not SIG_IGN, which the program would inherit.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: None)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        self.env: dict[str, str] = {**self.env, "SLUICE_PARENT": str(os.getpid())}
        super().run(events, ignore_signals)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Programs(honcho.manager.Manager):
    """`loop()` runs them until a signal comes or one of them ends; `ended` says which one did."""

    def __init__(self, procfile: Path, environment: dict[str, str], logs: Logs) -> None:
        super().__init__(logs)
        self._process_ctor = Child
        self.logs = logs
        self.ended: tuple[str, int] | None = None
        self.stopping = False
        for name, command in parse_procfile(procfile.read_text()).processes.items():
            self.add_process(name, command, env=environment, cwd=str(procfile.parent))

    def loop(self) -> None:
        """Run until all have ended; also where a signal cannot be answered on a closed terminal."""
        try:
            super().loop()
        finally:
            # Whoever waits for this process, children included, must not wait for them in vain.
            if self._all_started():
                super().terminate()

    @property
    def workers(self) -> list[str]:
        return [name for name in self._processes if name.startswith("worker")]

    def wait_until_started(self) -> None:
        """To be called once, beside the loop: honcho cannot end what it has no pid of yet."""
        while not self._all_started():
            time.sleep(0.05)
        if self.stopping:
            super().terminate()

    def terminate(self) -> None:
        if not self.stopping:
            self.ended, self.stopping = self._first_ended(), True
            if self.ended is None:
                # On a closed terminal nobody reads it, and they are stopped all the same.
                with contextlib.suppress(BrokenPipeError):
                    print("Stopping. A worker finishes its step first.", flush=True)
        if self._all_started():
            super().terminate()

    def _first_ended(self) -> tuple[str, int] | None:
        for name, process in self._processes.items():
            if "returncode" in process:
                return name, process["returncode"]
        return None
