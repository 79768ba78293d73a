"""Settings: read once, named in every complaint, secrets never shown."""

from pathlib import Path

import pytest

from runtime.settings import Settings, SettingsError


def test_environment_file_and_default(tmp_path: Path) -> None:
    """A value comes from the environment, from a file, or by default, and the source is told."""
    secret = tmp_path / "key"
    secret.write_text("s3kret\n")
    env = {"FRESHET_BROKERS": "a:1", "FRESHET_LLM_API_KEY_FILE": str(secret)}
    settings = Settings.from_env(env)
    shown = {variable: (str(value), source) for variable, value, source, _ in settings.describe(env)}
    assert shown["FRESHET_BROKERS"] == ("a:1", "environment")
    assert shown["FRESHET_LLM_API_KEY"] == ("**********", "file")
    assert shown["FRESHET_PREFIX"] == ("freshet", "default")
    assert settings.llm.api_key is not None and settings.llm.api_key.get_secret_value() == "s3kret"
    assert "s3kret" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"FRESHET_PARTITIONS": "many"}, "FRESHET_PARTITIONS"),
        ({"FRESHET_QUERIES_MIN_SCORE": "7"}, "FRESHET_QUERIES_MIN_SCORE"),
        ({"FRESHET_PARTITION": "4"}, "FRESHET_PARTITION is not a setting"),
        ({"FRESHET_EDGE_URLS": "http://a/, http://me:s3kret@b/"}, "FRESHET_EDGE_URLS.*FRESHET_EDGE_SECRET"),
        ({"FRESHET_EDGE_URLS": "varnish:6081"}, "FRESHET_EDGE_URLS.*http"),
        ({"FRESHET_LLM_API_KEY_FILE": "/nowhere/at/all"}, "FRESHET_LLM_API_KEY_FILE"),
    ],
)
def test_wrong_settings_name_their_variable(env: dict[str, str], says: str) -> None:
    """What cannot be used is refused with the variable's name."""
    with pytest.raises(SettingsError, match=says):
        Settings.from_env(env)
