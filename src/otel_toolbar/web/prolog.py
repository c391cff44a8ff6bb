"""Where in a stream of HTML the tag goes, found while the stream passes.

Only the beginning of the document is read, token by token as browsers do it, so that a `<head>` in
a comment, a script or an attribute is not taken for one. Bytes are looked at, never held back: of a
token cut by the end of a chunk a copy is kept until the next chunk completes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Final

LIMIT: Final = 64 * 1024
"""Bytes of a document that are read at most."""
PENDING: Final = 8 * 1024
"""Bytes of an unfinished token kept at most, as they are read again with the next chunk."""
LONGEST_BEGINNING: Final = 4 * 1024
"""Bytes up to the end of a `<head>` that are remembered at most."""
PRESCAN: Final = 1024
"""Bytes in which browsers look for the encoding of a document that has no other label."""

_UTF8_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(rb"[\t\n\f\r ]*")
_COMMENT_EMPTY: Final = re.compile(rb"<!---?>")
_COMMENT_END: Final = re.compile(rb"--!?>")
_TITLE_END: Final = re.compile(rb"</title(?=[\t\n\f\r />])", re.IGNORECASE)
_TAG_NAME: Final = re.compile(rb"<([A-Za-z][^\t\n\f\r />]*)")
_BETWEEN_ATTRIBUTES: Final = re.compile(rb"[\t\n\f\r /]*")
# An unfinished quotation matches to the end of the data, where the missing `>` is noticed.
_ATTRIBUTE: Final = re.compile(
    rb"(=?[^\t\n\f\r />=]*)"
    rb"(?:[\t\n\f\r ]*=[\t\n\f\r ]*(?:\"([^\"]*)\"?|'([^']*)'?|([^\t\n\f\r >]*)))?"
)
_POLICY_META: Final = re.compile(rb"<meta[\t\n\f\r /][^<>]*content-security-policy", re.IGNORECASE)

_UNFINISHED: Final = -1
# Elements over which the search for the encoding's label goes on. Not `base`: it would change where
# our own address leads.
_BEFORE_LABEL: Final = ("meta", "link", "title")


@dataclass
class Token:
    """A piece of the prolog: `text`, `comment`, `doctype`, `/` for an end tag, or a tag's name."""

    name: str
    end: int
    attributes: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])


_latest = b""
"""Up to the end of its `<head>`, the document read last: an app's pages mostly begin alike."""


def _remember(beginning: bytes) -> None:
    global _latest
    if len(beginning) <= LONGEST_BEGINNING:
        _latest = beginning


class Prolog:
    """Looks for the one place of the tag in a document that comes in chunks.

    `labelled`: the response header names the encoding. `fragments`: what has no doctype, `<html>`
    or `<head>` is a document as well, for the browser said that it asked for one.
    """

    def __init__(self, *, labelled: bool, fragments: bool) -> None:
        self.done = False
        self.policies: list[str] = []
        """Security policies that the document itself declares, as far as it has been seen."""
        self._labelled = labelled
        self._document = fragments
        self._offset = 0  # of the pending bytes, in the document
        self._pending = b""
        self._begun = False

    def feed(self, chunk: bytes, *, last: bool) -> int | None:
        """The offset in `chunk` at which the tag goes; None if not there. `done`: it is over."""
        known = len(self._pending)
        data = (self._pending + chunk)[: LIMIT - self._offset]
        # NUL bytes: UTF-16 without a mark, or no text at all. ASCII must not go in there.
        place = None if b"\0" in data else self._search(data, last)
        if place is not None:
            self.done = True
            self._find_policies(data, place)
            # Behind the start of the chunk lies what has been sent: too late to stand before that.
            return place - known if place >= known else None
        self.done = self.done or last or b"\0" in data or self._exhausted(data)
        return None

    def _exhausted(self, data: bytes) -> bool:
        self._offset += len(data) - len(self._pending)
        return self._offset + len(self._pending) >= LIMIT or len(self._pending) > PENDING

    def _search(self, data: bytes, last: bool) -> int | None:
        fresh = self._labelled and not self._begun and not self._pending
        if fresh and _latest and data.startswith(_latest):
            self._begun = True
            return len(_latest)
        start = self._begin(data)
        while not self.done and start != _UNFINISHED:
            start = _skip(_SPACE, data, start)
            token = _read(data, start)
            if token.end == _UNFINISHED:
                self._pending = data[start:]
                break
            if self._follows(token):
                if fresh:
                    _remember(data[: token.end])
                return token.end
            if self._precedes(token):
                return self._before(data, start, last)
            self._pass(token)
            start = token.end
        return None

    def _begin(self, data: bytes) -> int:
        """Skip a byte order mark, which says that the encoding is UTF-8; give up on another one."""
        if self._begun:
            return 0
        self.done = data[:1] in (b"\xfe", b"\xff")
        self._pending = data
        if len(data) < len(_UTF8_BOM) and _UTF8_BOM.startswith(data):
            return _UNFINISHED
        self._begun = True
        marked = data.startswith(_UTF8_BOM)
        self._labelled = self._labelled or marked
        return len(_UTF8_BOM) if marked else 0

    def _follows(self, token: Token) -> bool:
        """The tag goes right after `<head>`, or after the element that names the encoding."""
        if self._labelled:
            return token.name == "head"
        return token.name == "meta" and _names_encoding(token.attributes)

    def _precedes(self, token: Token) -> bool:
        """The tag goes before the first thing that is not part of the prolog."""
        if token.name in ("comment", "doctype", "html", "head"):
            return False
        return self._labelled or token.name not in _BEFORE_LABEL

    def _before(self, data: bytes, start: int, last: bool) -> int | None:
        if self._document and (self._labelled or self._label_cannot_follow(data, start, last)):
            return start
        self.done = True
        return None

    def _label_cannot_follow(self, data: bytes, start: int, last: bool) -> bool:
        """True when our bytes push no encoding label out of the part where browsers look for it."""
        end = PRESCAN - self._offset
        whole = last or len(data) >= end
        return whole and b"charset" not in data[start : max(start, end)].lower()

    def _pass(self, token: Token) -> None:
        self._document = self._document or token.name in ("doctype", "html", "head")
        if token.name == "meta":
            self._add_policy(token.attributes)

    def _find_policies(self, data: bytes, start: int) -> None:
        if b"content-security-policy" in data[start:].lower():
            match = _POLICY_META.search(data, start)
            while match is not None:
                token = _read_tag(data, match.start())
                if token.end == _UNFINISHED:
                    self.policies.append("script-src 'none'")  # not known yet: nothing is allowed
                    break
                self._add_policy(token.attributes)
                match = _POLICY_META.search(data, token.end)

    def _add_policy(self, attributes: dict[bytes, bytes]) -> None:
        if attributes.get(b"http-equiv", b"").strip().lower() == b"content-security-policy":
            self.policies.append(unescape(attributes.get(b"content", b"").decode("latin-1")))


def _names_encoding(attributes: dict[bytes, bytes]) -> bool:
    if b"charset" in attributes:
        return True
    declared = attributes.get(b"http-equiv", b"").strip().lower() == b"content-type"
    return declared and b"charset" in attributes.get(b"content", b"").lower()


def _read(data: bytes, start: int) -> Token:
    """The token that begins at `start`, which is no white space."""
    if start == len(data):
        return Token("text", _UNFINISHED)
    if data[start : start + 1] != b"<":
        return Token("text", start + 1)
    following = data[start + 1 : start + 2]
    if following in (b"", b"!", b"?"):
        return _read_markup(data, start)
    if following == b"/":
        return Token("/", start + 2)
    return _read_tag(data, start) if following.isalpha() else Token("text", start + 1)


def _read_markup(data: bytes, start: int) -> Token:
    """A comment, a doctype, or one of the oddities that browsers read as comments."""
    opening = data[start : start + 9].lower()
    if opening.startswith(b"<!--"):
        match = _COMMENT_EMPTY.match(data, start) or _COMMENT_END.search(data, start + 4)
        return Token("comment", match.end() if match else _UNFINISHED)
    if b"<!--".startswith(opening):
        return Token("comment", _UNFINISHED)
    end = data.find(b">", start) + 1 or _UNFINISHED
    return Token("doctype" if opening == b"<!doctype" else "comment", end)


def _read_tag(data: bytes, start: int) -> Token:
    match = _TAG_NAME.match(data, start)
    assert match is not None
    token = Token(match[1].lower().decode("latin-1"), _UNFINISHED)
    position = match.end()
    while True:
        position = _skip(_BETWEEN_ATTRIBUTES, data, position)
        if position == len(data):
            return token
        if data[position : position + 1] == b">":
            break
        match = _ATTRIBUTE.match(data, position)
        assert match is not None
        token.attributes.setdefault(match[1].lower(), match[2] or match[3] or match[4] or b"")
        position = match.end()
    token.end = _end_of_title(data, position) if token.name == "title" else position + 1
    return token


def _skip(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    match = pattern.match(data, start)
    return match.end() if match else start


def _end_of_title(data: bytes, start: int) -> int:
    """A title's text may look like tags, so it is one token together with its end tag."""
    match = _TITLE_END.search(data, start)
    return data.find(b">", match.end()) + 1 or _UNFINISHED if match else _UNFINISHED
