from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

MISMATCH = "That username and password do not match."


class AccountAdapter(DefaultAccountAdapter):
    """Sign-in as allauth does it, for people whom an owner or an operator has let in."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "account_inactive": "This account is closed.",
        "email_password_mismatch": MISMATCH,
        "username_password_mismatch": MISMATCH,
        "too_many_login_attempts": "Too many tries. Wait 5 minutes.",
        "rate_limited": "Too many tries. Wait 5 minutes.",
        "incorrect_code": "That code is wrong or was used already.",
        "incorrect_password": "That is not your password.",
        "enter_current_password": "That is not your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
