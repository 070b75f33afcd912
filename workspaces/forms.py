from typing import Any

from allauth.account.forms import LoginForm
from django.conf import settings
from django.contrib.auth import get_user_model

DEMO = "demo"


def shows_demo() -> bool:
    """In development, when the user that the first start makes is there."""
    return settings.DEBUG and get_user_model().objects.filter(username=DEMO).exists()


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
