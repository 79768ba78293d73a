"""Language models by name, as settings give them."""

import json
from pathlib import Path

import pytest

from runtime.settings import Settings, SettingsError

TOML = """
[[endpoints]]
name = "qwen-7b"
url = "http://gpu-1:8200/v1/"
model = "Qwen/Qwen2.5-7B-Instruct"
max_tokens = 256

[[endpoints]]
name = "claude"
provider = "anthropic"
model = "claude-x"
api_key = "s3kret-of-the-model"
share = 0.05
fallback = false
"""


def read(text: str, **more: str) -> Settings:
    return Settings.from_env({"FRESHET_LLM_ENDPOINTS": text} | more)


def test_endpoints_are_read_in_their_order(tmp_path: Path) -> None:
    """TOML and JSON say the same; what one does not say is as the other settings say, its key may lie in a file."""
    first, second = read(TOML, FRESHET_LLM_MAX_TOKENS="99", FRESHET_LLM_TEMPERATURE="0.3").llm.versions
    assert (first.name, first.address, first.max_tokens) == ("qwen-7b", "http://gpu-1:8200/v1", 256)
    assert (first.share, first.fallback, first.temperature, first.key) == (0.0, True, 0.3, None)
    assert (second.address, second.max_tokens, second.temperature) == ("https://api.anthropic.com", 99, None)
    assert (second.share, second.fallback, second.key) == (0.05, False, "s3kret-of-the-model")
    (tmp_path / "key").write_text("from-a-file\n")
    listed = [{"name": "m", "model": "m", "api_key_file": str(tmp_path / "key")}]
    (only,) = read(json.dumps(listed)).llm.versions
    assert only.key == "from-a-file" and only.address == "https://api.openai.com/v1"


def test_one_endpoint_is_short_for_a_list() -> None:
    """FRESHET_LLM_URL and its like are one endpoint, which bears its model's name; nothing set is none."""
    (only,) = Settings.from_env({"FRESHET_LLM_URL": "http://h/v1", "FRESHET_LLM_MODEL": "Qwen/Q"}).llm.versions
    assert (only.name, only.model, only.address) == ("Qwen/Q", "Qwen/Q", "http://h/v1")
    assert Settings().llm.versions == () == read(" ").llm.versions


def test_keys_are_secrets() -> None:
    """Of endpoints too, and the setting is shown hidden."""
    settings = read(TOML)
    assert "s3kret-of-the-model" in settings.secrets
    shown = {name: str(value) for name, value, *_ in settings.describe({})}
    assert "s3kret" not in shown["FRESHET_LLM_ENDPOINTS"] and "s3kret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "neither JSON nor TOML"),
        ('[{"name": "a"}]', "endpoints[0].model: Field required"),
        ('[{"name": "a b", "model": "m"}]', "endpoints[0].name"),
        ('[{"name": "a", "model": "m", "modell": 1}]', "endpoints[0].modell"),
        ('[{"name": "a", "model": "m"}, {"name": "a", "model": "n"}]', "name a is there twice"),
        ('[{"name": "a", "model": "m", "provider": "other"}]', "'openai' or 'anthropic'"),
        ('[{"name": "a", "model": "m", "share": 0.1}]', "a is the first"),
        ('[{"name": "a", "model": "m"}, {"name": "b", "model": "m", "share": 1.5}]', "less than or equal to 1"),
        ('[{"name": "extractive", "model": "m"}]', "the name of quoting"),
        ('[{"name": "a", "model": "m", "api_key_file": "/nowhere"}]', "api_key_file of a: cannot read /nowhere"),
        ('[{"name": "a", "model": "m", "url": "https://s3kret@h"}]', "set api_key"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    """By its field, in a sentence that shows no value."""
    with pytest.raises(SettingsError) as error:
        read(text)
    assert "FRESHET_LLM_ENDPOINTS" in str(error.value) and says in str(error.value)
    assert "s3kret" not in str(error.value)


def test_two_ways_at_once_are_refused() -> None:
    """Which of them holds is not guessed."""
    with pytest.raises(SettingsError, match="both set"):
        read(TOML, FRESHET_LLM_URL="http://h/v1")
