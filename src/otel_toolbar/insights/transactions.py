"""Which statements begin and end transactions, as told by their first words."""

from __future__ import annotations

import re
from typing import Final

_CONTROL: Final = re.compile(
    r"""\s*(?:BEGIN(?:\s+(?:WORK|TRANSACTION|DEFERRED|IMMEDIATE|EXCLUSIVE|ISOLATION|READ)\b|\s*;|\s*\Z)
    |START\s+TRANSACTION\b|(?:COMMIT|ROLLBACK|ABORT|SAVEPOINT|RELEASE|XA)\b
    |END(?:\s+(?:WORK|TRANSACTION)\b|\s*;|\s*\Z)|PREPARE\s+TRANSACTION\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_SAVEPOINT: Final = re.compile(
    r"""\s*(?P<verb>SAVEPOINT|RELEASE(?:\s+SAVEPOINT)?|ROLLBACK(?:\s+WORK|\s+TRANSACTION)?\s+TO(?:\s+SAVEPOINT)?)
    \s+(?P<name>[^\s;]+)""",
    re.IGNORECASE | re.VERBOSE,
)


def is_control(text: str) -> bool:
    """True for BEGIN, COMMIT, ROLLBACK, SAVEPOINT and the like; a block of code is none."""
    return _CONTROL.match(text) is not None


def savepoint(text: str) -> tuple[str, str] | None:
    """What is done with which savepoint: SAVEPOINT, RELEASE SAVEPOINT or ROLLBACK TO SAVEPOINT."""
    found = _SAVEPOINT.match(text)
    if found is None:
        return None
    first = found["verb"].split()[0].upper()
    return {"RELEASE": "RELEASE SAVEPOINT", "ROLLBACK": "ROLLBACK TO SAVEPOINT"}.get(
        first, first
    ), found["name"]
