"""A person at a shell: runs commands, reads what they say, and looks at the API, not at our rows.

What the sandbox's ledger holds is the truth about what was sent.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.processes import ROOT

QUESTION = re.compile(r"rows ([\d,]+) to ([\d,]+)\).*\n.*resolve_part (\d+) adopt", re.MULTILINE)


class Operator:
    def __init__(self, url: str, key: str, directory: Path) -> None:
        self.url = url
        self.key = key
        self.directory = directory
        self.environment = {
            **os.environ,
            "CLAUDE_API_URL": url,
            "ANTHROPIC_API_KEY": key,
            "SLUICE_SETTLE_SECONDS": "1",
            "SLUICE_LISTING_SECONDS": "0.2",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        process = self.start(*command)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{command} hangs:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def run_and_kill(self, creates: int, *command: str) -> str:
        """Run until the API has seen so many creates, then SIGKILL; what it said until then."""
        process = self.start(*command)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(self.creates()) < creates:
            assert time.monotonic() < deadline, "nothing is sent"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        return process.communicate()[1]

    def settings(self, **changes: float) -> None:
        self._call("POST", "/_sandbox/settings", json.dumps(changes).encode())

    def creates(self, *, ids: bool = False) -> list[dict[str, object]]:
        query = "" if ids else "?custom_ids=0"
        return self._call("GET", f"/_sandbox/ledger{query}")["creates"]

    def create(self, custom_ids: list[str]) -> str:
        """Create a batch behind the product's back; its id."""
        params = {"model": "claude-x", "max_tokens": 9}
        params["messages"] = [{"role": "user", "content": "Hi"}]
        requests = [{"custom_id": custom_id, "params": params} for custom_id in custom_ids]
        body = json.dumps({"requests": requests}).encode()
        return self._call("POST", "/v1/messages/batches", body)["id"]

    def times_sent(self) -> Counter[int]:
        """How often each row reached the API."""
        return Counter(
            int(custom_id.partition("_")[0])
            for create in self.creates(ids=True)
            for custom_id in create["custom_ids"]
        )

    def _call(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"x-api-key": self.key, "anthropic-version": "2026-10-21"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def answer(self, said: str) -> int:
        """Answer every question of a run_batch that ended with 3, from the ledger alone."""
        asked = QUESTION.findall(said)
        for first, last, part in asked:
            rows = range(int(first.replace(",", "")), int(last.replace(",", "")) + 1)
            found = [
                create["id"]
                for create in self.creates(ids=True)
                if int(create["custom_ids"][0].partition("_")[0]) in rows
            ]
            if found:
                done = self.run("resolve_part", part, "adopt", found[-1])
            else:
                # From the ledger: nothing of these rows was created.
                done = self.run(
                    "resolve_part", part, "send-again", "--confirm", self.size(said, part)
                )
            assert done.returncode == 0, done.stderr
        return len(asked)

    @staticmethod
    def size(said: str, part: str) -> str:
        found = re.search(rf"resolve_part {part} send-again --confirm (\d+)", said)
        assert found, said
        return found[1]

    def finish(self, *command: str, rounds: int = 10) -> subprocess.CompletedProcess[str]:
        """Go on until the batch has ended, answering what is asked."""
        for _ in range(rounds):
            done = self.run(*command)
            if done.returncode != 3:
                return done
            assert self.answer(done.stderr), done.stderr
        raise AssertionError(f"still asking after {rounds} rounds:\n{done.stderr}")


def write_table(path: Path, rows: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["id", "text"])
        writer.writerows([f"r{number}", f'“{number}”; 好 "quoted"'] for number in range(rows))


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
