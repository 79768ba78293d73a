"""What is said to be read is read."""

from streams.documents.formats.read import _READERS
from streams.documents.text.parse import PARSERS
from topics.media_types import BY_SUFFIX, IN_JSON, READ, SEEN_AS, TEXTS


def test_every_type_has_its_reader() -> None:
    """Each media type that the door takes has exactly one reader, and each file name leads to one of them."""
    assert set(READ) == set(PARSERS) | set(_READERS) and not set(PARSERS) & set(_READERS)
    assert set(BY_SUFFIX.values()) == set(READ)
    assert set(SEEN_AS.values()) == set(READ) and {*TEXTS, *IN_JSON} <= set(READ)
