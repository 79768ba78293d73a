"""Secrets stay out of addresses, messages and logs."""

import json
import subprocess
import sys

import msgspec
import pytest

from runtime.secrets import HIDDEN, Redactor
from runtime.settings import Settings, SettingsError

SECRET = 'pa"ss wörd\\%40'
LOGIN = {"FRESHET_SECURITY_PROTOCOL": "SASL_SSL", "FRESHET_SASL_USERNAME": "u", "FRESHET_SASL_PASSWORD": "s3kret-k"}


def test_a_password_leaves_the_address() -> None:
    """What was written into a Redis address is used and never shown, user and port stay, escapes are read."""
    env = {"FRESHET_REDIS_STATE_URL": "rediss://ann:p%40ss-w0rd@redis.example:7000/2?protocol=3"}
    redis = Settings.from_env(env).redis
    assert redis.state_url == "rediss://ann@redis.example:7000/2?protocol=3"
    assert redis.state_password is not None and redis.state_password.get_secret_value() == "p@ss-w0rd"
    assert Settings.from_env({"FRESHET_REDIS_CACHE_URL": "redis://:pw@h:1/0"}).redis.cache_url == "redis://h:1/0"


def test_nothing_that_shows_settings_shows_secrets() -> None:
    """Neither repr nor the table of `freshet settings` holds one, and each is known as one."""
    env = LOGIN | {
        "FRESHET_REDIS_STATE_URL": "redis://:s3kret-r@h:1/0",
        "FRESHET_REDIS_CACHE_PASSWORD": "s3kret-c",
        "FRESHET_WEAVIATE_API_KEY": "s3kret-w",
        "FRESHET_LLM_API_KEY": "s3kret-l",
        "FRESHET_GATEWAY_API_KEY": "s3kret-a",
    }
    settings = Settings.from_env(env)
    shown = repr(settings) + str(settings) + settings.model_dump_json() + str(list(settings.describe(env)))
    assert "s3kret" not in shown
    assert sorted(settings.secrets) == [f"s3kret-{letter}" for letter in "acklrw"]
    table = {variable: (str(value), source) for variable, value, source, _ in settings.describe(env)}
    assert table["FRESHET_REDIS_STATE_PASSWORD"] == (HIDDEN, "address")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"FRESHET_REDIS_STATE_URL": "redis://:s3k/ret@h:1/0"}, "FRESHET_REDIS_STATE_URL: .*%2F"),
        ({"FRESHET_REDIS_STATE_URL": "redis://:s3k#ret@h:1/0"}, "%23"),
        ({"FRESHET_REDIS_STATE_URL": "redis://h:1/0?password=s3kret"}, "before the host"),
        ({"FRESHET_REDIS_STATE_URL": "redis://:s3k\u2100ret@h:1/0"}, "is no address"),
        ({"FRESHET_REDIS_CACHE_URL": "redis://:s3k@h/0", "FRESHET_REDIS_CACHE_PASSWORD": "s3kret"}, "leave it out"),
        ({"FRESHET_WEAVIATE_URL": "https://u:s3kret@h"}, "FRESHET_WEAVIATE_API_KEY"),
        ({"FRESHET_LLM_URL": "https://s3kret@h/v1"}, "FRESHET_LLM_API_KEY"),
        ({"FRESHET_SASL_PASSWORD": "s3kret"}, "not SASL_SSL"),
        ({"FRESHET_SASL_PASWORD": "s3kret"}, "is not a setting"),
        (LOGIN | {"FRESHET_SASL_PASSWORD": ""}, "FRESHET_SASL_PASSWORD_FILE"),
        (LOGIN | {"FRESHET_SECURITY_PROTOCOL": "SSL"}, "SASL_SSL"),
        (LOGIN | {"FRESHET_SASL_PASSWORD_FILE": "/x"}, "both set"),
        (LOGIN | {"FRESHET_BROKERS_CA": "/etc/s3kret.pem"}, "FRESHET_BROKERS_CA: holds no certificate"),
        ({"FRESHET_BROKERS_CA": "s3kret"}, "no certificate"),
    ],
)
def test_complaints_do_not_repeat_secrets(env: dict[str, str], says: str) -> None:
    """A setting that cannot be used is named, what to do is said, and what was written is not."""
    with pytest.raises(SettingsError, match=says) as raised:
        Settings.from_env(env)
    assert "s3k" not in str(raised.value)


def test_text_is_redacted() -> None:
    """Secrets go, as they are and as JSON writes them; words too short to be secrets stay."""
    hide = Redactor([SECRET, "no"])
    assert hide(f"no: {SECRET}!") == f"no: {HIDDEN}!"
    assert json.loads(hide(json.dumps({"said": SECRET}))) == {"said": HIDDEN}
    assert json.loads(hide(msgspec.json.encode({"said": SECRET}).decode())) == {"said": HIDDEN}


def test_logs_hold_no_secrets() -> None:
    """Neither a line, nor a library's line, nor the local variables of a traceback show one."""
    script = f"""
import logging
from runtime import logs
logs.configure("INFO", [{SECRET!r}])
logs.logger("ours").warning("told", reason={SECRET!r})
logging.getLogger("theirs").warning("%s", {SECRET!r})
def fail(document="local-variable"):
    raise ValueError({SECRET!r})
try:
    fail()
except ValueError:
    logs.logger("ours").exception("failed")
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    assert len(said.splitlines()) == 3
    assert said.count(HIDDEN) == 3
    assert "wörd" not in said and "w\\u00f6rd" not in said
    assert "ValueError" in said and '"local-variable"' not in said and "locals" not in said
