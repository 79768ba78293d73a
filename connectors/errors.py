"""What a port may raise.

ConnectorError
├── Transient           away or busy: the same call may pass later; never a reason to dead-letter
│   ├── Overloaded      as Transient, and says how long to wait
│   └── Unclear         failed, and it cannot be told whether the system or the record is at fault
└── Permanent           the same call fails for ever: the record is refused, with this message as the reason
"""

from collections.abc import Iterable


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


class Unclear(Transient):
    """Failed, for one or the other reason.

    ``counts`` says whether that speaks against the record: True, False, or None where it does only if others pass.
    """

    def __init__(self, message: str, *, reason: str = "error", counts: bool | None = None) -> None:
        super().__init__(message, reason=reason)
        self.counts = counts


class Permanent(ConnectorError):
    """Will not pass, however often it is tried."""


def surest(errors: Iterable[BaseException]) -> BaseException:
    """Of several errors of one call the one that says most: a fault of the record, then an outage, then the unclear."""
    found = list(errors)
    for kind in (Permanent, Transient):
        for error in found:
            if isinstance(error, kind) and not isinstance(error, Unclear):
                return error
    return found[0]
