"""What a document is told when it will not be indexed."""


class Refused(ValueError):
    """A document that can never be indexed as it is; ``reason`` is a sentence that names what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
