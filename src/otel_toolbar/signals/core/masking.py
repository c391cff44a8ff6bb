"""Keeps secrets out of spans: by the name that a value goes under, and by what it looks like.

Everything a subject captures passes through here before it stands on a span. All of it is linear in
the length of the text, and never calls code of the app: a value's `__repr__` may raise, be huge, or
run a query.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache, wraps
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo

from otel_toolbar.insights import secrets
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.settings import Settings

Memory = TypeVar("Memory", bound="set[str] | dict[Any, Any]")

_SHORTEST = 13
"""Characters of the shortest secret that is one word: a card number."""

MAX_TEXT = 65_536
"""Characters of one text that are looked at; the rest is cut off."""

_SHORT = 10**12
"""Numbers below it are too short for a card's."""

_MAX_ITEMS = 20
_MAX_DEPTH = 3
_AHEAD = 4096
"""Characters beyond the limit that are looked at, so that a secret cut in two is still known."""


class _Options:
    extra: re.Pattern[str] | None = None
    limit: int = Settings().value_length


def configure(options: Settings) -> None:
    """Take `MASK` and `VALUE_LENGTH` from the settings."""
    _Options.extra = (
        re.compile("|".join(f"(?:{each})" for each in options.mask), re.IGNORECASE)
        if options.mask
        else None
    )
    _Options.limit = options.value_length
    is_secret.cache_clear()
    for memory in _memories:
        memory.clear()


_MAX_REMEMBERED, _LONGEST_REMEMBERED = 2048, 256

_memories: list[set[str] | dict[Any, Any]] = []


def remember(memory: Memory) -> Memory:
    """Let `memory`, which depends on what is masked, be emptied when that changes."""
    _memories.append(memory)
    return memory


def _remembering_the_clean(mask: Callable[[str], str]) -> Callable[[str], str]:
    """`mask` with a memory of short texts that came back as they were, of none that held a secret.

    Most come with every request.
    """
    clean: set[str] = remember(set[str]())

    @wraps(mask)
    def masked(given: str) -> str:
        if given in clean:
            return given
        shown = mask(given)
        if shown == given and len(given) <= _LONGEST_REMEMBERED:
            if len(clean) >= _MAX_REMEMBERED:
                clean.clear()
            clean.add(given)
        return shown

    return masked


@lru_cache(2048)
def is_secret(name: str) -> bool:
    """True when values under this name are masked, by our patterns or by the `MASK` setting's."""
    if secrets.is_secret(name):
        return True
    return _Options.extra is not None and _Options.extra.search(name[:256]) is not None


# Values of any type.


def value(name: str, given: Any) -> str:
    """A value by its name, as short masked text: at most `VALUE_LENGTH` characters."""
    if type(given) is int and -_SHORT < given < _SHORT and not is_secret(name):
        return str(given)  # most parameters are keys of rows
    return clean(given, name, _Options.limit)


def clean(given: Any, key: str | None = None, limit: int = 1024) -> str:
    """Any value as masked text of at most `limit` characters.

    Only values of built-in types are shown; of others the type is named, and nothing of theirs is
    called: not even `isinstance`, which asks lazy proxies for `__class__`.
    """
    if key is not None and given is not None and is_secret(key):
        return MASK
    return _cut(_shown(given, limit, 0), limit)


def _shown(given: Any, limit: int, depth: int) -> str:
    kind = cast("type[Any]", type(given))
    show = _SHOWN.get(kind)
    if show is not None:
        return show(given, limit)
    if kind in _NESTED and depth < _MAX_DEPTH:
        return _nested(given, limit, depth)
    for base, show in _SUBCLASSES:
        if issubclass(kind, base):
            return show(given, limit)
    return _type_name(kind)


def _nested(given: Any, limit: int, depth: int) -> str:
    kind = cast("type[Any]", type(given))
    opening, closing = _NESTED[kind]
    items: list[Any]
    try:
        items = list(islice(given.items() if opening == "{:" else given, _MAX_ITEMS))
    except RuntimeError:  # another thread changes it
        return _type_name(kind)
    if opening == "{:":
        parts = [_entry(key, item, limit, depth) for key, item in items]
    else:
        parts = [_quoted(item, limit, depth) for item in items]
    if len(given) > len(items):
        parts.append(f"… {len(given) - len(items)} more")
    return opening[0] + ", ".join(parts) + closing


def _entry(key: Any, item: Any, limit: int, depth: int) -> str:
    secret = type(key) is str and item is not None and is_secret(key)
    shown = MASK if secret else _quoted(item, limit, depth)
    return f"{_quoted(key, limit, depth)}: {shown}"


def _quoted(item: Any, limit: int, depth: int) -> str:
    shown = _cut(_shown(item, limit, depth + 1), limit)
    return f"'{shown}'" if type(item) is str else shown


def _string(given: str, limit: int) -> str:
    # str.__str__ gives an exact str of a subclass without asking the subclass.
    return text(str.__str__(given)[: limit + _AHEAD])


def _integer(given: int, _limit: int) -> str:
    bits = int.bit_length(given)
    return int.__repr__(given) if bits < 1024 else f"<int of {bits} bits>"


def _card_number(given: int, limit: int) -> str:
    shown = _integer(given, limit)
    return text(shown) if len(shown) >= 13 else shown


def _bytes(given: bytes, limit: int) -> str:
    raw = bytes.__getitem__(given, slice(limit + _AHEAD))
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError:
        decoded = ""
    if decoded and decoded.isprintable():
        return text(decoded)
    return f"<{bytes.__len__(given)} bytes>"


def _size(given: bytearray, _limit: int) -> str:
    return f"<{len(given)} bytes>"


def _moment(given: Any, _limit: int) -> str:
    zone = given.tzinfo
    if zone is None or type(zone) in (dt.timezone, ZoneInfo):
        return given.isoformat()
    return f"{given.replace(tzinfo=None).isoformat()} {_type_name(cast('type[Any]', type(zone)))}"


def _plain(given: Any, _limit: int) -> str:
    return str(given)


def _iso(given: dt.date, _limit: int) -> str:
    return given.isoformat()


def type_name(kind: type[Any]) -> str:
    """`module.Type`, read past any metaclass; `Type` of a built-in one."""
    described: Any = type.__dict__
    module = described["__module__"].__get__(kind)
    name = described["__qualname__"].__get__(kind)
    return f"{module}.{name}" if type(module) is str and module != "builtins" else name


def _type_name(kind: type[Any]) -> str:
    return f"<{type_name(kind)}>"


_SHOWN: dict[type[Any], Callable[[Any, int], str]] = {
    str: _string,
    int: _card_number,
    bool: _plain,
    type(None): _plain,
    float: _plain,
    Decimal: _plain,
    bytes: _bytes,
    bytearray: _size,
    dt.datetime: _moment,
    dt.time: _moment,
    dt.date: _iso,
    dt.timedelta: _plain,
    uuid.UUID: _plain,
}
_SUBCLASSES: tuple[tuple[type[Any], Callable[[Any, int], str]], ...] = (
    (str, _string),
    (int, _card_number),
    (float, lambda given, _limit: float.__repr__(given)),
    (bytes, _bytes),
)
_NESTED: dict[type[Any], tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("{", "}"),
    dict: ("{:", "}"),
}


def _cut(shown: str, limit: int) -> str:
    if not shown.isascii():
        shown = shown.encode("utf-8", "replace").decode()
    return shown if len(shown) <= limit else shown[: max(0, limit - 1)] + "…"


# Secrets by what they look like.

_MARKS = re.compile("eyJ|AKIA|ASIA|gh[pousr]_|github_pat_|xox|sk-|k_live_|k_test_|AIza|glpat-")
"""One of these is in every key of `_KEYS`."""

_KEYS = re.compile(
    r"""(?<![A-Za-z0-9_\-])(?:
      eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}(?:\.[A-Za-z0-9_\-]*)*   # JSON web token
    | (?:AKIA|ASIA)[A-Z0-9]{16}                                          # AWS
    | (?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}                        # GitHub
    | xox[abeoprs]-[A-Za-z0-9\-]{10,}                                    # Slack
    | sk-[A-Za-z0-9_\-]{20,}
    | [spr]k_(?:live|test)_[A-Za-z0-9]{10,}                              # Stripe
    | AIza[A-Za-z0-9_\-]{35}                                             # Google
    | glpat-[A-Za-z0-9_\-]{20,}                                          # GitLab
    )""",
    re.VERBOSE,
)
_SCHEMES = re.compile(
    r"""(?<!\w)(bearer\s{1,3})[A-Za-z0-9._~+/=\-]{12,}
    | (?<!\w)(basic\s{1,3})(?=[^\s]{0,512}?(?:\d|=|[a-z](?-i:[A-Z])))[A-Za-z0-9+/\-_]{8,}={0,2}""",
    re.VERBOSE | re.IGNORECASE,
)
_USER_INFO = re.compile(r"://([^\s/:@\[]{0,256}):(?!\d{1,5}[/?#])\S{1,256}@")
"""Up to the last @: a password may hold one. A port is no password."""

_PEM = re.compile(
    r"-----BEGIN ([A-Z ]{0,30})PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_CARD = re.compile(r"(?<![\w.\-])[2-6](?:[ \-]?\d){12,18}(?![\w\-])")
_NAME = re.compile(
    r"""(?<![\w\-])([\w\-]{2,64})["')\]]{0,2}\s{0,3}(?:=>|:=|==|=|:(?!:))\s{0,3}""",
)
_VALUE = re.compile(
    r"""("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\([^)]*\)?|[^\s,;&"')\]}]+)""", re.DOTALL
)
_PAIR_HINTS = re.compile(
    r"pass|pwd|secret|token|auth|cookie|credential|creds|session|key|csrf|xsrf|jwt|otp|ssn|cvv|cvc|pin"
    r"|sid|bearer|iban|card",
    re.IGNORECASE,
)


def text(given: str) -> str:
    """Free text with what looks like a secret masked, at most `MAX_TEXT` characters.

    Bearer and Basic credentials, JSON web tokens, keys of well-known services, private keys, card
    numbers, passwords in URLs, and `password=...` however it is written. Of SQLAlchemy's errors the
    parameters go: their names are not in the text.
    """
    if len(given) < _SHORTEST and given.isalnum():
        return given
    if len(given) > MAX_TEXT:
        given = given[:MAX_TEXT] + "…"
    for hint, mask in _PASSES:
        if hint(given):
            given = mask(given)
    return given


_PARAMETERS, _AFTER_PARAMETERS = "[parameters: ", "\n(Background on this error"


def _mask_parameters(given: str) -> str:
    """All parameter lists of SQLAlchemy's errors; one without an end is masked to the end."""
    first, *rest = given.split(_PARAMETERS)
    parts = [first]
    for part in rest:
        _, end, after = part.partition(_AFTER_PARAMETERS)
        parts.append(f"{MASK}]{end}{after}" if end else f"{MASK}]")
    return _PARAMETERS.join(parts)


def _has_mark(given: str) -> bool:
    return _MARKS.search(given) is not None


def _has_scheme(given: str) -> bool:
    lower = given.lower()
    return "bearer" in lower or "basic" in lower


def _mask_schemes(given: str) -> str:
    return _SCHEMES.sub(lambda match: (match[1] or match[2]) + MASK, given)


def _has_pair(given: str) -> bool:
    return ("=" in given or ":" in given) and (
        _Options.extra is not None or _PAIR_HINTS.search(given) is not None
    )


def _mask_pairs(given: str) -> str:
    """Values of secret names. What another name stands for may itself be a pair: `Error: token=...`."""
    parts: list[str] = []
    done = 0
    for name in _NAME.finditer(given):
        if name.start() < done or not is_secret(name[1]):
            continue
        value = _VALUE.match(given, name.end())
        if value is None or _NOT_SECRET.fullmatch(value[0]):
            continue
        around = value[0][0] if value[0][0] in "\"'" else ""
        parts += (given[done : name.end()], around, MASK, around)
        done = value.end()
    parts.append(given[done:])
    return "".join(parts)


_NOT_SECRET = re.compile(
    r"""none|null|true|false|bearer|basic|['"]?\*\*\*['"]?   # a scheme: another pass masks what follows
    | \?|\$\d+|:\w+|%s|%\(\w+\)?s?""",
    re.VERBOSE | re.IGNORECASE,
)
"""Values that say nothing, such as placeholders."""


def _has_digits(given: str) -> bool:
    return len(given) >= 13 and _DIGIT_RUN.search(given) is not None


_DIGIT_RUN = re.compile(r"\d[ \-]?\d[ \-]?\d[ \-]?\d")


def _mask_cards(given: str) -> str:
    return _CARD.sub(lambda match: MASK if _is_card(match[0]) else match[0], given)


_CARD_LENGTHS = {
    "2": (16,),
    "3": (14, 15, 16),
    "4": (13, 16, 19),
    "5": (16,),
    "6": (16, 17, 18, 19),
}


def _is_card(shown: str) -> bool:
    """Length, first digit and Luhn's checksum are those of a card."""
    digits = [int(char) for char in shown if char.isdecimal()]
    if len(digits) not in _CARD_LENGTHS[shown[0]]:
        return False
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


_PASSES: tuple[tuple[Callable[[str], bool], Callable[[str], str]], ...] = (
    (lambda given: _PARAMETERS in given, _mask_parameters),
    (lambda given: "PRIVATE KEY-----" in given, lambda given: _PEM.sub(MASK, given)),
    (_has_mark, lambda given: _KEYS.sub(MASK, given)),
    (_has_scheme, _mask_schemes),
    (lambda given: "://" in given and "@" in given,
     lambda given: _USER_INFO.sub(rf"://\1:{MASK}@", given)),
    (_has_pair, _mask_pairs),
    (_has_digits, _mask_cards),
)  # fmt: skip

_TOKEN_CHARACTERS = re.compile(r"[A-Za-z0-9_\-.=+/~:|%]{20,}")


def is_token(given: str) -> bool:
    """True for what is long and random enough to be a key: a session id, a hash, a UUID."""
    return (
        _TOKEN_CHARACTERS.fullmatch(given) is not None
        and sum(char.isdigit() for char in given[:MAX_TEXT]) >= 3
    )


# Parts of a request.

_WITH_URL = secrets.words(
    "referer location content-location origin link refresh x-original-url x-rewrite-url "
    "hx-current-url hx-redirect hx-location hx-push-url hx-replace-url"
)
_PLAIN = secrets.words(
    "host user-agent accept accept-encoding accept-language content-type content-length date server "
    "traceparent etag if-none-match vary connection cache-control transfer-encoding "
    "server-timing"
)
"""Headers that hold no secret: left as they are, for they come with every request."""


def header(name: str, given: str) -> str:
    """The value of a header, by its lower-case name."""
    if name in _PLAIN:
        return given
    if name == "cookie":
        return "; ".join(_cookie_pair(part) for part in given.split("; "))
    if name == "set-cookie":
        first, semicolon, flags = given.partition(";")
        return _cookie_pair(first) + semicolon + flags
    if name.endswith("authorization"):
        scheme, space, credentials = given.strip().partition(" ")
        return f"{scheme} {MASK}" if space and credentials and scheme.isalpha() else MASK
    if is_secret(name):
        return MASK
    return url(given) if name in _WITH_URL else text(given)


@_remembering_the_clean
def _cookie_pair(pair: str) -> str:
    name, equals, given = pair.partition("=")
    return name + equals + cookie(name.strip(), given) if equals else _bare(pair)


def _bare(given: str) -> str:
    return MASK if is_token(given) else text(given)


def cookie(name: str, given: str) -> str:
    """The value of a cookie: masked by its name, or when it looks like a key."""
    if given and is_secret(name):
        return MASK
    return _cut(_bare(given), _Options.limit)


def query_string(given: str | bytes) -> str:
    """A query string with secrets masked; all else stays as it was, byte for byte.

    Bytes that are not UTF-8 are read as Latin-1.
    """
    return _query(_decoded(given) if isinstance(given, bytes) else given)


@_remembering_the_clean
def _query(given: str) -> str:
    if len(given) > MAX_TEXT:
        given = given[:MAX_TEXT] + "…"
    return "&".join(map(_query_pair, given.split("&")))


def _decoded(given: bytes) -> str:
    try:
        return given.decode("utf-8")
    except UnicodeDecodeError:
        return given.decode("latin-1")


def _query_pair(pair: str) -> str:
    name, equals, given = pair.partition("=")
    if not equals:
        return pair if _plain_text(pair) == unquote_plus(pair) else MASK
    return name + equals + MASK if given and _is_secret_pair(name, given) else pair


def _is_secret_pair(name: str, given: str) -> bool:
    plain_name = unquote_plus(name)
    if is_secret(plain_name) or (secrets.is_weak(plain_name) and is_token(given)):
        return True
    if len(given) < 8 or (len(given) < _SHORTEST and given.isalnum()):
        return False  # `text` would leave it as it is: most values are such
    return _plain_text(given) != unquote_plus(given)


def _plain_text(given: str) -> str:
    """A percent-encoded value, decoded and masked: when that changes it, it holds a secret."""
    return url(unquote_plus(given))


_BEFORE_TOKEN = secrets.words(
    "reset verify verification confirm confirmation activate activation invite invites invitation "
    "invitations unsubscribe magic recover recovery"
)
"""Parts of a path that a token follows: `/reset/8f3a...`."""


@_remembering_the_clean
def path(given: str) -> str:
    """A path: what looks like a key is masked after a part that announces one."""
    parts = text(given).split("/")
    announced = False
    for place, part in enumerate(parts):
        if announced and is_token(part):
            parts[place] = MASK
        announced = announced or part in _BEFORE_TOKEN or is_secret(part)
    return "/".join(parts)


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,40}://|//)?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)


@_remembering_the_clean
def url(given: str) -> str:
    """A URL or a DSN: user info, query, fragment and what in the path looks like a secret.

    Any other text is treated as `text` does.
    """
    if len(given) > MAX_TEXT:
        given = given[:MAX_TEXT] + "…"
    scheme, rest, query, fragment = cast("re.Match[str]", _URL.fullmatch(given)).groups()
    if not scheme and not query and not fragment:
        return path(given)
    return (
        (scheme or "")
        + (_authority_and_path(rest) if scheme else path(rest))
        + ("?" + _inner_query(query[1:]) if query else "")
        + ("#" + _inner_query(fragment[1:]) if fragment else "")
    )


def _authority_and_path(rest: str) -> str:
    # The last @ counts: passwords with an @ or a / that nobody encoded are met with.
    user, at, remainder = rest.rpartition("@")
    if not at:
        return path(rest)
    name, colon, _ = user.partition(":")
    shown = f"{name}:{MASK}" if colon else _bare(name)
    return f"{shown}@{path(remainder)}"


def _inner_query(given: str) -> str:
    """A query within a text that was decoded before: not a URL again, or it would never end."""
    return "&".join(map(_inner_pair, given.split("&")))


def _inner_pair(pair: str) -> str:
    name, equals, given = pair.partition("=")
    if not equals:
        return text(pair)
    plain_name = unquote_plus(name)
    secret = is_secret(plain_name) or (secrets.is_weak(plain_name) and is_token(given))
    plain = unquote_plus(given)
    return name + equals + (MASK if given and (secret or text(plain) != plain) else given)
