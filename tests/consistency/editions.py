"""Document versions in short notation, and their records as the lane carries them.

A text is a string in which a letter is a paragraph (one chunk) and ``|`` begins the next part: ``AB|C`` travels as
two records.  ``!`` is a paragraph that the store never takes, ``?`` makes its part unreadable.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from streams.documents.changes import part_output, refused_output
from streams.outcome import Output, Record
from topics import registry
from topics.documents import Chunk, ChunkRef, DocumentHead, DocumentPart, Metadata
from topics.headers import TOKEN
from topics.identity import DocumentRef, Token, chunk_id, identity_hash, part_key, text_hash

GENERATION = "g1"
DIMENSION = 8
EPOCH = 1
PRINCIPALS = ("ann", "bob")
LANGUAGES = ("en",)
Kind: TypeAlias = Literal["text", "delete", "refused"]

_AXES = np.eye(DIMENSION, dtype="<f4")


@dataclass(frozen=True, slots=True)
class Edition:
    """A version of a document as its author meant it.  ``look`` is a principal, a language or a title."""

    ref: DocumentRef
    number: int  # its offset in ``documents``
    kind: Kind
    text: str = ""
    look: str = ""

    @property
    def version(self) -> str:
        return str(Token(EPOCH, 0, self.number).version)

    @property
    def readable(self) -> bool:
        """Whether anybody can ever see it."""
        return self.kind == "text" and not set("!?") & set(self.text)

    @property
    def effective(self) -> bool:
        """Whether it changes what is visible."""
        return self.kind == "delete" or self.readable

    @property
    def access(self) -> list[str]:
        return [self.look] if self.look in PRINCIPALS else []

    @property
    def metadata(self) -> Metadata:
        return {"lang": self.look} if self.look in LANGUAGES else {}

    @property
    def title(self) -> str | None:
        return self.look if self.look and not self.access and not self.metadata else None

    @property
    def head(self) -> DocumentHead:
        return DocumentHead(title=self.title, metadata=self.metadata, access=self.access, published_at=self.number)

    @property
    def passages(self) -> list[tuple[str, str]]:
        """Text and section of every chunk, in order."""
        return [(self._words(letter), f"{self.title} > {letter}") for letter in self.text if letter != "|"]

    def _words(self, letter: str) -> str:
        own = f" {self.number}" if letter in "!?" else ""  # what fails must not be known from another version
        return f"Paragraph {letter}{own}."

    @property
    def parts(self) -> int:
        """Records that the version takes."""
        return self.text.count("|") + 1 if self.kind == "text" else 1

    def __str__(self) -> str:
        meant = {"text": repr(self.text), "delete": "deleted", "refused": "refused"}[self.kind]
        return f"{self.ref.doc_id}@{self.number} {meant}{f' for {self.look}' if self.look else ''}"


def normal(text: str) -> str:
    """The nearest text that a producer could have cut into parts: only the last part may be empty."""
    kept = ""
    for letter in text:
        if letter != "|" or not kept.endswith("|"):
            kept += letter
    return kept.lstrip("|") or "A"


def records_of(edition: Edition, partition: int, most: int) -> list[Record]:
    """The records of a version; ``most`` is how many parts the document ever had.  They do not have offsets yet."""
    token = Token(EPOCH, partition, edition.number)
    headers = {TOKEN: str(token).encode()}
    if edition.kind == "refused":
        outputs = [refused_output(registry.VECTORS, edition.ref, token, "rejected", "no words", partition)]
    else:
        parts = _parts(edition, token) if edition.kind == "text" else []
        outputs = [part_output(registry.VECTORS, part, partition, headers) for part in parts]
        gone = [part_key(edition.ref, number) for number in range(len(parts), max(most, 1))]
        outputs += [Output(registry.VECTORS, key, None, partition, headers) for key in gone]
    records = [Record(registry.VECTORS.name, partition, -1, o.key, o.value, o.headers, edition.number) for o in outputs]
    if edition.kind == "text":
        for number, letters in enumerate(edition.text.split("|")):
            if "?" in letters:
                records[number] = replace(records[number], value=b"{")
    return records


def _parts(edition: Edition, token: Token) -> list[DocumentPart]:
    groups: list[list[Chunk]] = []
    outline: list[ChunkRef] = []
    seen: Counter[str] = Counter()
    passages = iter(edition.passages)
    for letters in edition.text.split("|"):
        groups.append([])
        for letter in letters:
            text, section = next(passages)
            named = text_hash(text)
            whole = identity_hash(named, edition.access, edition.metadata, seen[named])
            seen[named] += 1
            ordinal = len(outline)
            vector = _AXES[ord(letter) % DIMENSION] if letter != "!" else _AXES[0][:3]
            groups[-1].append(Chunk(ordinal=ordinal, text=text, text_hash=named, hash=whole, vector=vector.tobytes()))
            born = chunk_id(GENERATION, edition.ref, token.version, ordinal)
            outline.append(ChunkRef(id=born, hash=whole, section=section))
    return [
        DocumentPart(
            tenant=edition.ref.tenant,
            doc_id=edition.ref.doc_id,
            version=str(token.version),
            head=edition.head,
            part=number,
            parts=len(groups),
            chunks=chunks,
            outline=outline if number == len(groups) - 1 else None,
        )
        for number, chunks in enumerate(groups)
    ]
