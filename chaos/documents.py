"""Documents that tell on themselves: their passages show of which version they are, and whether a part is missing.

A revision is a list of statements, each in a section of its own, so long that it makes a chunk.  An edit changes some
statements and keeps others, so that versions share chunks.  The title names the revision; it is not part of a chunk.
"""

import random
import re
from dataclasses import dataclass, field

_STATEMENT = re.compile(r"Statement (\d+) of (\S+) is (\w+)\.")
_FILLER = " ".join(
    f"This sentence number {n} is here so that the section is long enough to stand alone." for n in range(9)
)


@dataclass(frozen=True, slots=True)
class Revision:
    """What was published of one document at one time.  ``access`` empty means everyone; no statements means deleted."""

    doc_id: str
    number: int
    statements: tuple[str, ...]
    access: tuple[str, ...] = ()

    @property
    def deletes(self) -> bool:
        return not self.statements

    def shown_to(self, principal: str) -> bool:
        """Whether a reader may see it."""
        return not self.deletes and (not self.access or principal in self.access)

    @property
    def title(self) -> str:
        return f"{self.doc_id} revision {self.number}"

    @property
    def metadata(self) -> dict[str, str]:
        """By which it is found."""
        return {"about": self.doc_id, "group": self.doc_id.partition("/")[0]}

    @property
    def text(self) -> str:
        sections = (
            f"## Section {place}\n\nStatement {place} of {self.doc_id} is {word}. {_FILLER}"
            for place, word in enumerate(self.statements)
        )
        return "\n\n".join(sections)

    @property
    def said(self) -> frozenset[tuple[int, str]]:
        """Its statements as they can be read out of passages."""
        return frozenset(enumerate(self.statements))


def statements_in(doc_id: str, texts: list[str]) -> frozenset[tuple[int, str]]:
    """Statements about a document that these passages make."""
    return frozenset(
        (int(place), word) for text in texts for place, about, word in _STATEMENT.findall(text) if about == doc_id
    )


@dataclass
class Author:
    """Thinks up the next revision of each document; the same seed gives the same revisions."""

    seed: int
    doc_ids: list[str]
    principals: list[str]
    _last: dict[str, Revision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def next(self) -> Revision:
        """An edit, a shrinking, a growing, a change of access alone, or a delete, of any of the documents."""
        draw = self._random
        doc_id = draw.choice(self.doc_ids)
        last = self._last.get(doc_id, Revision(doc_id, 0, ()))
        statements, access = list(last.statements), last.access
        kind = "grow" if last.deletes else draw.choice(["edit", "edit", "edit", "grow", "shrink", "access", "delete"])
        if kind == "edit":
            for place in draw.sample(range(len(statements)), draw.randint(1, min(2, len(statements)))):
                statements[place] = self._word()
        elif kind == "grow":
            statements += [self._word() for _ in range(draw.randint(1, 3))]
            statements = statements[-8:]
        elif kind == "shrink":
            statements = statements[: max(1, len(statements) - draw.randint(1, 3))]
        elif kind == "access":
            access = draw.choice([(), *((p,) for p in self.principals)])
        else:
            statements, access = [], ()
        revision = Revision(doc_id, last.number + 1, tuple(statements), access)
        self._last[doc_id] = revision
        return revision

    def _word(self) -> str:
        return f"w{self._random.getrandbits(40):010x}"
