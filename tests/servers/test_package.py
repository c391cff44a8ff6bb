"""The wheel: what is in it, and that it works where nothing else is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from . import serving as harness
from .serving import ROOT, serving

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module", params=["compiled", "plain"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip builds it for an installation from the source distribution's files."""
    if request.param == "compiled" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("a C compiler is missing: apt-get install gcc")
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is missing: python -m ensurepip")
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    pure = {"TOOLBAR_BUILD_PURE": "1"} if request.param == "plain" else {}
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source), **pure)
    found = next(folder.glob("*.whl"))
    assert found.name.endswith("-py3-none-any.whl") == (request.param == "plain")
    return found


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = {name.partition("/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    package = ROOT / "src" / "otel_toolbar"
    files = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files <= names
    assert {"py.typed", "entry_points.txt", "licenses/LICENSE"} <= names
    assert any(name.startswith("web/templates/") for name in names)
    assert any(name.startswith("web/static/") for name in names)


def test_the_wheel_alone_serves_an_app(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No framework but our own UI's, no database driver, no other distro: none is imported."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    _pip("--python", str(venv / "bin" / "python"), "install", str(wheel), "uvicorn")
    monkeypatch.setattr(harness, "BIN", venv / "bin")
    with serving(APPS, tmp_path, target="plain:app") as running:
        trace = running.trace_of(running.get("/hello"))
        assert running.get("/_toolbar/").status_code == 200
        assert running.get(f"/_toolbar/t/{trace}").status_code == 200
        assert "otel" not in running.log.lower(), running.log
        assert "Traceback" not in running.log


def test_what_is_compiled(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    declared = {name.removesuffix(".pxd") for name in names if name.endswith(".pxd")}
    compiled = {name.partition(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    assert compiled == (set() if wheel.name.endswith("any.whl") else declared)
    assert declared


def _pip(*arguments: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
