"""One answer, on stdout as it is written; the conversation is kept and shown in the browser."""

import asyncio
import json
import secrets
import signal
import sys
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management.base import BaseCommand, CommandError, CommandParser

from leases.clock import database_now
from streaming import asking, relay
from streaming.models import Turn
from streaming.storing import forget_frames
from workspaces.arguments import count, text_or_file
from workspaces.lookup import choose_workspace, ensure_key

WHOLE, NOT_WHOLE, REFUSED, INTERRUPTED = 0, 1, 2, 130


class Command(BaseCommand):
    help = "Ask one thing and print the answer as it arrives."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", required=True, help="the model's id")
        parser.add_argument(
            "--prompt", type=text_or_file, required=True, metavar="TEXT|@FILE", help="what to ask"
        )
        parser.add_argument("--system", type=text_or_file, default="", metavar="TEXT|@FILE")
        parser.add_argument("--max-tokens", type=count, default=1024, metavar="N")
        parser.add_argument("--workspace", default="", metavar="SLUG")
        parser.add_argument(
            "--events", action="store_true", help="a line of JSON per event instead of the text"
        )

    def handle(self, **options: Any) -> None:
        self.events = options["events"]
        if not options["prompt"].strip():
            raise CommandError("The prompt is empty.", returncode=REFUSED)
        turn = self.ask(options)
        sys.exit(asyncio.run(self.write(turn)))

    def say(self, line: str) -> None:
        self.stderr.write(line, style_func=str)

    def ask(self, options: dict[str, Any]) -> Turn:
        workspace = choose_workspace(options["workspace"])
        ensure_key(workspace, self.say)
        at = database_now()
        parameters = {"model": options["model"], "max_tokens": options["max_tokens"]}
        if options["system"].strip():
            parameters["system"] = options["system"]
        prompt = [{"role": "user", "content": options["prompt"]}]
        conversation = asking.begin(workspace, options["prompt"], at, actor=None)
        turn, _ = asking.ask(conversation, prompt, parameters, at, token=secrets.token_hex(16))
        return turn

    async def write(self, turn: Turn) -> int:
        writing = await self.begin(turn)
        viewer = writing.join()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, writing.stop)
        ended = False
        while not (ended or viewer.behind):
            for frame in await viewer.take():
                ended = frame.is_end
                self.show(json.loads(frame.payload).get("events", []))
        await turn.arefresh_from_db()
        await sync_to_async(forget_frames)(turn.pk)
        return self.conclude(turn)

    async def begin(self, turn: Turn) -> relay.Relay:
        key = await sync_to_async(asking.usable_key)(turn.conversation.workspace)
        request = await sync_to_async(asking.request_of)(turn)
        return relay.start(turn, request, lambda: asking.client_of(key))

    def show(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["type"] == "sluice_wait":
                self.say(f"{event['reason']} Trying again in {event['seconds']:g} s.")
            elif self.events:
                self.stdout.write(json.dumps(event, ensure_ascii=False))
            elif event["type"] == "content_block_delta":
                self.stdout.write(event["delta"].get("text", ""), ending="")
        self.stdout.flush()

    def conclude(self, turn: Turn) -> int:
        """Say how it ended; the last line is what was used."""
        if not self.events:
            self.stdout.write("")
        self.stdout.flush()
        if turn.state == Turn.State.STOPPED:
            self.say("Stopped. What came so far is kept.")
        elif turn.reason:
            self.say(turn.reason)
        elif turn.stop_reason != "end_turn":
            self.say(f"The answer ended with {turn.stop_reason}.")
        usage = turn.usage
        self.say(
            f"{usage.get('input_tokens', 0):,} tokens in, {usage.get('output_tokens', 0):,} out. "
            f"Conversation {turn.conversation_id}."
        )
        if turn.state == Turn.State.STOPPED:
            return INTERRUPTED
        return WHOLE if turn.state == Turn.State.DONE else NOT_WHOLE
