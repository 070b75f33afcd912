from typing import Any

from allauth.account.forms import LoginForm
from django import forms
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from workspaces.keys import KeyMalformed, clean_key
from workspaces.models import Membership
from workspaces.retention import LONGEST

DEMO = "demo"


def shows_demo() -> bool:
    """Under `make run`, when the user that its first start makes is there."""
    return settings.DEMO and get_user_model().objects.filter(username=DEMO).exists()


class SignInForm(LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        login, password = self.fields["login"], self.fields["password"]
        login.label = "Username or e-mail"
        login.widget.attrs.update(autofocus=True, autocomplete="username")
        password.help_text = ""
        self.demo = shows_demo()
        if self.demo:
            login.initial = DEMO
            password.initial, password.widget.render_value = DEMO, True


class GeneralForm(forms.Form):
    name = forms.CharField(label="Name", max_length=100)
    days = forms.IntegerField(
        label="Keep results for",
        required=False,
        min_value=1,
        max_value=LONGEST,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"Write a whole number of days, 1 to {LONGEST:,}, or nothing.",
        ),
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "size": 6}),
    )


class KeyForm(forms.Form):
    """A key is taken and never given back: the field is always empty."""

    key = forms.CharField(
        label="API key",
        max_length=1_000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_key(self) -> str:
        try:
            return clean_key(self.cleaned_data["key"])
        except KeyMalformed as error:
            raise ValidationError(str(error)) from None


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Membership.Role.choices, widget=forms.RadioSelect)
