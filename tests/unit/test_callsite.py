"""The app's own line is found, whatever runs in between."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import greenlet
import jinja2
import pytest

from otel_toolbar.signals.core import callsite
from otel_toolbar.signals.core.callsite import APP, EDGE, LIBRARY, PACKAGE, ROUTER, kind_of

HERE = __file__
SITE = sysconfig.get_paths()["purelib"]
STDLIB = sysconfig.get_paths()["stdlib"]


@pytest.fixture(autouse=True)
def unlearnt() -> None:
    callsite._stacks.clear()
    callsite.kinds.clear()


def compiled(source: str, file: str, **names: Any) -> dict[str, Any]:
    """Code as if it stood in `file`."""
    namespace = {"__name__": "there", "callsite": callsite, **names}
    exec(compile(source, file, "exec"), namespace)
    return namespace


def lookup() -> callsite.Stack:
    found = callsite.stack()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (HERE, APP),
        ("/srv/app/main.py", APP),
        ("C:\\app\\main.py", APP),
        ("<template>", APP),
        ("<string>", LIBRARY),
        ("<frozen importlib._bootstrap>", LIBRARY),
        (STDLIB + "/json/decoder.py", LIBRARY),
        (STDLIB + "/asyncio/events.py", EDGE),
        (STDLIB + "/threading.py", EDGE),
        ("/srv/app/threading.py", APP),
        (SITE + "/sqlalchemy/engine/base.py", LIBRARY),
        (SITE + "/greenlet.py", LIBRARY),
        (SITE + "/myshop/views.py", PACKAGE),
        ("/usr/lib/python3/dist-packages/myshop.py", PACKAGE),
        ("C:\\py\\Lib\\site-packages\\starlette\\routing.py", ROUTER),
        (sys.prefix + "/bin/uvicorn", LIBRARY),
        (callsite.__file__, LIBRARY),
        (str(Path(callsite.__file__).parents[1] / "server" / "exchange.py"), EDGE),
    ],
)
def test_whose_code_a_file_is(file: str, kind: int) -> None:
    assert kind_of(file) == kind
    assert kind_of(file) == kind


def test_files_and_stacks_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callsite, "_MAX_FILES", 2)
    monkeypatch.setattr(callsite, "_MAX_STACKS", 1)
    for number in range(5):
        kind_of(f"/srv/{number}.py")
    assert len(callsite.kinds) <= 2
    lookup()
    lookup()
    assert len(callsite._stacks) == 1


def test_the_app_s_line_and_stack() -> None:
    def view() -> callsite.Stack:
        return lookup()

    found = view()
    assert [place.function.rpartition(".")[2] for place in found.places][:3] == [
        "lookup",
        "view",
        "test_the_app_s_line_and_stack",
    ]
    assert {place.file for place in found.places} == {HERE}
    assert found.key == f"{HERE}:{found.places[0].line}"
    assert found.text.splitlines()[0] == f"{found.key} {found.places[0].function}"


def test_a_loop_is_looked_up_once_and_lines_are_told_apart() -> None:
    stacks = [callsite.stack() for _ in range(2)]
    assert stacks[0] is stacks[1]
    one = callsite.stack()
    other = callsite.stack()
    assert one is not None
    assert other is not None
    assert other.places[0].line == one.places[0].line + 1


def test_the_app_is_found_behind_a_library() -> None:
    library = compiled("def run(call):\n    return call()", SITE + "/sqlalchemy/x.py")
    query = compiled("def query():\n    return callsite.stack()", SITE + "/sqlalchemy/y.py")
    found = library["run"](query["query"])
    assert found.places[0].file == HERE


def test_an_installed_app_is_found_where_nothing_else_is() -> None:
    app = compiled("def view(call):\n    return call()", SITE + "/myshop/views.py")
    query = compiled("def query():\n    return callsite.stack()", SITE + "/sqlalchemy/y.py")
    found = in_thread(lambda: app["view"](query["query"]), library=True)
    assert found.places[0] == (SITE + "/myshop/views.py", 2, "there.view")


def test_nothing_of_the_app_s() -> None:
    query = compiled("def query():\n    return callsite.stack()", SITE + "/sqlalchemy/y.py")
    assert in_thread(query["query"], library=True) is None


def in_thread(call: Callable[[], Any], library: bool = False) -> Any:
    """The result of a call with nothing of this file below it."""
    results: list[Any] = []
    source = "def run():\n    results.append(call())"
    file = SITE + "/sqlalchemy/z.py" if library else HERE
    namespace = compiled(source, file, results=results, call=call)
    if library and call.__code__.co_filename == HERE:
        # The lambda of a test would be the app's.
        namespace["call"] = compiled_like(call, file)
    thread = threading.Thread(target=namespace["run"])
    thread.start()
    thread.join()
    return results[0]


def compiled_like(call: Any, file: str) -> Any:
    return type(call)(
        call.__code__.replace(co_filename=file), call.__globals__, "f", None, call.__closure__
    )


def test_recursion_is_looked_at_so_far_and_no_further() -> None:
    library = compiled(
        "def deep(n):\n    return deep(n - 1) if n else callsite.stack()", SITE + "/sqlalchemy/x.py"
    )
    assert library["deep"](300) is not None
    assert library["deep"](callsite.MAX_DEPTH) is None
    own = compiled("def deep(n):\n    return deep(n - 1) if n else callsite.stack()", "/srv/x.py")
    assert len(own["deep"](200).places) == callsite.MAX_FRAMES
    packaged = compiled(
        "def deep(n):\n    return deep(n - 1) if n else callsite.stack()", SITE + "/shop/x.py"
    )
    assert packaged["deep"](100).places[0].file == HERE


def test_middleware_beyond_the_router_has_not_asked() -> None:
    router = compiled("def call(handler):\n    return handler()", SITE + "/fastapi/routing.py")[
        "call"
    ]
    handler = compiled("def handler():\n    return callsite.stack()", "/srv/shop/views.py")[
        "handler"
    ]
    assert [place.file for place in router(handler).places] == ["/srv/shop/views.py"]
    # Without a handler of the app's, whoever is beyond is the best that can be told.
    found = router(
        compiled("def own():\n    return callsite.stack()", SITE + "/fastapi/x.py")["own"]
    )
    assert found.places[0].file == HERE


def test_through_greenlets() -> None:
    query = compiled("def query():\n    return callsite.stack()", SITE + "/sqlalchemy/y.py")[
        "query"
    ]
    inner = compiled("def run():\n    return greenlet.greenlet(query).switch()", SITE + "/sqlalchemy/y.py",
                     greenlet=greenlet, query=query)["run"]  # fmt: skip
    found = greenlet.greenlet(inner).switch()
    assert found.places[0].function.endswith("test_through_greenlets")


def test_a_template_has_the_template_s_line(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>\n\n{{ here() }}\n</p>")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(tmp_path))
    seen: list[callsite.Stack | None] = []
    here = compiled(
        "def here():\n    seen.append(callsite.stack())", SITE + "/sqlalchemy/y.py", seen=seen
    )["here"]
    environment.get_template("page.html").render(here=here)
    assert seen[0] is not None
    assert seen[0].places[0] == (str(tmp_path / "page.html"), 3, "template page.html")
    assert seen[0].places[1].function.endswith("test_a_template_has_the_template_s_line")


def test_templates_without_a_file() -> None:
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"a": "{{ here() }}", "b": "\n{{ here() }}"})
    )
    seen: list[callsite.Stack | None] = []
    here = compiled(
        "def here():\n    seen.append(callsite.stack())", SITE + "/sqlalchemy/y.py", seen=seen
    )["here"]
    for name in "ab":
        environment.get_template(name).render(here=here)
    assert [each and each.places[0] for each in seen] == [
        ("<template>", 1, "template a"),
        ("<template>", 2, "template b"),
    ]


def test_code_without_a_module() -> None:
    namespace: dict[str, Any] = {"callsite": callsite, "__name__": ""}
    exec(compile("def f():\n    return callsite.stack()", "/srv/x.py", "exec"), namespace)
    assert namespace["f"]().places[0].function == "f"


# Tasks.

LIBRARY_CALL = """
async def query():
    await sleep(0)
    return callsite.stack()
"""


def library_call() -> Any:
    return compiled(LIBRARY_CALL, SITE + "/sqlalchemy/y.py", sleep=asyncio.sleep)["query"]


async def test_a_task_that_stops_at_the_loop() -> None:
    async def view() -> callsite.Stack | None:
        return await library_call()()

    found = await asyncio.create_task(view())
    assert found is not None
    assert [place.function.rpartition(".")[2] for place in found.places] == ["view"]


async def test_a_gathered_task_of_a_library_is_its_awaiter_s() -> None:
    query = library_call()
    found, other = await asyncio.gather(query(), query())
    assert found is not None
    assert found is other
    assert found.places[0].function.endswith("is_its_awaiter_s")


async def test_an_awaited_task_of_a_library_is_its_awaiter_s() -> None:
    found = await asyncio.create_task(library_call()())
    assert found is not None
    assert found.places[0].file == HERE


async def test_through_a_library_s_task_and_generators() -> None:
    source = LIBRARY_CALL + "async def outer():\n    return await create_task(query())"
    library = compiled(
        source, SITE + "/sqlalchemy/y.py", sleep=asyncio.sleep, create_task=asyncio.create_task
    )
    found = await asyncio.create_task(library["outer"]())
    assert found is not None
    assert found.places[0].file == HERE


if sys.version_info >= (3, 11):

    async def test_a_task_group() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(library_call()())
        assert task.result() is not None
        assert task.result().places[0].file == HERE


async def test_a_task_that_nobody_awaits() -> None:
    results: list[Any] = []
    source = LIBRARY_CALL + "async def outer():\n    results.append(await query())"
    library = compiled(source, SITE + "/sqlalchemy/y.py", sleep=asyncio.sleep, results=results)
    task = asyncio.create_task(library["outer"]())
    task.add_done_callback(lambda _: None)
    for _ in range(4):
        await asyncio.sleep(0)
    assert results == [None]


def test_closures_without_a_value() -> None:
    def closing() -> Any:
        def inner() -> Any:
            return outer

        if False:
            outer = 1
        return inner

    assert callsite._closed_over(closing(), "outer") is None
    assert callsite._closed_over(len, "outer") is None
