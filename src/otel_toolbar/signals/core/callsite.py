"""Where in the app's own code something happens: a plain walk over the frames, no `traceback` module.

The app's own is what is neither of the standard library nor an installed package nor ours. SQLAlchemy
runs async work in greenlets: the walk goes on in the greenlet that waits. A Jinja2 template counts as
the app's, with the line of the template. Where a task has no frame of the app's, as in
`gather(*(order.awaitable_attrs.items for ...))`, the line that awaits the task is taken.

A stack is told by its code objects and instructions alone; lines and names are looked up the first
time, so that a loop pays for the walk only.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from itertools import repeat
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from otel_toolbar import semconv
from otel_toolbar.insights.call_path import call_path
from otel_toolbar.insights.secrets import words

MAX_FRAMES = 20
"""App frames kept of one stack."""

MAX_DEPTH = 500
"""Frames looked at; recursion deeper than that is no place anybody looks for."""

_MAX_STACKS, _MAX_FILES = 2048, 8192
"""Stacks and files that are remembered; beyond, they are learnt anew."""

_FRAMEWORKS = words(
    """_pytest advanced_alchemy aiocache aiohttp aiomysql aiosqlite anyio asgiref asyncmy asyncpg
    channels click databases django fastapi flask granian graphql greenlet gunicorn httpcore httpx
    hypercorn jinja2 litestar litestar_saq logfire opentelemetry otel_toolbar pluggy psycopg psycopg2
    pymysql pytest pytest_asyncio quart redis requests saq sqlalchemy sqlmodel starlette strawberry trio
    urllib3 uvicorn uvloop werkzeug wrapt"""
)
"""Installed packages that are never where a developer looks for a query's origin."""

LIBRARY: Final = 0
PACKAGE: Final = 1
APP: Final = 2
EDGE: Final = 3
ROUTER: Final = 4
"""Whose code a file is. EDGE is where a task, a thread or a request begins: beyond is not who asked.
ROUTER is where a web framework calls a handler: middleware beyond it has not asked either."""

_paths = sysconfig.get_paths()
_STDLIB = tuple({_paths["stdlib"], _paths["platstdlib"]})
_SITES = ("/site-packages/", "/dist-packages/")
_OURS = __file__.replace("\\", "/").rpartition("/signals/")[0] + "/"
_EDGES = ("/asyncio/events.py", "/asyncio/base_events.py", "/asyncio/runners.py", "/threading.py")
_ROUTERS = (
    "/starlette/routing.py", "/fastapi/routing.py", "/litestar/routes/http.py", "/quart/app.py",
)  # fmt: skip
_EDGES_OF_OURS = (
    _OURS + "signals/server/",
    *(_OURS + f"signals/core/{name}.py" for name in ("callbacks", "stepping", "steps")),
)
_WITHIN = frozenset({"run_in_executor", "create_task", "_creating", "maybe_eager", "call_soon"})
"""Functions of these that are called by the app, not by the loop."""
_TEMPLATE = "<template>"
"""File name of a Jinja2 template that comes from no file."""


class Place(NamedTuple):
    """A line of code. Of a template, the template's line."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


class Stack(NamedTuple):
    """The app's frames of who called."""

    places: tuple[Place, ...]
    """Innermost first, at least one."""
    key: str
    """`file:line` of the innermost."""
    text: str
    """`code.stacktrace`."""
    path: str
    """The same, each line of it once: however deep a recursion is, it is one path."""
    codes: tuple[CodeType, ...]
    """Kept alive, because the stack is known by their ids."""
    innermost: dict[str, Any]
    """Attributes that tell the innermost. Not to be written to."""
    attributes: dict[str, Any]
    """Likewise, with the whole stack."""


_stacks: dict[tuple[int, ...], Stack] = {}
kinds: dict[str, int] = {}
"""Of files, as `kind_of` tells them: for who asks it for two dozen at once."""


def stack() -> Stack | None:
    """The app's frames of who called; None when none is the app's.

    An app that is itself installed as a package is found by its frames outside of the frameworks.
    """
    own, installed = _walk(sys._getframe())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    frames = own or installed or _awaiting()
    return _known(frames) if frames else None


def stack_of(frame: FrameType) -> Stack | None:
    """The app's frames of a thread that stands at `frame`."""
    own, installed = _walk(frame, here=False)
    frames = own or installed
    return _known(frames) if frames else None


def caller(  # noqa: C901 - one loop: it runs for every task
    *, through_frameworks: bool = False
) -> Place | None:
    """The line that called: the app's, or a framework's that acts for itself. None without either.

    `through_frameworks`: what a framework does in a function that the app calls is the app's doing.
    """
    # This function's own, where it has one. A frame that still knew itself in the end would be a cycle.
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    outside: FrameType | None = None
    for _ in repeat(None, MAX_DEPTH):
        if frame is None:
            break
        code = frame.f_code
        try:
            role = _roles[code.co_filename]
        except KeyError:
            role = _role_of(code.co_filename)
        if role:
            if role == _CALLS:
                found = _places.get((id(code), frame.f_lasti))
                return found[0] if found is not None else place_of(frame)
            if role == _BEGINS:
                if code.co_name not in _WITHIN:
                    break
            elif outside is None:
                outside = frame
                if role == _ACTS and not through_frameworks:
                    break
        frame = frame.f_back
    return None if outside is None else place_of(outside)


_PASSES_ON, _CALLS, _BEGINS, _ACTS, _SERVES = range(5)
"""What a file's frame is among callers: one that another has called, the app's, an EDGE, a framework's
that may act for itself, that of another package."""

_roles: dict[str, int] = {}


def _role_of(filename: str) -> int:
    if len(_roles) >= _MAX_FILES:
        _roles.clear()
    kind = kind_of(filename)
    if kind in (APP, EDGE):
        role = _CALLS if kind == APP else _BEGINS
    elif not _is_installed(filename):
        role = _PASSES_ON
    else:
        role = _SERVES if kind == PACKAGE else _ACTS
    _roles[filename] = role
    return role


def _is_installed(file: str) -> bool:
    """An installed package that does something: not the standard library, anyio or ours."""
    path = file.replace("\\", "/")
    return (
        any(site in path for site in _SITES)
        and "/anyio/" not in path
        and not path.startswith(_OURS)
    )


_told: dict[int, tuple[Place, dict[str, Any]]] = {}
"""By the place's id, as it is kept alive: hashing a place takes longer than all the rest."""


def attributes(place: Place) -> dict[str, Any]:
    """The attributes that tell a line, one object for all that tell it. Not to be written to."""
    known = _told.get(id(place))
    if known is None:
        if len(_told) >= _MAX_STACKS:
            _told.clear()
        known = _told[id(place)] = (
            place,
            {
                semconv.CODE_FILE_PATH: place.file,
                semconv.CODE_LINE_NUMBER: place.line,
                semconv.CODE_FUNCTION_NAME: place.function,
            },
        )
    return known[1]


def library_of(frame: FrameType | None) -> Place | None:
    """The innermost line that is not ours, for a thread that runs nothing of the app's."""
    for _ in range(MAX_DEPTH):
        if frame is None:
            break
        if kind_of(frame.f_code.co_filename) == EDGE and frame.f_code.co_name not in _WITHIN:
            break
        if not frame.f_code.co_filename.replace("\\", "/").startswith(_OURS):
            return place_of(frame)
        frame = frame.f_back
    return None


def is_of_the_app(place: Place | None) -> bool:
    """True when that is a line of the app's own code."""
    return place is not None and kind_of(place.file) == APP


_places: dict[tuple[int, int], tuple[Place, CodeType]] = {}
"""By the code's id, which is kept alive: hashing a code object takes longer than all the rest."""


def place_of(frame: FrameType) -> Place:
    """The line at which a frame stands; lines are looked up the first time."""
    key = (id(frame.f_code), frame.f_lasti)
    found = _places.get(key)
    if found is None:
        if len(_places) >= _MAX_STACKS:
            _places.clear()
        found = _places[key] = _place(frame), frame.f_code
    return found[0]


def _known(frames: list[FrameType]) -> Stack:
    key: list[int] = []
    for frame in frames:
        key += (id(frame.f_code), frame.f_lasti)
    known = tuple(key)
    return _stacks.get(known) or _learn_stack(known, frames)


def _walk(  # noqa: C901 - one loop: it runs for every query
    start: FrameType, *, here: bool = True
) -> tuple[list[FrameType], list[FrameType]]:
    """The app's frames from `start` outward, and those of packages that are no framework.

    `here` False for another thread's: which greenlets wait there cannot be asked.
    """
    own: list[FrameType] = []
    installed: list[FrameType] = []
    known, app, router = kinds, APP, ROUTER
    greenlets: Iterator[FrameType] | None = None if here else iter(())
    frame: FrameType | None = start
    # It runs for each frame of each query: most are a framework's, and tell nothing.
    for _ in repeat(None, MAX_DEPTH):
        code = frame.f_code
        try:
            kind = known[code.co_filename]
        except KeyError:
            kind = kind_of(code.co_filename)
        if kind:
            if kind == app:
                own.append(frame)
            elif kind < app:
                installed.append(frame)
            elif own if kind == router else code.co_name not in _WITHIN:
                break
        frame = frame.f_back
        if frame is None:
            greenlets = greenlets or _greenlets()
            frame = next(greenlets, None)
            if frame is None:
                break
    return own[:MAX_FRAMES], installed[:MAX_FRAMES]


def _greenlets() -> Iterator[FrameType]:
    """Where the greenlets wait that started the running one, innermost first."""
    module: Any = sys.modules.get("greenlet")
    current: Any = None if module is None else module.getcurrent().parent
    while current is not None:
        if current.gr_frame is not None:
            yield current.gr_frame
        current = current.parent


def kind_of(filename: str) -> int:
    """Whose code a file is: LIBRARY, PACKAGE, APP, EDGE or ROUTER."""
    kind = kinds.get(filename)
    if kind is None:
        if len(kinds) >= _MAX_FILES:
            kinds.clear()
        kind = kinds[filename] = _classify(filename.replace("\\", "/"))
    return kind


def _classify(path: str) -> int:
    if path == _TEMPLATE:
        return APP
    if path.startswith(_OURS):
        return EDGE if path.startswith(_EDGES_OF_OURS) else LIBRARY
    for site in _SITES:
        if site in path:
            package = path.rpartition(site)[2].partition("/")[0].removesuffix(".py")
            if package in _FRAMEWORKS:
                return ROUTER if path.endswith(_ROUTERS) else LIBRARY
            return PACKAGE
    if path.startswith(tuple(each.replace("\\", "/") + "/" for each in _STDLIB)):
        return EDGE if path.endswith(_EDGES) else LIBRARY
    commands = (sys.prefix.replace("\\", "/") + "/bin/", "/usr/bin/")
    return LIBRARY if path.startswith(("<", *commands)) else APP


def _learn_stack(key: tuple[int, ...], frames: list[FrameType]) -> Stack:
    places = tuple(map(_place, frames))
    lines = tuple(map(str, places))
    text = "\n".join(lines)
    innermost = attributes(places[0])
    found = Stack(
        places,
        f"{places[0].file}:{places[0].line}",
        text,
        call_path(lines),
        tuple(frame.f_code for frame in frames),
        innermost,
        {**innermost, semconv.CODE_STACKTRACE: text},
    )
    if len(_stacks) >= _MAX_STACKS:
        _stacks.clear()
    _stacks[key] = found
    return found


def _place(frame: FrameType) -> Place:
    code, line = frame.f_code, frame.f_lineno or 0
    template: Any = frame.f_globals.get("__jinja_template__")  # its compiled code knows it
    if template is not None:
        file = str(template.filename or code.co_filename)
        return Place(file, template.get_corresponding_lineno(line), f"template {template.name}")
    module = frame.f_globals.get("__name__", "")
    return Place(code.co_filename, line, f"{module}.{code.co_name}" if module else code.co_name)


# A task without a frame of the app's.


def _awaiting() -> list[FrameType]:
    """The app's frames of the task that awaits the running one; empty when there is none."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except RuntimeError:  # no loop runs in this thread
        return []
    seen = 0
    while task is not None and seen < MAX_FRAMES:
        task = _awaiter(task, 0)
        seen += 1
        frames = _suspended(task) if task is not None else []
        if frames:
            return frames
    return []


def _awaiter(future: Any, depth: int) -> Any:
    """The task that wakes up when `future` is done, through `gather` and `TaskGroup`."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        owner = getattr(callback, "__self__", None)
        parent = getattr(owner, "_parent_task", owner)
        if hasattr(parent, "get_coro"):
            return parent
        gathering = _closed_over(callback, "outer")
        if gathering is not None and depth < MAX_FRAMES:
            return _awaiter(gathering, depth + 1)
    return None


def _closed_over(function: Any, name: str) -> Any:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    if name not in names:
        return None
    try:
        return function.__closure__[names.index(name)].cell_contents
    except ValueError:  # not yet bound
        return None


def _suspended(task: Any) -> list[FrameType]:
    """The app's frames of a task that waits, innermost first."""
    frames: list[FrameType] = []
    waiting: Any = task.get_coro()
    for _ in range(MAX_DEPTH):
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is None:
            break
        if kind_of(frame.f_code.co_filename) == APP:
            frames.append(frame)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return frames[::-1][:MAX_FRAMES]
