"""Every setting: its name, type, default and meaning. Documentation and CLI flags come from here.

A setting is read from the environment as `OTEL_TOOLBAR_<NAME>`, or given to `otel_toolbar.wrap` and
`ToolbarMiddleware` as a keyword argument of the same name in lower case. A value that is not allowed
never stops the app: the default is used and one line names the setting and what is allowed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

PREFIX = "OTEL_TOOLBAR_"
"""Prefix of the environment variables."""

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_UNITS = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "kb": 2**10,
    "mib": 2**20,
    "mb": 2**20,
    "gib": 2**30,
    "gb": 2**30,
}


class SettingError(ValueError):
    """A value that a setting does not allow; its text says what is allowed."""


def _auto(text: str) -> str:
    word = text.strip().lower()
    if word == "auto":
        return word
    return "true" if _boolean(text, allowed="auto, true, false") else "false"


def _boolean(text: str, allowed: str = "true, false") -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise SettingError(f"allowed: {allowed}")


_MOST = 10**9
"""Of any number; as ms it is 11 days. In ns it has to fit into 64 bits."""


def _number(text: str, least: int = 0) -> int:
    try:
        number = int(text.strip())
    except ValueError:
        raise SettingError(f"allowed: a whole number of at least {least}") from None
    if number < least:
        raise SettingError(f"allowed: a whole number of at least {least}")
    if number > _MOST:
        raise SettingError(f"allowed: a whole number of {_MOST} at most")
    return number


def _positive(text: str) -> int:
    return _number(text, 1)


def _size(text: str) -> int:
    """Bytes, with an optional unit: `67108864`, `64 MiB`."""
    match = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise SettingError("allowed: a number of bytes, such as 67108864 or 64MiB")
    return int(match[1]) * _UNITS[match[2].lower()]


def _age(text: str) -> int | None:
    return None if text.strip().lower() in ("", "none") else _positive(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _captures(text: str) -> tuple[str, ...]:
    words = _words(text)
    if set(words) - set(CAPTURES):
        raise SettingError(f"allowed: {', '.join(CAPTURES)}")
    return words


def _patterns(text: str) -> tuple[str, ...]:
    words = _words(text)
    for word in words:
        try:
            re.compile(word)
        except re.error as error:
            raise SettingError(f"allowed: regular expressions; {word!r}: {error}") from None
    return words


def _path(text: str) -> str:
    path = "/" + text.strip().strip("/")
    if path == "/" or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        raise SettingError("allowed: a path such as /_toolbar, of letters, digits and . _ ~ -")
    return path


def _secret(text: str) -> str | None:
    return text.strip() or None


def _store(text: str) -> str:
    word = text.strip().lower()
    if word not in ("auto", "memory"):
        raise SettingError("allowed: auto, memory")
    return word


def _editor(text: str) -> str:
    word = text.strip()
    if word in EDITORS or ("{path}" in word and "{line}" in word):
        return word
    raise SettingError(f"allowed: {', '.join(EDITORS)}, or a URL with {{path}} and {{line}}")


CAPTURES = ("locals", "templates")
"""What `CAPTURE` can name."""

EDITORS = {
    "vscode": "vscode://file{path}:{line}",
    "vscodium": "vscodium://file{path}:{line}",
    "cursor": "cursor://file{path}:{line}",
    "zed": "zed://file{path}:{line}",
    "pycharm": "pycharm://open?file={path}&line={line}",
    "sublime": "subl://open?url=file://{path}&line={line}",
    "none": "",
}
"""URL templates of the editors that `EDITOR` knows by name."""


def _setting(
    default: Any, parse: Callable[[str], Any], meaning: str, shown: str | None = None
) -> Any:
    return field(default=default, metadata={"parse": parse, "meaning": meaning, "shown": shown})


@dataclass(frozen=True)
class Settings:
    """All settings, parsed. Times are in ms, sizes in bytes."""

    enabled: str = _setting(
        "auto",
        _auto,
        "`true`, `false` or `auto`. `auto` is off when the resource attribute"
        " `deployment.environment.name` is prod, production, live or staging.",
    )
    path: str = _setting("/_toolbar", _path, "Where the toolbar's own pages are served.")
    token: str | None = _setting(
        None,
        _secret,
        "Who has it may see the toolbar from anywhere: open `/_toolbar?token=...` once.",
        "none",
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), _words, "Further `Host` names under which loopback clients see the toolbar.", "none"
    )
    store: str = _setting("auto", _store, "Where traces are kept: `auto` or `memory`.")
    store_max_traces: int = _setting(200, _positive, "Traces kept; the oldest goes first.")
    store_max_bytes: int = _setting(64 * 2**20, _size, "Bytes kept.", "64 MiB")
    store_max_age: int | None = _setting(None, _age, "Age in ms after which a trace goes.", "none")
    max_spans: int = _setting(5000, _positive, "Spans kept of one trace; the rest is counted.")
    exclude: tuple[str, ...] = _setting(
        (),
        _patterns,
        "Regular expressions; a request whose path matches one is not watched.",
        "none",
    )
    panels: tuple[str, ...] = _setting((), _words, "Panels shown: a list, or `+a,-b`.", "all")
    signals: tuple[str, ...] = _setting(
        (),
        _words,
        "Signals captured: a list, or `+a,-b`. `loads` is off unless named: it tells which attributes that"
        " the ORM loaded were read.",
        "all but loads",
    )
    capture: tuple[str, ...] = _setting(
        (),
        _captures,
        "Deep captures: `locals`, local variables with every exception; `templates`, the values that"
        " templates are given.",
        "none",
    )
    stacks: bool = _setting(True, _boolean, "Record the app's whole stack of each query.")
    value_length: int = _setting(1024, _positive, "Characters kept of a captured value.")
    mask: tuple[str, ...] = _setting(
        (), _patterns, "Further regular expressions of keys whose values are masked.", "none"
    )
    n_plus_one: int = _setting(5, _positive, "Like queries from one place that make a warning.")
    n_plus_one_duration: int = _setting(50, _number, "ms together at which two of them do.")
    jobs_n_plus_one: int = _setting(3, _positive, "Like jobs from one place that make a warning.")
    jobs_value_length: int = _setting(
        100, _positive, "Characters kept of a job's arguments, and of its result."
    )
    slow_query: int = _setting(100, _number, "ms from which a query is marked slow.")
    slow_request: int = _setting(500, _number, "ms from which a request is marked slow.")
    max_tasks: int = _setting(
        1000, _positive, "asyncio tasks of a request that get a span; the rest is counted."
    )
    await_threshold: int = _setting(10, _positive, "ms from which an await is a span.")
    blocking_threshold: int = _setting(
        100, _positive, "ms from which holding up the event loop is a blocking call."
    )
    lag_interval: int = _setting(
        10, _positive, "ms between two looks at the event loop's lag, while requests run."
    )
    websocket_max_connections: int = _setting(
        50, _number, "Open websocket connections watched in detail; of further ones only totals."
    )
    websocket_max_messages: int = _setting(
        100, _positive, "Last messages kept of a connection, with what they caused."
    )
    websocket_content: bool = _setting(True, _boolean, "Record the text of websocket messages.")
    websocket_message_size: int = _setting(
        10240, _size, "Bytes kept of a message's text; 65536 at most."
    )
    websocket_binary: bool = _setting(
        False, _boolean, "Record the bytes of binary messages, as hex."
    )
    websocket_binary_size: int = _setting(256, _size, "Bytes kept of a binary message.")
    websocket_sample: int = _setting(
        1, _positive, "Record every Nth websocket message of each direction; all are counted."
    )
    websocket_ttl: int = _setting(
        3_600_000, _positive, "ms after which a closed websocket connection goes from the store."
    )
    alerts: tuple[str, ...] = _setting(
        (),
        _words,
        "Alerts that are looked for: a list, or `-name` to silence one; their names stand in"
        " [Alerts](alerts.md).",
        "all",
    )
    editor: str = _setting(
        "vscode",
        _editor,
        "Editor that opens a source line: "
        + ", ".join(EDITORS)
        + ", or a URL with `{path}` and `{line}`.",
    )


@dataclass(frozen=True)
class Documented:
    """A setting as documentation and the command line show it."""

    name: str
    variable: str
    default: str
    meaning: str


def documented() -> list[Documented]:
    """Every setting in order."""
    return [
        Documented(
            name=f.name,
            variable=PREFIX + f.name.upper(),
            default=f.metadata["shown"] or str(f.default).lower()
            if f.type == "bool"
            else str(f.metadata["shown"] or f.default),
            meaning=f.metadata["meaning"],
        )
        for f in fields(Settings)
    ]


def load(
    environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[Settings, list[str]]:
    """Settings from the environment and from keyword arguments, which win.

    Returns them with one line for each value that was not allowed or not known.
    """
    environ = os.environ if environ is None else environ
    given = {
        name[len(PREFIX) :].lower(): (name, value)
        for name, value in environ.items()
        if name.startswith(PREFIX)
    }
    given |= {name: (name, _as_text(value)) for name, value in (overrides or {}).items()}
    values: dict[str, Any] = {}
    complaints: list[str] = []
    for name, (shown, text) in given.items():
        try:
            values[name] = _parse(name, text)
        except SettingError as error:
            complaints.append(_complaint(name, shown, text, error))
    return replace(Settings(), **values), complaints


def selected(
    choice: tuple[str, ...], known: tuple[str, ...], off: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The names of `known` that a `PANELS` or `SIGNALS` value selects, in the order of `known`.

    An empty choice selects all but those that are `off` unless named; `+a,-b` changes that; plain
    names are the whole list.
    """
    plain = {name for name in choice if name[0] not in "+-"}
    removed = {name[1:] for name in choice if name[0] == "-"}
    added = {name[1:] for name in choice if name[0] == "+"}
    by_default = {name for name in known if name not in off and not plain}
    return tuple(
        name for name in known if name in by_default | plain | added and name not in removed
    )


def _parse(name: str, text: str) -> Any:
    parse = next((f.metadata["parse"] for f in fields(Settings) if f.name == name), None)
    if parse is None:
        near = difflib.get_close_matches(name, [f.name for f in fields(Settings)], 1)
        raise SettingError(
            f"unknown setting; did you mean {PREFIX}{near[0].upper()}?"
            if near
            else "unknown setting"
        )
    return parse(text)


def _complaint(name: str, shown: str, text: str, error: SettingError) -> str:
    value = "" if name == "token" else f"={text!r}"
    return f"{shown}{value} is ignored: {error}"


def _as_text(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(str(item) for item in value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return "" if value is None else str(value)
