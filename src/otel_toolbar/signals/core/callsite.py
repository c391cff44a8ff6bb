"""Where in the app's own code something happens: a plain walk over the frames, no `traceback` module.

The app's own is what is neither of the standard library nor an installed package nor ours. SQLAlchemy
runs async work in greenlets: the walk goes on in the greenlet that waits. A Jinja2 template counts as
the app's, with the line of the template.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Literal, NamedTuple

MAX_FRAMES = 20
"""App frames kept of one stack."""

MAX_DEPTH = 500
"""Frames looked at; recursion deeper than that is no place anybody looks for."""

_FRAMEWORKS = frozenset(
    {
        "advanced_alchemy", "aiomysql", "aiosqlite", "anyio", "asgiref", "asyncmy", "asyncpg",
        "channels", "databases", "django", "fastapi", "flask", "granian", "greenlet",
        "gunicorn", "hypercorn", "jinja2", "litestar", "logfire", "opentelemetry",
        "otel_toolbar", "psycopg", "psycopg2", "pymysql", "quart", "saq", "sqlalchemy",
        "sqlmodel", "starlette", "strawberry", "trio", "uvicorn", "uvloop", "werkzeug",
        "wrapt",
    }
)  # fmt: skip
"""Installed packages that are never where a developer looks for a query's origin."""

Kind = Literal["app", "package", "library", "generated", "loop"]
_MAX_KINDS = 10_000
_paths = sysconfig.get_paths()
_STDLIB = tuple({_paths["stdlib"], _paths["platstdlib"]})
_SITES = ("/site-packages/", "/dist-packages/", "\\site-packages\\")
_OURS = __file__.replace("\\", "/").rpartition("/signals/")[0]
# Where a task, a thread or the process begins: beyond is who runs the loop, not who asked.
_LOOPS = ("asyncio/events.py", "asyncio/base_events.py", "asyncio/runners.py", "/threading.py")


class Place(NamedTuple):
    """A line of code. Of a template, the template's line."""

    file: str
    line: int
    function: str
    text: str
    """`file:line function`."""


def stack(limit: int = MAX_FRAMES) -> list[Place]:
    """The app's frames of who called, innermost first; empty when none is the app's.

    An app that is itself installed as a package is found by its frames outside of the frameworks.
    """
    own: list[Place] = []
    installed: list[Place] = []
    kinds = _kinds
    depth = MAX_DEPTH
    for frame in _beginnings(sys._getframe(1)):  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        while frame is not None and depth:
            depth -= 1
            filename = frame.f_code.co_filename
            kind = kinds.get(filename) or _learn(filename)
            if kind == "library":  # most are: this loop runs for every query
                pass
            elif kind == "loop" or len(own) == limit:
                return own or installed
            elif kind == "app" or (kind == "generated" and _template(frame) is not None):
                own.append(_place(frame))
            elif kind == "package" and len(installed) < limit:
                installed.append(_place(frame))
            frame = frame.f_back  # noqa: PLW2901
    return own or installed


def _beginnings(frame: FrameType) -> Iterator[FrameType | None]:
    """The innermost frame of this greenlet, and of each that waits for it."""
    yield frame
    module: Any = sys.modules.get("greenlet")
    waiting = module.getcurrent().parent if module is not None else None
    while waiting is not None:
        yield waiting.gr_frame
        waiting = waiting.parent


_kinds: dict[str, Kind] = {}


def _learn(filename: str) -> Kind:
    if len(_kinds) > _MAX_KINDS:  # an app that compiles code under ever new names
        _kinds.clear()
    kind = _kinds[filename] = kind_of(filename)
    return kind


def kind_of(filename: str) -> Kind:
    """Whose code a file is."""
    path = filename.replace("\\", "/")
    if path.endswith(_LOOPS):
        return "loop"
    if path.startswith("<"):
        return "generated"
    if path.startswith((_OURS, sys.prefix + "/bin/", "/usr/bin/")):
        return "library"
    for site in _SITES:
        if site in filename:
            package = filename.rpartition(site)[2].replace("\\", "/").partition("/")[0]
            known = package.removesuffix(".py") in _FRAMEWORKS
            return "library" if known else "package"
    return "library" if filename.startswith(_STDLIB) else "app"


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    template = _template(frame)
    if template is not None:
        line = template.get_corresponding_lineno(frame.f_lineno)
        return _made(template.filename or code.co_filename, line, f"template {template.name}")
    line = frame.f_lineno
    known = _places.get((code, line))
    if known is None:
        module = frame.f_globals.get("__name__")
        name = f"{module}.{code.co_name}" if isinstance(module, str) else code.co_name
        if len(_places) > _MAX_PLACES:
            _places.clear()
        known = _places[code, line] = _made(code.co_filename, line, name)
    return known


_places: dict[tuple[CodeType, int], Place] = {}
_MAX_PLACES = 4096


def _made(file: str, line: int, function: str) -> Place:
    return Place(file, line, function, f"{file}:{line} {function}")


def _template(frame: FrameType) -> Any:
    """The Jinja2 template that a frame renders; its compiled code knows it."""
    return frame.f_globals.get("__jinja_template__")
