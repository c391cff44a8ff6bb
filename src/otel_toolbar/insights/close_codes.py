"""What the close codes of websocket connections say.

Sources: RFC 6455 section 7.4.1 and IANA's registry of websocket close codes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """A close code in words."""

    name: str
    text: str
    abnormal: bool
    """Something went wrong, as opposed to one side being done."""


_APP = Meaning("app's own", "A code of the app's own, from 4000 to 4999.", False)
_REGISTERED = Meaning("registered", "A code of a library or framework, from 3000 to 3999.", False)
_UNKNOWN = Meaning("unknown", "No code that the protocol knows.", True)

CODES = {
    1000: Meaning("normal closure", "What the connection was for is done.", False),
    1001: Meaning("going away", "The page was left, or the server shuts down.", False),
    1002: Meaning("protocol error", "A peer got a frame that the protocol forbids.", True),
    1003: Meaning("unsupported data", "A peer got a type of message it cannot take.", True),
    1005: Meaning("no code", "A close frame without a code came: a bare close().", False),
    1006: Meaning(
        "abnormal closure",
        "No close frame came: the connection was lost or cut, or a proxy timed out.",
        True,
    ),
    1007: Meaning("invalid data", "A message was not what it said, such as bad UTF-8.", True),
    1008: Meaning("policy violation", "A peer refuses this message or client.", True),
    1009: Meaning("message too big", "A message was larger than a peer takes.", True),
    1010: Meaning("extension missing", "The server lacks an extension the client needs.", True),
    1011: Meaning("internal error", "The server failed: an exception left the handler.", True),
    1012: Meaning("service restart", "The server restarts; clients may connect again.", True),
    1013: Meaning("try again later", "The server is overloaded for now.", True),
    1014: Meaning("bad gateway", "A proxy got an invalid answer from the server behind it.", True),
    1015: Meaning("TLS handshake failed", "No secure connection could be made.", True),
    3000: Meaning("unauthorized", "The client has not said who it is.", True),
    3003: Meaning("forbidden", "The client may not use this endpoint.", True),
    3008: Meaning("timeout", "The other side took too long.", True),
}


_WITHOUT = {
    "network": Meaning("connection lost", "No close came: it was lost or cut.", True),
    "error": Meaning("failed", "An exception left the handler.", True),
}
_NO_CODE = Meaning("closed", "Nobody gave a code.", False)


def without_code(initiator: str) -> Meaning:
    """What an end without a code says, by who made it."""
    return _WITHOUT.get(initiator, _NO_CODE)


def meaning(code: int) -> Meaning:
    """A code in words, also one that stands in no list."""
    if code in CODES:
        return CODES[code]
    if 4000 <= code <= 4999:
        return _APP
    return _REGISTERED if 3000 <= code <= 3999 else _UNKNOWN
