from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from streaming.views.conversation import page_context, read_seen, url_of
from streaming.views.finding import find_turn


@require_safe
def turn(request: HttpRequest, slug: str, conversation: int, turn: int) -> HttpResponse:
    """One turn as its page shows it now; without scripts the way to that page."""
    found = find_turn(request, slug, conversation, turn)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{url_of(found.conversation)}#turn-{found.pk}")
    context = page_context(found.conversation)
    shown = next((one for one in context["turns"] if one.pk == found.pk), None)
    if shown is None:
        return HttpResponse(status=204)
    # Of the other turns the page knows as much as before.
    prefix = f"{found.pk}-"
    seen = [shown.mark if mark.startswith(prefix) else mark for mark in read_seen(request)]
    context |= {"shown": shown, "seen": ",".join(seen)}
    return render(request, "streaming/turn_changed.html", context)
