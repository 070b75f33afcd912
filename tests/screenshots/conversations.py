"""Conversations in every state that a turn can end in, and one that is being written."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import Page

from claude_api import Event
from leases.models import owner_name
from streaming import asking
from streaming.models import Conversation, Frame, Turn
from streaming.windows import encode_frame
from tests.screenshots.making import CHINESE, MODEL, UNBROKEN, House, ago
from tests.screenshots.state import State
from workspaces.models import Workspace

MARKDOWN = (
    "## Rivers\n\nThe **Danube** runs through ten countries:\n\n- Germany\n- *Hungary*\n\n"
    "| river | km |\n|---|---|\n| Danube | 2,850 |\n| Rhine | 1,233 |\n\n"
    "```python\nprint('x' * 100)\n```\n\n> A quotation.\n\nSee [the list](https://example.org). "
    + "A longer paragraph shows how it reads at full measure. "
    * 6
)
TOOLS = [{"name": "get_weather", "input_schema": {"type": "object"}}]
THINKING = {"type": "thinking", "thinking": "Two cities, so two calls.", "signature": "s"}
PARAMETERS = {"model": MODEL, "max_tokens": 300}
WEATHER = [
    THINKING,
    {"type": "text", "text": "I look it up for both."},
    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
    {"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {"city": "Bergen"}},
]
SEARCH = [
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "rivers"}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
]
REFUSED = {
    "invalid_request_error": "400 invalid_request_error: messages.0.content: the text is empty",
    "authentication_error": "401 authentication_error: invalid x-api-key",
    "not_found_error": "404 not_found_error: model: claude-haiku-9",
    "overloaded_error": "529 overloaded_error: Overloaded",
}


def of_conversations(house: House, team: Workspace) -> list[State]:
    """A workspace of its own is there for what is empty."""
    empty = house.workspace("quiet", "Quiet team", api="claude")
    mei = house.people["mei"]
    whole = begin(team, house, "Rivers of Europe")
    answered(whole, "Tell me of rivers.", requested_by=mei, replaced_at=ago(3))
    answered(whole, "Tell me of the rivers of Europe.", requested_by=mei)
    answered(whole, CHINESE * 20, text="長江是中國最長的河流。" * 40, requested_by=mei)
    tool = begin(team, house, "What is the weather in Oslo and in Bergen?")
    parameters = {**PARAMETERS, "tools": TOOLS}
    answered(tool, "What is it?", content=WEATHER, stop_reason="tool_use", parameters=parameters)
    broken = begin(team, house, CHINESE, origin=f"/w/{team.slug}/batches/41/recipe/?row=1207")
    reason = "Interrupted after 1,204 characters: the connection to Claude broke."
    answered(broken, "Go.", state="interrupted", stop_reason="", reason=reason, cost=None)
    return [
        State("conversations-empty", f"/w/{empty.slug}/conversations/", main=True),
        State("conversations", f"/w/{team.slug}/conversations/", main=True),
        State("conversation-new", f"/w/{team.slug}/conversations/new/", main=True),
        State("conversation-settings", f"/w/{team.slug}/conversations/new/", do=send_wrong),
        State("conversation", place(whole), main=True),
        State("conversation-viewer", place(whole), who="vera", main=True),
        State("conversation-tool", place(tool), do=open_thinking, main=True),
        State("conversation-interrupted", place(broken), main=True),
        State("conversation-failed", place(failed(team, house)), main=True),
        State("conversation-writing", place(writing(team, house)), do=open_thinking, main=True),
    ]


def begin(team: Workspace, house: House, title: str, **options: Any) -> Conversation:
    return asking.begin(team, title, ago(12), actor=house.people["mei"], **options)


def place(conversation: Conversation) -> str:
    return f"/w/{conversation.workspace.slug}/conversations/{conversation.pk}/"


def answered(conversation: Conversation, prompt: str, text: str = MARKDOWN, **fields: Any) -> Turn:
    number = conversation.turns.count() + 1
    content = fields.pop("content", [{"type": "text", "text": text}])
    given: dict[str, Any] = {
        "number": number,
        "token": f"{number}",
        "prompt": [{"role": "user", "content": prompt}],
        "parameters": PARAMETERS,
        "state": "done",
        "stop_reason": "end_turn",
        "answer": {"model": MODEL, "content": content},
        "usage": {"input_tokens": 412, "output_tokens": 214},
        "cost": "0.00148200",
        "asked_at": ago(12),
        "first_token_at": ago(12) + timedelta(seconds=0.8),
        "ended_at": ago(12) + timedelta(seconds=4.2),
    }
    return Turn.objects.create(conversation=conversation, **(given | fields))


def failed(team: Workspace, house: House) -> Conversation:
    conversation = begin(team, house, UNBROKEN)
    for kind, said in REFUSED.items():
        known = {"error_type": kind, "reason": f"The API answers {said} (request req_01)."}
        known |= {"content": [], "stop_reason": "", "usage": {}, "cost": None}
        answered(conversation, UNBROKEN, state="failed", **known)
    answered(conversation, "And?", content=[], stop_reason="refusal")
    answered(conversation, "Go on.", state="stopped", stop_reason="")
    answered(conversation, "Search.", content=SEARCH, stop_reason="pause_turn")
    answered(conversation, "A story.", stop_reason="max_tokens")
    return conversation


def writing(team: Workspace, house: House) -> Conversation:
    """A turn in the middle of its answer, for as long as one looks."""
    conversation = begin(team, house, "Is being written")
    turn = answered(conversation, "Tell me of rivers.", content=[], state="streaming", cost=None)
    lease = {"owner": owner_name(), "lease_until": timezone.now() + timedelta(days=1)}
    Turn.objects.filter(pk=turn.pk).update(**lease, answer={}, ended_at=None, asked_at=ago(0.2))
    events = [{"type": "message_start", "message": {"content": [], "usage": {}}}]
    for number, (kind, text) in enumerate((("thinking", "Which rivers?"), ("text", MARKDOWN))):
        block, delta = {"type": kind, kind: ""}, {"type": f"{kind}_delta", kind: text}
        events.append({"type": "content_block_start", "index": number, "content_block": block})
        events.append({"type": "content_block_delta", "index": number, "delta": delta})
    payload = encode_frame(1, 0, 5_000, [Event(str(one["type"]), one) for one in events])
    Frame.objects.create(turn=turn, seq=1, payload=payload)
    return conversation


def open_thinking(page: Page) -> None:
    page.locator("details.thinking summary").first.click()


def send_wrong(page: Page) -> None:
    page.locator("#id_prompt").fill("Name three rivers.")
    page.locator("#id_max_tokens").evaluate("field => { field.value = 'many'; }")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Enter a whole number").first.wait_for()
