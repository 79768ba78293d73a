"""A generate worker that writes the first words of every answer twice: the run that must fail."""

from typing import Any

from runtime.settings import Settings
from streams.outcome import Output
from streams.queries import generate
from streams.queries.events import Teller
from streams.worker import run
from topics.queries import EventType


class Stuttering(Teller):
    """Says its first token again."""

    _said = False

    def event(self, type_: EventType, data: dict[str, Any] | None = None) -> Output:
        if type_ == "token" and data and not self._said:
            self._said, data = True, {"text": data["text"] * 2}
        return super().event(type_, data)


if __name__ == "__main__":
    vars(generate)["Teller"] = Stuttering
    run("generate", Settings.from_env())
