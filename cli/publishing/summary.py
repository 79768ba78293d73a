"""What became of the files: counts, and a reason for each that was left out or failed."""

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console

from cli.publishing.walk import Left, shown
from topics.identity import Token

SHOWN = 10  # names that are listed for one reason


@dataclass(slots=True)
class Summary:
    """Counts of one run.  What failed or was left out counts once, with its newest reason, however often it is seen."""

    published: int = 0
    deleted: int = 0
    unchanged: set[str] = field(default_factory=set)
    tokens: dict[str, Token] = field(default_factory=dict)  # document -> newest version that we sent
    left: dict[str, str] = field(default_factory=dict)  # name -> reason
    failed: dict[str, str] = field(default_factory=dict)  # name -> reason

    def leave(self, left: Left) -> None:
        """Note what is left out."""
        self.settle(left.name)
        (self.failed if left.failed else self.left)[left.name] = left.reason

    def settle(self, name: str) -> None:
        """What was said of it before holds no longer."""
        self.left.pop(name, None)
        self.failed.pop(name, None)

    def sent(self, doc_id: str, token: Token, deleted: bool) -> None:
        """The broker has confirmed a version or a delete."""
        self.settle(doc_id)
        self.unchanged.discard(doc_id)
        self.tokens[doc_id] = token
        if deleted:
            self.deleted += 1
        else:
            self.published += 1

    def line(self) -> str:
        """The counts."""
        counts = {"published": self.published, "unchanged": len(self.unchanged), "deleted": self.deleted}
        return ", ".join(f"{n} {what}" for what, n in (counts | {"failed": len(self.failed)}).items())

    def print(self, console: Console) -> None:
        """Counts, then reasons."""
        console.print(self.line())
        if not (self.published or self.deleted or self.unchanged or self.left or self.failed):
            console.print("  nothing to publish: there are no files")
        for reason, count in Counter(self.left.values()).most_common():
            console.print(f"  {count} skipped: {reason}", markup=False, soft_wrap=True)
        for reason, count in Counter(self.failed.values()).most_common():
            console.print(f"  {count} failed: {reason}", markup=False, soft_wrap=True, style="red")
            names = [name for name, known in self.failed.items() if known == reason]
            for name in names[:SHOWN]:
                console.print(f"    {shown(name)}", markup=False, soft_wrap=True)
            if count > SHOWN:
                console.print(f"    and {count - SHOWN} more")
