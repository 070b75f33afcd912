from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from streaming.asking import TITLE_LENGTH
from streaming.models import Conversation
from streaming.views.conversation import url_of
from streaming.views.finding import MEMBER, find_conversation


@require_http_methods(["GET", "HEAD", "POST"])
def rename(request: HttpRequest, slug: str, conversation: int) -> HttpResponse:
    found = find_conversation(request, slug, conversation, MEMBER)
    if request.method != "POST":
        return draw(request, found, found.title)
    title = " ".join(request.POST.get("title", "").replace("\0", "").split())
    problem = why_not(title)
    if problem:
        return draw(request, found, title, problem)
    Conversation.objects.filter(pk=found.pk).update(title=title)
    return redirect(url_of(found))


def why_not(title: str) -> str:
    if not title:
        return "Write a title."
    if len(title) > TITLE_LENGTH:
        return f"A title has at most {TITLE_LENGTH} characters, this one has {len(title):,}."
    return ""


def draw(
    request: HttpRequest, conversation: Conversation, title: str, problem: str = ""
) -> HttpResponse:
    context = {
        "workspace": conversation.workspace,
        "conversation": conversation,
        "title": title,
        "longest": TITLE_LENGTH,
        "problem": problem,
        "form": "streaming/rename_form.html",
    }
    page = "rename_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"streaming/{page}.html", context, status=422 if problem else 200)
