"""One settings file for the embedded default and for production, driven by the environment."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import SimpleLazyObject

from astrid_site.env import (
    read_choice,
    read_flag,
    read_folder,
    read_list,
    read_number,
    read_text,
)

# lets generic Django classes be subscripted at run time, as the type checker wants them
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(BASE_DIR / ".env") if (BASE_DIR / ".env").is_file() else None

PRODUCTION = read_flag("ASTRID_PRODUCTION", default=False)
DEBUG = read_flag("ASTRID_DEBUG", default=False)
DATA_DIR = read_folder("ASTRID_DATA_DIR", BASE_DIR / "var")


def _secret_key() -> Any:
    key = read_text("ASTRID_SECRET_KEY")
    is_weak = len(key) < 50 or len(set(key)) < 5 or key.startswith("django-insecure-")
    if key and PRODUCTION and is_weak:
        msg = "ASTRID_SECRET_KEY: too weak; make one with 'openssl rand -base64 48'"
        raise ImproperlyConfigured(msg)
    if key:
        return key
    if PRODUCTION:
        msg = "ASTRID_SECRET_KEY: required in production; make one with 'openssl rand -base64 48'"
        raise ImproperlyConfigured(msg)
    # made when it is first asked for: a start that is refused leaves nothing behind
    return SimpleLazyObject(_kept_key)


def _kept_key() -> str:
    """The key in the data folder, made at the first time."""
    path = DATA_DIR / "secret_key"
    if path.is_file():
        return path.read_text().strip()
    key = secrets.token_urlsafe(64)
    try:
        # sessions and password hashes will lie there: nobody else's to read
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        path.write_text(key)
    except OSError as error:
        msg = f"ASTRID_DATA_DIR: cannot write {path} ({error.strerror}); choose a writable folder"
        raise ImproperlyConfigured(msg) from None
    return key


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = read_list("ASTRID_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = read_list("ASTRID_CSRF_TRUSTED_ORIGINS")
if PRODUCTION and DEBUG:
    msg = "ASTRID_DEBUG: must be off in production"
    raise ImproperlyConfigured(msg)
if PRODUCTION and (not ALLOWED_HOSTS or "*" in ALLOWED_HOSTS):
    msg = "ASTRID_ALLOWED_HOSTS: name the hosts of the site; '*' would let anybody name it"
    raise ImproperlyConfigured(msg)

INSTALLED_APPS = [
    "astrid_site.accounts.staff_site.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "astrid_site.core",
    "astrid_site.accounts",
    "astrid_site.monitoring",
    "observations",
    "preprocessing",
    "differencing",
    "detection",
    "catalog",
    "curation",
    "astrid_site.launcher",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",  # outside of the static files, so that they carry it too
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "astrid_site.accounts.middleware.PrivateResponsesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "astrid_site.urls"
ASGI_APPLICATION = "astrid_site.asgi.application"
WSGI_APPLICATION = "astrid_site.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "astrid_site.core.context.site_context",
            ],
            "builtins": ["astrid_site.core.templatetags.astro"],
        },
    }
]

# --- where rows live: SQLite needs WAL and IMMEDIATE, or writers fail with "database is locked"
DATABASE_URL = read_text("DATABASE_URL", f"sqlite:///{DATA_DIR / 'astrid.sqlite3'}")
DATABASES: dict[str, dict[str, Any]] = {"default": environ.Env.db_url_config(DATABASE_URL)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
        "PRAGMA foreign_keys=ON;PRAGMA journal_size_limit=67108864",
    }
else:
    DATABASES["default"] |= {
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 5,
            "options": "-c statement_timeout=60000 -c lock_timeout=5000"
            " -c idle_in_transaction_session_timeout=60000",
        },
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- where pixels live: one folder, or an S3 bucket
S3_BUCKET = read_text("ASTRID_S3_BUCKET")
STORAGES: dict[str, dict[str, Any]] = {
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "objects"},
    },
}
if S3_BUCKET:
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "endpoint_url": read_text("ASTRID_S3_ENDPOINT") or None,
            "region_name": read_text("ASTRID_S3_REGION", "us-east-1"),
            "access_key": read_text("ASTRID_S3_ACCESS_KEY") or None,
            "secret_key": read_text("ASTRID_S3_SECRET_KEY") or None,
            "addressing_style": "path",
            "file_overwrite": True,  # keys are content hashes: an overwrite writes the same bytes
            "default_acl": None,
            "querystring_expire": 300,
        },
    }
    from botocore.config import Config

    # Ours replaces the backend's own, so it repeats the path style endpoints need.
    STORAGES["default"]["OPTIONS"]["client_config"] = Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 4},
    )
DOWNLOAD_CACHE_BYTES = int(read_number("ASTRID_DOWNLOAD_CACHE_MB", 20_000, minimum=0)) * 2**20
MEDIA_ROOT = DATA_DIR / "objects"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = not PRODUCTION
# sizes are looked up at each request, so that files may change under a running `make run`
WHITENOISE_AUTOREFRESH = not PRODUCTION

# --- the door-bell (the job row is the work): see core/jobs.py
BROKER_URL = read_text("ASTRID_BROKER_URL", "filesystem://")
BROKER_DIR = DATA_DIR / "broker"
JOB_HANDLERS = read_text("ASTRID_JOB_HANDLERS", "astrid_site.pipeline.HANDLERS")
JOB_LOST_HANDLER = read_text("ASTRID_JOB_LOST_HANDLER", "astrid_site.pipeline.job_lost")
STANDING_JOBS = read_text("ASTRID_STANDING_JOBS", "astrid_site.pipeline.begin_standing")
CONTROL = "astrid_site.control"  # how the apps below it start and stop their observations
CALIBRATION = "preprocessing.services"  # how ingest, below it, hands over bias, dark and flat
JOB_LEASE_S = read_number("ASTRID_JOB_LEASE_S", 60, minimum=1)
JOB_BACKOFF_S = read_number("ASTRID_JOB_BACKOFF_S", 2, minimum=0)
JOB_RING_AGAIN_S = read_number("ASTRID_JOB_RING_AGAIN_S", 10, minimum=0.1)
JOB_RING_WINDOW = int(read_number("ASTRID_JOB_RING_WINDOW", 16, minimum=1))
JOB_MAX_ATTEMPTS = int(read_number("ASTRID_JOB_MAX_ATTEMPTS", 5, minimum=1))
JOB_MAX_CRASHES = int(read_number("ASTRID_JOB_MAX_CRASHES", 12, minimum=1))
WORKER_THREADS = int(read_number("ASTRID_WORKER_THREADS", 1, minimum=1))
# once so many people decided about an object, or look at it, the queue keeps it from others
PEOPLE_PER_CANDIDATE = int(read_number("ASTRID_PEOPLE_PER_CANDIDATE", 3, minimum=1))
# a second way to subtract, whose agreement is stored with every candidate; none by default
SECOND_METHOD = read_choice(
    "ASTRID_SECOND_METHOD", "", choices=("", "kernel", "zogy", "alard_lupton")
)
# a network that looks at whole differences for what is too faint for the threshold; none by default
SECOND_DETECTOR = read_choice("ASTRID_SECOND_DETECTOR", "", choices=("", "unet"))

# a champion goes by itself when it finds fewer of the canaries, or lets more pass, by more than the
# margin with 95 % confidence; scores from the cut on count as real
CANARY_CUT = read_number("ASTRID_CANARY_CUT", 0.5, minimum=0)
CANARY_MARGIN = read_number("ASTRID_CANARY_MARGIN", 0.05, minimum=0)
CANARY_EVERY_S = read_number("ASTRID_CANARY_EVERY_S", 900, minimum=10)

# the registry of models as MLflow shows it: a database here, or any server
MLFLOW_URI = read_text("ASTRID_MLFLOW_URI", f"sqlite:///{DATA_DIR / 'mlflow' / 'mlflow.sqlite3'}")
# where the processor has no meter, energy is estimated by this power of one core [W]; 0: not at all
WATTS_PER_CORE = read_number("ASTRID_WATTS_PER_CORE", 0, minimum=0)

# --- people
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["astrid_site.accounts.backends.LoginBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "accounts:login"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
if PRODUCTION:
    SECURE_SSL_REDIRECT = read_flag("ASTRID_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^api/v1/health/"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # browsers take a __Host- cookie only from this very host, over TLS, for every path
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
    if read_flag("ASTRID_BEHIND_PROXY", default=False):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- limits on what comes in
MAX_UPLOAD_BYTES = int(read_number("ASTRID_MAX_UPLOAD_MB", 512, minimum=1)) * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 100
# always a file on disk: the FITS gate reads bytes from a path, and memory stays bounded
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = read_text("ASTRID_UPLOAD_TEMP_DIR") or None

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": read_text("ASTRID_CACHE_URL"),
    }
    if read_text("ASTRID_CACHE_URL")
    else {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "core_cache",
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "astrid_site.accounts.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["astrid_site.core.permissions.RolePermission"],
    "DEFAULT_RENDERER_CLASSES": ["astrid_site.core.rendering.FiniteJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["astrid_site.core.rendering.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "astrid_site.core.pagination.NewestFirstPagination",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "user": read_text("ASTRID_API_RATE", "1200/min"),
        "upload": read_text("ASTRID_UPLOAD_RATE", "600/min"),
        "login": read_text("ASTRID_LOGIN_RATE", "10/min"),
    },
    "EXCEPTION_HANDLER": "astrid_site.core.problems.problem_response",
    "NUM_PROXIES": int(read_number("ASTRID_PROXIES", 0, minimum=0)),
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AstrID",
    "DESCRIPTION": "Observations in, vetted transients out.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RunStatusEnum": "astrid_site.core.status.RunStatus",
        "JobStateEnum": "astrid_site.core.status.JobState",
        "ObjectStateEnum": "catalog.models.AstroObject.State",
        "ContextKindEnum": "catalog.models.ContextList.Kind",
        "StatementKindEnum": "catalog.models.ObjectStatement.Kind",
        "RoleEnum": "observations.models.Observation.Role",
        "VerdictLabelEnum": "curation.models.Verdict.Label",
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
            "validate": True,
        }
    },
    "filters": {"refusals": {"()": "astrid_site.core.log_lines.RefusalsInOneLine"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["refusals"],
        }
    },
    "root": {"handlers": ["stderr"], "level": read_text("ASTRID_LOG_LEVEL", "INFO")},
}
