"""What tests of more than one adapter of a system share."""

from collections.abc import Iterator

import httpx
import pytest

from connectors.stores import weaviate_schema as schema
from runtime.settings import Settings


@pytest.fixture(scope="module")
def collections_swept(settings: Settings) -> Iterator[None]:
    """Leave no collections behind in Weaviate."""
    yield
    ours = schema.collection_name(settings.kafka.prefix, "")
    with httpx.Client(base_url=f"{settings.weaviate.url}/v1/schema", timeout=30) as http:
        for made in http.get("").json()["classes"]:
            if made["class"].startswith(ours):
                http.delete(f"/{made['class']}").raise_for_status()
