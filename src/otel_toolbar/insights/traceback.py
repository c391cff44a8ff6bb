"""A Python traceback, read from its text: the exceptions of a chain with their frames.

The text is what `traceback` prints (https://docs.python.org/3/library/traceback.html), of groups too.
Whatever is not understood is left out; a text of another language gives no frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Relation = Literal["", "cause", "context"]
"""How an exception led to the next one: `raise ... from`, or while that was being handled."""

MAX_LENGTH = 200_000
"""Characters that are read, the last ones: there stands what was raised."""

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_FRAME = re.compile(r'File "([^"]{1,1000})", line (\d{1,9})(?:, in (.{1,300}))?')
_GROUP = "Exception Group Traceback"
_MARGIN = re.compile(r"^ *[|+] ")
"""What stands before each line of a group's traceback."""

_RAISED = re.compile(r"([A-Za-z_][\w.]{0,200})(?:: (.*))?")
_INSTALLED = re.compile(
    r"[/\\](?:site-packages|dist-packages|node_modules|vendor)[/\\]"
    r"|[/\\]lib(?:64)?[/\\]python\d|[/\\]Lib[/\\]|[/\\]otel_toolbar[/\\]signals[/\\]|^<(?!template)|^node:"
)


@dataclass(frozen=True)
class Frame:
    """A call on the way to the exception."""

    path: str
    line: int
    function: str
    code: str
    """The source line, empty when the traceback has none."""

    @property
    def own(self) -> bool:
        """True for the app's own code, told by the path: not a library's, not the language's."""
        return _INSTALLED.search(self.path) is None


@dataclass
class Raised:
    """One exception with its frames, outermost first."""

    type: str = ""
    message: str = ""
    relation: Relation = ""
    """To the next one that was raised; empty for the last."""
    frames: list[Frame] = field(default_factory=list[Frame])


@lru_cache(maxsize=128)
def read(text: str) -> tuple[Raised, ...]:
    """The exceptions in a traceback, the one raised last first; empty when it has no frames."""
    chain: list[Raised] = []
    current = Raised()
    group = _GROUP in text
    for given in text[-MAX_LENGTH:].splitlines():
        line = _MARGIN.sub("", given) if group else given
        bare = line.strip()
        relation = _relation(bare)
        if relation:
            current.relation = relation
            chain.append(current)
            current = Raised()
        else:
            _take(current, bare, indented=line[:1] == " ")
    chain.append(current)
    return tuple(raised for raised in reversed(chain) if raised.frames)


def _relation(line: str) -> Relation:
    return "cause" if line == _CAUSE else "context" if line == _CONTEXT else ""


def _take(current: Raised, line: str, *, indented: bool) -> None:
    """Read one line into the exception that it belongs to."""
    frame = _FRAME.fullmatch(line)
    if frame is not None:
        current.frames.append(Frame(frame[1], int(frame[2]), frame[3] or "", ""))
    elif not current.frames or set(line) <= set("^~ "):
        return
    elif indented and not current.type:
        if not current.frames[-1].code:
            last = current.frames.pop()
            current.frames.append(Frame(last.path, last.line, last.function, line))
    elif (raised := _RAISED.fullmatch(line)) and not current.type:
        current.type, current.message = raised[1], raised[2] or ""
    elif current.type:
        current.message += "\n" + line
