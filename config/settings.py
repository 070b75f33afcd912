"""Every setting, each from the environment; nonsense is refused with a sentence."""

import contextlib
import os
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(BASE_DIR / ".env")


def read_text(name: str, default: str = "") -> str:
    return str(env.str(name, default=default)).strip()


def read_bool(name: str, default: bool) -> bool:
    text = read_text(name, str(default)).lower()
    if text not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ImproperlyConfigured(f"{name} is {text!r}: write true or false.")
    return text in ("true", "1", "yes", "on")


def read_seconds(name: str, default: float) -> float:
    text = read_text(name, str(default))
    if not re.fullmatch(r"\d{1,8}(\.\d+)?", text):
        raise ImproperlyConfigured(f"{name} is {text!r}: write a number of seconds, 0 or more.")
    return float(text)


def read_count(name: str, default: int) -> int:
    text = read_text(name, str(default))
    if not re.fullmatch(r"\d{1,3}", text):
        raise ImproperlyConfigured(f"{name} is {text!r}: write a whole number, 0 or more.")
    return int(text)


def read_megabytes(name: str, default: int) -> int:
    """In bytes."""
    text = read_text(name, str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise ImproperlyConfigured(f"{name} is {text!r}: write a whole number of MB, 0 or more.")
    return int(text) * 1_000_000


def read_url(name: str, default: str) -> str:
    """An address that a key may be sent to: https, or plain http on this machine only."""
    text = read_text(name, default).rstrip("/")
    if text and not is_sound_url(text):
        # What stands before an @ may be a password.
        shown = f"…{text[text.rindex('@') :]}" if "@" in text else text
        raise ImproperlyConfigured(
            f"{name} is {shown!r}: write https://HOST, or http:// with a loopback address, "
            "without user, query or fragment."
        )
    return text


def is_sound_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port != 0
    except ValueError:
        return False
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    scheme_is_safe = parts.scheme == "https" or (parts.scheme == "http" and local)
    extra = parts.username or parts.password or parts.query or parts.fragment
    return bool(parts.hostname and port_is_valid and scheme_is_safe and not extra)


def read_email(name: str) -> dict[str, object]:
    """Django's settings of the mail server; nothing is sent where none is named."""
    url = read_text(name)
    try:
        found: dict[str, object] = env.email_url_config(url or "dummymail://")
    except (ImproperlyConfigured, ValueError) as error:
        raise ImproperlyConfigured(
            f"{name} cannot be read: write smtp+tls://USER:PASSWORD@HOST:587."
        ) from error
    return found


def read_or_create(name: str, path: Path, create: Callable[[], str]) -> str:
    """A secret from the environment, else from its file, made once and for its owner only."""
    if given := read_text(name):
        return given
    if not path.exists():
        # Linked when it is whole: of two first starts at once both read the one that was first.
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(create())
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
        unfinished.unlink()
    return path.read_text().strip()


def read_database(default: str) -> dict[str, object]:
    """SQLite and PostgreSQL, each with what keeps many short writers from failing."""
    try:
        database: dict[str, object] = env.db_url("DATABASE_URL", default=default)
    except (ValueError, KeyError) as error:
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read: write sqlite:////PATH or postgres://USER@HOST/NAME."
        ) from error
    engine = str(database.get("ENGINE", ""))
    if engine.endswith("sqlite3"):
        # IMMEDIATE takes the write lock before reading, so that two writers queue instead of
        # failing; FULL keeps the intent to submit through a power loss.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
                "PRAGMA journal_size_limit=67108864;"
            ),
        }
    elif not engine.endswith("postgresql"):
        raise ImproperlyConfigured("DATABASE_URL must name a sqlite or a postgres database.")
    return database


DEBUG = read_bool("DEBUG", False)
DEMO = read_bool("SLUICE_DEMO", False)
DATA_DIR = Path(read_text("SLUICE_DATA_DIR", str(BASE_DIR / "data"))).resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

SECRET_KEY = read_or_create("SECRET_KEY", DATA_DIR / "secret_key", lambda: secrets.token_hex(40))
if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured("SECRET_KEY is too short: write at least 50 random characters.")

ENCRYPTION_KEYS = read_or_create(
    "SLUICE_ENCRYPTION_KEYS", DATA_DIR / "encryption_keys", lambda: Fernet.generate_key().decode()
).split(",")
for number, key in enumerate(ENCRYPTION_KEYS, 1):
    try:
        Fernet(key)
    except ValueError:
        raise ImproperlyConfigured(
            f"SLUICE_ENCRYPTION_KEYS: key {number} is not 32 bytes in URL-safe base64. Make one "
            "with `python -c 'from cryptography.fernet import Fernet as F; "
            "print(F.generate_key().decode())'`; separate several by commas, the newest first."
        ) from None

ALLOWED_HOSTS = [
    host.strip()
    for host in read_text("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
    if host.strip()
]
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS may not hold *: the origin of websockets is checked against it. "
        "Name the hosts that people type."
    )

CLAUDE_API_URL = read_url("CLAUDE_API_URL", "https://api.anthropic.com")
SANDBOX_URL = read_url("SANDBOX_URL", "")
CLAUDE_API_VERSION = read_text("CLAUDE_API_VERSION", "2026-10-21")
if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", CLAUDE_API_VERSION):
    raise ImproperlyConfigured(
        f"CLAUDE_API_VERSION is {CLAUDE_API_VERSION!r}: write a date such as 2026-10-21."
    )
ANTHROPIC_API_KEY = read_text("ANTHROPIC_API_KEY")

SETTLE_SECONDS = read_seconds("SLUICE_SETTLE_SECONDS", 900)
LISTING_SECONDS = read_seconds("SLUICE_LISTING_SECONDS", 60)
FREE_DISK = read_megabytes("SLUICE_FREE_DISK", 1_000)

DATABASES = {"default": read_database(f"sqlite:///{DATA_DIR / 'sluice.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = read_text("REDIS_URL")
if REDIS_URL and urlsplit(REDIS_URL).scheme not in ("redis", "rediss", "unix"):
    # Its text is not repeated: a password may stand in it.
    raise ImproperlyConfigured("REDIS_URL cannot be read: write redis://HOST:PORT/0.")
CHANNEL_LAYERS: dict[str, dict[str, object]] = {
    "default": (
        {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

# The limits on sign-in are counted here: a cache that every web process shares.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
    }
}

INSTALLED_APPS = [
    "config.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    # Before what has a `runserver`, which is ours.
    "serving",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "django_htmx",
    "leases",
    "workspaces",
    "batches",
    "streaming",
]

MIDDLEWARE = [
    # First, so that the redirects and refusals of the others carry the headers, too.
    "serving.headers.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "serving.static.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "serving.sign_in.SignInRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "workspaces.context.frame",
            ]
        },
    }
]

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "workspaces.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_FORMS = {"login": "workspaces.forms.SignInForm"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Sluice"
# People are let in by an owner or an operator, not by their address.
MFA_ALLOW_UNVERIFIED_EMAIL = True
ALLAUTH_TRUSTED_PROXY_COUNT = read_count("ALLAUTH_TRUSTED_PROXY_COUNT", 0)

EMAIL_IS_CONFIGURED = bool(read_text("EMAIL_URL"))
vars().update(read_email("EMAIL_URL"))
DEFAULT_FROM_EMAIL = read_text("DEFAULT_FROM_EMAIL", "sluice@localhost")
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""

HTTPS = read_bool("SLUICE_HTTPS", not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_FAILURE_VIEW = "serving.errors.form_too_old"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REDIRECT_EXEMPT = [r"^health$"]
SECURE_HSTS_INCLUDE_SUBDOMAINS = read_bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = read_bool("SECURE_HSTS_PRELOAD", False)
# Whether the subdomains and the browsers' preload list may be bound is for the owner of the
# domain to say, so neither is on by itself and neither is worth a warning.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
X_FRAME_OPTIONS = "DENY"
# data: is the QR code of a second factor.
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "object-src": ["'none'"],
    "frame-ancestors": ["'none'"],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact_keys": {"()": "serving.redaction.RedactKeys"},
        "without_traceback": {"()": "serving.refusals.WithoutTraceback"},
    },
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["redact_keys"],
            "formatter": "line",
        }
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Django's own handlers would write past the filter.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"filters": ["without_traceback"]},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}

# What the server takes in one request, in bytes: a file in a form, or a piece of a larger one, of
# 8 MB each. Of what a view reads whole, that piece is the largest.
REQUEST_BODY_LIMIT = 16 * 2**20
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "tmp"
FILE_UPLOAD_TEMP_DIR.mkdir(mode=0o700, exist_ok=True)

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Hashed names for `collectstatic` and once it has written their list; until then, and while
# developing or trying it out, the files are served under their own names from where they lie.
STATIC_IS_COLLECTED = "collectstatic" in sys.argv or (
    not (DEBUG or DEMO) and (STATIC_ROOT / "staticfiles.json").exists()
)
WHITENOISE_USE_FINDERS = not STATIC_IS_COLLECTED
# A file that is changed meanwhile is served as it is now.
WHITENOISE_AUTOREFRESH = DEBUG or DEMO
WHITENOISE_MAX_AGE = 0 if DEBUG or DEMO else 60
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if STATIC_IS_COLLECTED
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}
