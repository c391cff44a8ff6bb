"""Jinja2: one descriptor sees every render, whoever asks for it.

`render`, `render_async`, `generate`, `stream`, an include, an inherited template and an import all
read `Template.root_render_func` and call it. A data descriptor of that name on the class sees each of
them, templates that are there already too; the attribute itself stays where it was, in the
instance's `__dict__`. Blocks that a template puts into its parent's, macros and compiling have hooks
of their own.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Coroutine
from types import CodeType, FrameType
from typing import Any, ClassVar

import wrapt
from opentelemetry.trace import Span

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import record as records

from . import described, generators, work
from .work import Templates, Work

ENGINE = "jinja2"
MODULE = "jinja2.environment"
_ROOT = "root_render_func"
_AT_ONCE = {
    ("jinja2.environment", "render"): "page",
    ("jinja2.environment", "render_async"): "page",
    ("jinja2.nativetypes", "render"): "page",
    ("jinja2.nativetypes", "render_async"): "page",
    ("jinja2.environment", "__call__"): "page",  # an expression
    ("jinja2.environment", "__init__"): "import",  # a TemplateModule
    ("jinja2.environment", "make_module_async"): "import",
}
"""Functions that read a template to its end at once, and what it is to them. All others may pause."""

_wanted = _registered = False
_replaced: list[tuple[Any, str, Any]] = []
"""Methods as they were, by class and name; empty while nothing is watched."""


def install() -> None:
    """Watch Jinja2 from its import on."""
    global _wanted, _registered
    _wanted, first, _registered = True, not _registered, True
    if first:
        wrapt.register_post_import_hook(_hook, MODULE)
    elif MODULE in sys.modules:
        _hook(sys.modules[MODULE])


def uninstall() -> None:
    """Leave Jinja2 as it was."""
    global _wanted
    _wanted = False
    if not _replaced:
        return
    module = sys.modules[MODULE]
    del module.Template.root_render_func
    while _replaced:
        owner, name, real = _replaced.pop()
        setattr(owner, name, real)
    sys.modules["jinja2.utils"].internal_code.difference_update(_codes())  # pyright: ignore[reportAttributeAccessIssue]


def _hook(module: Any) -> None:
    if not _wanted or _replaced:
        return
    try:
        macro = sys.modules["jinja2.runtime"].Macro  # pyright: ignore[reportAttributeAccessIssue]
        hooks: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
            (module.Environment, "compile", _compile),
            (macro, "_invoke", _invoke),
            (macro, "_async_invoke", _async_invoke),
        )
        reals: list[tuple[Any, str, Any, Callable[..., Any]]] = [
            (owner, name, vars(owner)[name], wrapper) for owner, name, wrapper in hooks
        ]
        # What is in this set is left out when Jinja2 rewrites a traceback.
        sys.modules["jinja2.utils"].internal_code.update(_codes())  # pyright: ignore[reportAttributeAccessIssue]
        for owner, name, real, wrapper in reals:
            setattr(owner, name, wrapper(real))
            _replaced.append((owner, name, real))
        module.Template.root_render_func = _Root()
    except Exception as error:
        guard.say_once(
            f"this version of Jinja2 is not one that the toolbar knows ({error!r}); templates are not"
            " seen. It has to be 3.1 or newer"
        )


class _Root:
    """Stands for `root_render_func` on the class; the function itself stays on the instance."""

    def __get__(self, template: Any, owner: Any = None) -> Any:
        if template is None:  # as before: the class has none
            raise AttributeError(f"type object {owner.__name__!r} has no attribute {_ROOT!r}")
        try:
            real = template.__dict__[_ROOT]
        except KeyError:
            raise AttributeError(
                f"{type(template).__name__!r} object has no attribute {_ROOT!r}"
            ) from None
        try:
            return functools.partial(_run, template, real) if work.watching() else real
        except Exception:
            guard.failed("watching a template")
            return real

    def __set__(self, template: Any, real: Any) -> None:
        template.__dict__[_ROOT] = real
        try:
            _made(template)
        except Exception:
            guard.failed("noting a new template")

    def __delete__(self, template: Any) -> None:
        try:
            del template.__dict__[_ROOT]
        except KeyError:
            raise AttributeError(_ROOT) from None


def _made(template: Any) -> None:
    """Note that a template is new in this request: from source, or from code that was kept."""
    record = records.current()
    if record is not None and record.server is not None and not record.closed:
        templates = Templates.of(record)
        key = template.name, template.filename
        templates.fresh[id(template)] = templates.compiled.pop(key, None)


def _run(template: Any, real: Callable[..., Any], context: Any, *args: Any, **kwargs: Any) -> Any:
    made = real(context, *args, **kwargs)
    try:
        return _watched(template, context, made, sys._getframe(1))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    except Exception:
        guard.failed("watching a template")
        return made


def _watched(template: Any, context: Any, made: Any, caller: FrameType) -> Any:
    parent = caller.f_globals.get("__jinja_template__")
    if parent is None:
        known = _AT_ONCE.get((caller.f_globals.get("__name__", ""), caller.f_code.co_name))
        page = _Page(template, context, known or "page")
        return generators.watched(page, made, at_once=known is not None)
    inherited = _is_parent(template, context)
    if inherited:
        _watch_blocks(template, context)
    page = _Page(template, context, "parent" if inherited else "include", caller, parent)
    return generators.watched(page, made, at_once=True)


def _is_parent(template: Any, context: Any) -> bool:
    """True when another template extends this one: then the context is the other's."""
    if context.name != template.name:
        return True
    own = template.blocks  # templates made from strings have no names
    return bool(own) and any(len(context.blocks[name]) > 1 for name in own)


class _Work(Work):
    """A piece of work of a template."""

    __slots__ = ("template",)

    def __init__(self, name: str, template: Any) -> None:
        super().__init__(name)
        self.template = template

    def failed(self, span: Span, error: Exception) -> None:
        described.put_error(span, error, self.template, _codes())


class _Page(_Work):
    """A template's own code: a page, its parent, an include or an import."""

    __slots__ = ("_caller", "_context", "_line", "_parent", "_role")

    def __init__(
        self,
        template: Any,
        context: Any,
        role: str,
        caller: FrameType | None = None,
        parent: Any = None,
    ) -> None:
        super().__init__(f"render {described.shown(template.name)}", template)
        self._context: Any = context
        self._role = role
        self._caller: FrameType | None = caller
        self._parent = parent

    def attributes(self) -> dict[str, Any]:
        template, context = self.template, self._context
        attributes = described.identity(ENGINE, template.name, template.filename, self._role)
        if self._role != "parent":
            described.put_context(attributes, context.parent, context.globals_keys)
        if self._caller is not None:
            described.put_template_line(attributes, self._caller, self._parent)
        else:
            described.put_caller(attributes)
        _put_making(attributes, template)
        return attributes

    def begin(self) -> None:
        super().begin()
        self._context = self._caller = self._parent = None  # the app's: not to be kept longer


def _put_making(attributes: dict[str, Any], template: Any) -> None:
    """Whether the template was there already, or how long it took to compile it."""
    record = records.current()
    if record is None or record.closed:
        return
    fresh = Templates.of(record).fresh
    attributes[semconv.TEMPLATE_CACHED] = id(template) not in fresh
    compiled = fresh.pop(id(template), None)
    if compiled is not None:
        attributes[semconv.TEMPLATE_COMPILE_DURATION] = compiled


# Blocks.


class _BlockWork(_Work):
    __slots__ = ("_block",)

    alike: ClassVar[int] = 20

    def __init__(self, block: str, template: Any) -> None:
        super().__init__(f"block {block}", template)
        self._block = block

    def attributes(self) -> dict[str, Any]:
        template = self.template
        attributes = described.identity(ENGINE, template.name, template.filename, "block")
        attributes[semconv.TEMPLATE_BLOCK] = self._block
        return attributes


class _Block:
    """A block's function in its context; equal to it, for `super()` looks for it in a list."""

    __slots__ = ("_name", "_real")

    def __init__(self, name: str, real: Callable[..., Any]) -> None:
        self._name = name
        self._real = real

    def __call__(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        made = self._real(context, *args, **kwargs)
        try:
            if not work.watching():
                return made
            template = self._real.__globals__["__jinja_template__"]
            return generators.watched(_BlockWork(self._name, template), made, at_once=True)
        except Exception:
            guard.failed("watching a block of a template")
            return made

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._real

    def __hash__(self) -> int:
        return hash(self._real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _watch_blocks(parent: Any, context: Any) -> None:
    """Watch the blocks that `parent` has and another template fills. Its own are a part of it."""
    for name in parent.blocks:
        stack = context.blocks[name]
        if len(stack) > 1 and type(stack[0]) is not _Block:
            stack[0] = _Block(name, stack[0])


# Macros.


class _MacroWork(_Work):
    __slots__ = ("_macro",)

    alike: ClassVar[int] = 20

    def __init__(self, macro: str, template: Any) -> None:
        super().__init__(f"macro {macro}", template)
        self._macro = macro

    def attributes(self) -> dict[str, Any]:
        template = self.template
        attributes = described.identity(ENGINE, template.name, template.filename, "macro")
        attributes[semconv.TEMPLATE_MACRO] = self._macro
        return attributes


def _macro_work(macro: Any) -> _MacroWork | None:
    """None for what is not watched, and for the body of a `{% call %}`: that is its template's."""
    try:
        name = macro.name
        if not isinstance(name, str) or name == "caller" or not work.watching():
            return None
        template = macro._func.__globals__.get("__jinja_template__")  # noqa: SLF001
        return None if template is None else _MacroWork(name, template)
    except Exception:
        guard.failed("watching a macro")
        return None


def _invoke(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def invoke(self: Any, arguments: Any, autoescape: Any) -> Any:
        # In an asynchronous environment this only makes the coroutine of `_async_invoke`.
        macro = None if self._environment.is_async else _macro_work(self)
        if macro is None:
            return real(self, arguments, autoescape)
        return work.call(macro, real, self, arguments, autoescape)

    return invoke


def _async_invoke(
    real: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(real)
    async def async_invoke(self: Any, arguments: Any, autoescape: Any) -> Any:
        macro = _macro_work(self)
        if macro is None:
            return await real(self, arguments, autoescape)
        macro.begin()
        try:
            return await real(self, arguments, autoescape)
        except BaseException as error:
            macro.fail(error)
            raise
        finally:
            macro.end()

    return async_invoke


# Compiling.


class _Compiling(_Work):
    __slots__ = ("_begun", "_name", "_path")

    def __init__(self, name: Any, path: Any) -> None:
        super().__init__(f"compile {described.shown(name)}", None)
        self._name = name
        self._path = path
        self._begun = time.perf_counter()

    def attributes(self) -> dict[str, Any]:
        return described.identity(ENGINE, self._name, self._path, "compile")

    def done(self) -> None:
        """Keep the time for the template that will be made of it."""
        try:
            record = records.current()
            if record is not None and not record.closed:
                key = self._name, self._path or "<template>"
                Templates.of(record).compiled[key] = time.perf_counter() - self._begun
        except Exception:
            guard.failed("noting what was compiled")


def _compile(real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def compile_(
        self: Any, source: Any, name: Any = None, filename: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        compiling = _compiling(name, filename)
        if compiling is None:
            return real(self, source, name, filename, *args, **kwargs)
        code = work.call(compiling, real, self, source, name, filename, *args, **kwargs)
        compiling.done()
        return code

    return compile_


def _compiling(name: Any, path: Any) -> _Compiling | None:
    try:
        return _Compiling(name, path) if work.watching() else None
    except Exception:
        guard.failed("watching the compiler of templates")
        return None


@functools.cache
def _codes() -> frozenset[CodeType]:
    """Our code between Jinja2's frames: no part of a template's traceback."""

    def sample() -> None: ...

    wrappers: tuple[Any, ...] = (_invoke(sample), _compile(sample), _async_invoke(sample))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    return generators.CODES | {each.__code__ for each in (*wrappers, work.call, _run)}
