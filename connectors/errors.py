"""What a port may raise.

ConnectorError
├── Transient           away or busy: the same call may pass later; never a reason to dead-letter
│   └── Overloaded      as Transient, and says how long to wait
└── Permanent           the same call fails for ever: the record is refused, with this message as the reason
"""


class ConnectorError(Exception):
    """Base of the tree; ``reason`` is one of few words, fit for a metric label."""

    def __init__(self, message: str, *, reason: str = "error") -> None:
        super().__init__(message)
        self.reason = reason


class Transient(ConnectorError):
    """Away or busy."""


class Overloaded(Transient):
    """Told to slow down."""

    def __init__(self, message: str, *, retry_after: float, reason: str = "overloaded") -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Permanent(ConnectorError):
    """Will not pass, however often it is tried."""
