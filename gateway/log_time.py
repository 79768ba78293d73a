"""The time of day by the log's brokers, in which gateways write and read when a job began and until when it lives.

A job's id says since when its answer may lie in the log, and any gateway must find it there: also one on a machine
whose clock was set to the hour after, or has jumped.  A broker tells its time with each question that it has taken;
between two of them the clock goes on that only counts.  Until the first one it is this machine's time.
"""

import time


class LogTime:
    """A time of day that no jump of this machine's moves."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()  # seconds

    def heard(self, stamp: int, sent: float) -> None:
        """A record got this stamp (ms since 1970) after that moment of ``time.monotonic`` and before now.

        So the brokers' time is known but for what the record took, and within that nothing is changed: one that was
        acknowledged late would set the clock back.
        """
        earliest, latest = stamp / 1000 - time.monotonic(), (stamp + 1) / 1000 - sent
        self._ahead = min(max(self._ahead, earliest), latest)

    def seconds(self) -> float:
        """Since 1970."""
        return time.monotonic() + self._ahead

    def millis(self) -> int:
        """Since 1970."""
        return int(self.seconds() * 1000)


LOG_TIME = LogTime()  # one for the process, as its machine's clock is
millis = LOG_TIME.millis
