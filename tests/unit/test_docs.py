"""The docs stay true: what they link, name and tell people to type is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from functools import cache
from importlib.metadata import metadata
from pathlib import Path

import pytest

from otel_toolbar import panels, semconv, settings

ROOT = Path(__file__).parents[2]


def is_ours(path: Path) -> bool:
    """Not of a virtual environment, a cache or an installed package."""
    parts = path.relative_to(ROOT).parts
    return not any(part.startswith(".") or part == "node_modules" for part in parts)


PAGES = sorted(path for path in ROOT.rglob("*.md") if is_ours(path))
IMAGES = sorted((ROOT / "docs" / "images").glob("*.png"))
MAX_IMAGE = 200_000

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[str]:
    """The lines of its indented blocks, which are what somebody types."""
    blocks = INDENTED.findall(prose(page))
    lines = [
        line.strip().partition("  #")[0].strip() for block in blocks for line in block.splitlines()
    ]
    return [line for line in lines if line and not line.startswith("#")]


@cache
def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_pictures_are_there(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("image", IMAGES, ids=named)
def test_pictures_are_small_and_used(image: Path) -> None:
    assert image.stat().st_size < MAX_IMAGE
    assert any(f"images/{image.name})" in page.read_text(encoding="utf-8") for page in PAGES)


def test_every_panel_has_a_picture() -> None:
    page = (ROOT / "docs" / "panels.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    titles = [panel.title for panel in panels.load()]
    assert list(sections) == titles
    assert [title for title in titles if "](images/" not in sections[title]] == []


def test_every_page_of_the_docs_can_be_reached() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(prose(page))
    }
    docs = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert docs <= linked


def test_generated_pages_are_what_the_code_says() -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=True)


def test_every_extra_for_a_library_is_named_by_an_empty_panel() -> None:
    extras = set(metadata("otel-toolbar").get_all("Provides-Extra") or ()) - {"config-file"}
    templates = (ROOT / "src" / "otel_toolbar" / "panels").glob("*/panel.html")
    said = "".join(path.read_text(encoding="utf-8") for path in templates)
    assert {extra for extra in extras if f"[{extra}]" not in said} == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_named_exist(page: Path) -> None:
    known = {each.variable for each in settings.documented()}
    assert set(re.findall(r"OTEL_TOOLBAR_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_attributes_named_exist(page: Path) -> None:
    words = re.findall(r"`(toolbar\.[a-z_.]*[a-z])(?:=[^`]*)?`", page.read_text(encoding="utf-8"))
    assert {word for word in words if not is_attribute(word)} == set()


def is_attribute(name: str) -> bool:
    return name == semconv.PROCESS_EVENT or any(
        name in (key, key.rstrip(".")) for key in semconv.ATTRIBUTES
    )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    inline = re.findall(r"`make ((?:[A-Z]+=\S+ )*)([a-z][a-z-]*)", text)
    typed = [re.match(r"make ((?:[A-Z]+=\S+ )*)([a-z][a-z-]*)", line) for line in commands(page)]
    found = {target for _, target in inline} | {match[2] for match in typed if match}
    assert found <= known


def test_the_readme_names_every_panel() -> None:
    rows = re.findall(
        r"^\| (\w+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {panel.title for panel in panels.load()} <= set(rows)


def test_what_the_readme_says_to_type_exists() -> None:
    there = str(Path(sys.executable).parent)
    path = os.pathsep.join([there, os.environ.get("PATH", "")])
    programs = {program(line) for line in commands(ROOT / "README.md")}
    assert programs >= {"make", "pip", "opentelemetry-instrument"}
    # An environment that uv made has no pip of its own.
    assert {each for each in programs - {"pip"} if shutil.which(each, path=path) is None} == set()


def program(line: str) -> str:
    return next(word for word in line.split() if "=" not in word)


# Asks the app as a browser on this machine does, with the token of the README's middleware.
ASK = """

import asyncio
import httpx

async def ask():
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        answer = await client.get("/", headers={"X-Toolbar-Token": "a long random word"})
        assert answer.status_code == 200, answer.text
        place = "/_toolbar/api/traces/" + answer.headers["x-trace-id"]
        seen = await client.get(place, headers={"X-Toolbar-Token": "a long random word"})
        assert seen.json()["name"] == "GET /", seen.text

asyncio.run(ask())
"""
SNIPPETS = [
    code
    for language, code in FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    if language == "python"
]


@pytest.mark.parametrize("code", SNIPPETS, ids=["wrap", "middleware"])
def test_the_readmes_python_runs(code: str, tmp_path: Path) -> None:
    program = tmp_path / "snippet.py"
    program.write_text(textwrap.dedent(code) + ASK, encoding="utf-8")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("OTEL_")
    }
    done = subprocess.run(
        [sys.executable, program],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
