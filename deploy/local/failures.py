"""Say in one sentence what went wrong with a set-up step and what to do about it.

Comes in: what the failed program printed.  Goes out: the sentence.  Pure.
"""

import re

_DISK = re.compile(r"no space left on device|disk quota exceeded|os error 28|ENOSPC|not enough space", re.I)
_NETWORK = re.compile(
    r"name resolution|could not resolve|no such host|name or service not known|nodename nor servname"
    r"|network is unreachable|connection refused|connection timed out|connection reset|i/o timeout|dns error"
    r"|failed to establish a new connection|error sending request|failed to fetch|unknown host|no route to host"
    r"|max retries exceeded|tls handshake timeout|request timed out|operation timed out|proxyerror",
    re.I,
)
_REFUSED = re.compile(r"\b(401|403|407|451)\b|forbidden|unauthorized|access denied|authentication required", re.I)
_CERTIFICATE = re.compile(r"certificate|x509|SSL:|PKIX path", re.I)
_MISSING = re.compile(
    r"\b(404|410)\b|no matching distribution|no solution found|not found in the package registry|unknown revision", re.I
)
_CHECKSUM = re.compile(r"hash mismatch|checksum mismatch|do not match the hashes|checksum", re.I)
_AGAIN = "then run the same command again: what is fetched already is kept"


class StepFailed(Exception):
    """A set-up step could not be done; the message is one sentence for the user, `output` what the program said."""

    def __init__(self, sentence: str, output: str = "") -> None:
        """Keep the sentence and the output."""
        super().__init__(sentence)
        self.output = output


def explain(part: str, output: str) -> str:
    """The sentence for this part's failure, by what its program printed."""
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it printed nothing")
    if _DISK.search(output):
        return f"{part}: the disk is full. Free some space (make clean removes this copy's data), {_AGAIN}."
    if _REFUSED.search(output):
        return f"{part}: the package registry refused the request ({last}). Check its access or your proxy, {_AGAIN}."
    if _CERTIFICATE.search(output):
        return f"{part}: the registry's certificate was not accepted ({last}). Check the proxy's, {_AGAIN}."
    if _NETWORK.search(output):
        return f"{part}: the package registry could not be reached ({last}). Check the network or proxy, {_AGAIN}."
    if _CHECKSUM.search(output):
        return f"{part}: what arrived is not what was locked ({last}). Try again; if it stays so, tell the maintainers."
    if _MISSING.search(output):
        return f"{part}: the registry does not have it ({last}). Use another mirror or version, {_AGAIN}."
    return f"{part}: failed ({last})."
