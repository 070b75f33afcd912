"""What a person types to ask something: the prompt, and the settings of the request."""

import secrets
from collections.abc import Callable
from typing import Any

from django import forms

from streaming.json_fields import Unreadable, read_json
from streaming.offers import EFFORTS, THINKING, Offers
from streaming.parameters import NOT_HERE, to_fields, to_parameters

OTHER = "other"  # in the list of models: the one that is typed beside it
MOST = 10**9
LEAST_BUDGET = 1024
DEFAULTS = {"max_tokens": 4096}
OWN = ("model", "max_tokens", "system", "thinking", "tools")
CODE = {"class": "code", "spellcheck": "false", "rows": 4}


def json_field(kind: type, label: str, example: str, hint: str) -> forms.Field:
    """A field of JSON that may be left empty."""

    def read(text: str) -> Any:
        try:
            return read_json(text, kind, example) if text.strip() else None
        except Unreadable as error:
            raise forms.ValidationError(str(error)) from None

    return JsonField(read, label=label, help_text=hint)


class JsonField(forms.CharField):
    def __init__(self, read: Callable[[str], Any], **options: Any) -> None:
        super().__init__(required=False, strip=False, widget=forms.Textarea(CODE), **options)
        self.read = read

    def clean(self, value: Any) -> Any:
        return self.read(super().clean(value))


class SettingsForm(forms.Form):
    """The panel beside a conversation. Its fields belong to the form of the composer."""

    model = forms.CharField(max_length=200, required=False)
    other_model = forms.CharField(max_length=200, required=False)
    max_tokens = forms.IntegerField(min_value=1, max_value=MOST, label="Max tokens")
    thinking = forms.ChoiceField(
        choices=[("", "Model's default"), *THINKING.items()], required=False
    )
    budget = forms.IntegerField(min_value=LEAST_BUDGET, max_value=MOST, required=False)
    effort = forms.ChoiceField(
        choices=[("", "Model's default"), *((name, name) for name in EFFORTS)],
        required=False,
    )
    system = forms.CharField(
        required=False, strip=False, label="System prompt", widget=forms.Textarea(CODE)
    )
    tools = json_field(
        list,
        "Tools",
        '[{"name": "look_up", "input_schema": {"type": "object"}}]',
        "A JSON list. You answer each call yourself.",
    )
    output_format = json_field(
        dict,
        "Output format",
        '{"type": "object", "properties": {}, "additionalProperties": false}',
        "A JSON schema: the answer is JSON of that form.",
    )
    extra = json_field(
        dict,
        "More parameters",
        '{"stop_sequences": ["."]}',
        "A JSON object, sent as it is: stop_sequences, tool_choice.",
    )

    def __init__(self, *given: Any, offers: Offers, **options: Any) -> None:
        super().__init__(*given, **options)
        self.offers = offers
        for field in self.fields.values():
            field.widget.attrs["form"] = "ask"
        for name in ("max_tokens", "budget"):
            attributes = {"form": "ask", "inputmode": "numeric", "autocomplete": "off"}
            self.fields[name].widget = forms.TextInput(attributes)

    @classmethod
    def of(cls, parameters: dict[str, Any], offers: Offers, **more: Any) -> "SettingsForm":
        """The form as these parameters fill it; a new conversation's where there are none."""
        fields = to_fields(parameters) if parameters else {**DEFAULTS, "model": offers.first}
        return cls(initial={**fields, **more}, offers=offers)

    @property
    def shown_model(self) -> str:
        """The id that was chosen or typed last, for the list and the field beside it."""
        chosen = self["model"].value() or ""
        if chosen == OTHER:
            chosen = self["other_model"].value() or ""
        return str(chosen)

    @property
    def is_listed(self) -> bool:
        return bool(self.offers.id_of(self.shown_model))

    @property
    def model_choices(self) -> list[tuple[str, str, bool]]:
        """(value, label, is it chosen); an alias that was typed stands for its model."""
        chosen = self.shown_model
        listed = self.offers.id_of(chosen)
        return [
            (chosen if id == listed else id, label, id == listed)
            for id, label in self.offers.choices
        ]

    def clean(self) -> dict[str, Any]:
        fields = self.cleaned_data
        if fields.get("model") in ("", OTHER):
            fields["model"] = fields.get("other_model", "")
        model = fields["model"] = fields.get("model", "").strip()
        if not model:
            self.add_error("model", "Choose a model, or type its id.")
        self._check_limits(model, fields)
        self._check_extra(fields.get("extra") or {})
        if not self.errors:
            self.parameters = to_parameters(fields)
        return fields

    def _check_limits(self, model: str, fields: dict[str, Any]) -> None:
        """What is asked of the model that it does not do, as far as that is known."""
        most = self.offers.most_tokens(model)
        thinking, effort = fields.get("thinking"), fields.get("effort")
        if most and fields.get("max_tokens", 0) > most:
            self.add_error("max_tokens", f"{model} answers with at most {most:,} tokens.")
        if thinking and not self.offers.takes_thinking(model, thinking):
            self.add_error("thinking", f"{model} does not take this. Choose another.")
        if effort and not self.offers.takes_effort(model, effort):
            self.add_error("effort", f"{model} does not take this effort. Choose another.")
        if thinking == "enabled" and "budget" not in self.errors:
            budget = fields.get("budget")
            if budget is None:
                self.add_error("budget", "Write how many tokens it may think.")
            elif budget >= fields.get("max_tokens", MOST):
                self.add_error("budget", "The budget has to be below max tokens.")

    def _check_extra(self, extra: dict[str, Any]) -> None:
        for name in extra:
            if name in NOT_HERE:
                self.add_error("extra", f"{name} is set by the conversation itself.")
            elif name in OWN and self.cleaned_data.get(name):
                self.add_error("extra", f"{name} has a field of its own, which is filled, too.")


class AskForm(SettingsForm):
    """The settings and what is asked with them; `token` makes two presses one turn."""

    token = forms.CharField(max_length=64, widget=forms.HiddenInput)
    prompt = forms.CharField(
        strip=False, error_messages={"required": "Write what you want to know."}
    )

    @classmethod
    def fresh(cls, parameters: dict[str, Any], offers: Offers) -> "AskForm":
        form = cls.of(parameters, offers, token=new_token())
        assert isinstance(form, cls)
        return form

    def clean_prompt(self) -> str:
        # A browser sends CR LF where the person pressed Enter.
        text: str = self.cleaned_data["prompt"].replace("\r\n", "\n")
        if not text.strip():
            raise forms.ValidationError("Write what you want to know.")
        return text

    @property
    def problems_of_settings(self) -> list[str]:
        """For the composer: what is wrong in the panel, which may be folded away."""
        return [
            f"{self.fields[name].label or name.capitalize()}: {problem}"
            for name, problems in self.errors.items()
            if name in self.fields and name not in ("prompt", "token")
            for problem in problems
        ]


def new_token() -> str:
    return secrets.token_hex(16)


class AgainForm(forms.Form):
    """One more answer to a prompt: as it was, with another text, or with more room."""

    token = forms.CharField(max_length=64)
    prompt = forms.CharField(strip=False, required=False)
    max_tokens = forms.IntegerField(min_value=1, max_value=MOST, required=False)


class ResultsForm(forms.Form):
    """What the tools of an answer gave, typed by a person; two fields for each call."""

    token = forms.CharField(max_length=64)

    def __init__(self, *given: Any, calls: dict[int, dict[str, Any]], **options: Any) -> None:
        super().__init__(*given, **options)
        self.calls = calls
        for nth in calls:
            self.fields[f"result-{nth}"] = forms.CharField(required=False, strip=False)
            self.fields[f"failed-{nth}"] = forms.BooleanField(required=False)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The results as the API takes them."""
        return [self._block(nth, call) for nth, call in self.calls.items()]

    def _block(self, nth: int, call: dict[str, Any]) -> dict[str, Any]:
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": call.get("id", ""),
            "content": self.cleaned_data[f"result-{nth}"].replace("\r\n", "\n"),
        }
        return {**block, "is_error": True} if self.cleaned_data[f"failed-{nth}"] else block
