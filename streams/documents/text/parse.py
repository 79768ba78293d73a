"""Text of a known media type to blocks.

Takes what intake gives, returns blocks in reading order with the headings above each, and the title the document
gives itself.  Refuses a text without words.  Pure, so twice gives the same.  Linear in the size of the text.
"""

from collections.abc import Callable, Mapping

from streams.documents.refused import Refused
from streams.documents.text.blocks import Parsed
from streams.documents.text.markdown import parse_markdown
from streams.documents.text.markup import parse_html
from streams.documents.text.plain import parse_plain

PARSERS: Mapping[str, Callable[[str], Parsed]] = {
    "text/plain": parse_plain,
    "text/markdown": parse_markdown,
    "text/html": parse_html,
}
MAX_TITLE = 300


def parse(text: str, media_type: str) -> Parsed:
    """Blocks and title of a document; the title falls back to the first heading."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n").replace("\0", "\ufffd")
    return finished(PARSERS[media_type](unified))


def finished(parsed: Parsed) -> Parsed:
    """As it may go on: with words in it, and a title if it has a heading."""
    if not any(any(map(str.isalnum, block.text)) for block in parsed.blocks):
        raise Refused("no words: there is nothing to index in the text")
    first = next((block.text for block in parsed.blocks if block.kind == "heading"), None)
    title = parsed.title or first
    return Parsed(title[:MAX_TITLE] if title else None, parsed.blocks)
