"""Where in the app's own code something happens: a plain walk over the frames, no `traceback` module.

The app's own is what is neither of the standard library nor an installed package nor ours. SQLAlchemy
runs async work in greenlets: the walk goes on in the greenlet that waits. A Jinja2 template counts as
the app's, with the line of the template.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from types import FrameType
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

Kind = Literal["app", "package", "library", "loop"]
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

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


def stack(limit: int = MAX_FRAMES) -> list[Place]:
    """The app's frames of who called, innermost first; empty when none is the app's.

    An app that is itself installed as a package is found by its frames outside of the frameworks.
    """
    own: list[Place] = []
    installed: list[Place] = []
    depth = 0
    walk = _Walk(sys._getframe(1))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    while (frame := walk.frame) is not None and len(own) < limit and depth < MAX_DEPTH:
        kind = kind_of(frame.f_code.co_filename)
        if kind == "app" or (kind == "library" and _template(frame) is not None):
            own.append(_place(frame))
        elif kind == "package" and len(installed) < limit:
            installed.append(_place(frame))
        elif kind == "loop":
            break
        walk.outward()
        depth += 1
    return own or installed


class _Walk:
    """From a frame outward, through greenlets."""

    __slots__ = ("_greenlet", "frame")

    def __init__(self, frame: FrameType | None) -> None:
        self.frame = frame
        module: Any = sys.modules.get("greenlet")
        self._greenlet: Any = module.getcurrent() if module is not None else None

    def outward(self) -> None:
        frame = self.frame.f_back if self.frame is not None else None
        while frame is None and self._greenlet is not None:
            self._greenlet = self._greenlet.parent
            frame = None if self._greenlet is None else self._greenlet.gr_frame
        self.frame = frame


@lru_cache(maxsize=4096)
def kind_of(filename: str) -> Kind:
    """Whose code a file is."""
    path = filename.replace("\\", "/")
    if path.endswith(_LOOPS):
        return "loop"
    if path.startswith(("<", _OURS, sys.prefix + "/bin/", "/usr/bin/")):
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
        return Place(template.filename or code.co_filename, line, f"template {template.name}")
    return _code_place(code.co_filename, frame.f_lineno, code.co_name, _module(frame))


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


@lru_cache(maxsize=4096)
def _code_place(file: str, line: int, function: str, module: str) -> Place:
    return Place(file, line, f"{module}.{function}" if module else function)


def _template(frame: FrameType) -> Any:
    """The Jinja2 template that a frame renders; its compiled code knows it."""
    return frame.f_globals.get("__jinja_template__")
