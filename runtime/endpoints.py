"""FRESHET_LLM_ENDPOINTS: language models by name, the first of the ladder first.

TOML or JSON, read when a process starts; what is wrong is named by its field, and no message shows a value.
"""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator
from pydantic import model_validator as validator

from runtime.secrets import check_public

NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$"
QUOTING = "extractive"  # the name of the last rung, which is no endpoint
URLS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}


class Endpoint(BaseModel):
    """One version: a model somewhere, and how it is asked.  ``share`` is that of the questions that ask it first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    provider: Literal["openai", "anthropic"] = "openai"
    url: str = ""
    model: str = Field(min_length=1)
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    share: float = Field(0.0, ge=0, le=1)
    fallback: bool = True
    max_tokens: int = Field(512, ge=1)
    context_tokens: int | None = Field(None, ge=256)
    temperature: float | None = Field(None, ge=0, le=2)
    first_token_timeout: float = Field(20.0, gt=0)

    _public = field_validator("url")(check_public("api_key"))

    @validator(mode="after")
    def _whole(self) -> Self:
        if self.name == QUOTING:
            raise ValueError(f"{QUOTING} is the name of quoting, which is always the last")
        if self.api_key and self.api_key_file:
            raise ValueError("api_key and api_key_file are both set: which one holds is not guessed")
        return self

    @property
    def address(self) -> str:
        """Where it is, without a slash at the end."""
        return (self.url or URLS[self.provider]).rstrip("/")

    @property
    def key(self) -> str | None:
        """The API key."""
        return self.api_key.get_secret_value() if self.api_key else None

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that an answer depends on."""
        return self.model_dump(exclude={"api_key", "api_key_file", "share", "fallback"}) | {"url": self.address}


class _Endpoints(BaseModel):
    model_config = ConfigDict(extra="forbid")
    endpoints: list[Endpoint] = []


@cache
def read_endpoints(text: str, defaults: tuple[tuple[str, Any], ...] = ()) -> tuple[Endpoint, ...]:
    """All endpoints of the setting; ``ValueError`` names each field that is wrong."""
    if not text.strip():
        return ()
    try:
        found = json.loads(text) if text.lstrip()[0] in "{[" and not text.lstrip().startswith("[[") else None
        tree = found if found is not None else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"neither JSON nor TOML: {error}") from None
    tree = {"endpoints": tree} if isinstance(tree, list) else tree
    if isinstance(tree, dict) and isinstance(each := tree.get("endpoints"), list):
        tree = tree | {"endpoints": [_whole(e, dict(defaults)) if isinstance(e, dict) else e for e in each]}
    try:
        endpoints = TypeAdapter(_Endpoints).validate_python(tree).endpoints
    except ValidationError as error:
        told = error.errors(include_input=False)
        lines = [f"{_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in told]
        raise ValueError("; ".join(lines)) from None
    names = [endpoint.name for endpoint in endpoints]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"name {', '.join(twice)} is there twice")
    if endpoints and endpoints[0].share:
        raise ValueError(f"{names[0]} is the first: it gets what is left, and share is for the others")
    if (total := sum(endpoint.share for endpoint in endpoints)) > 1:
        raise ValueError(f"shares add up to {total:g}, more than 1")
    return tuple(endpoints)


def _whole(given: Mapping[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """An endpoint with what it does not say itself, and with its key, where that lies in a file."""
    if given.get("provider") == "anthropic":
        defaults.pop("temperature", None)  # Anthropic's later models refuse any
    found, path = defaults | dict(given), given.get("api_key_file")
    if not isinstance(path, str) or "api_key" in given:
        return found
    try:
        found["api_key"] = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"api_key_file of {given.get('name')}: cannot read {path}: {reason}") from None
    del found["api_key_file"]
    return found


def _place(loc: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")
