"""Runs the unit tests on the lowest and the highest Python that is present, each in its own venv.

On the lowest they run the plain package, on the highest the compiled one, with the tests of tasks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUPPORTED = [(3, minor) for minor in range(10, 14)]


def main() -> int:
    found = {version: path for version in SUPPORTED if (path := find(version))}
    wanted = sorted({min(found), max(found)} if found else ())
    for version in wanted:
        print(f"--- unit tests on Python {version[0]}.{version[1]}: {found[version]}", flush=True)
        failed = run(version, found[version])
        if failed:
            return failed
    if len(wanted) < 2:
        print("only one supported Python is here: put python3.10 and python3.13 on the PATH")
        return int(os.environ.get("TOOLBAR_TEST_NO_SKIPS") == "1")
    return 0


def find(version: tuple[int, int]) -> Path | None:
    """An interpreter of that version: on the PATH, of pyenv, or this one."""
    name = f"python{version[0]}.{version[1]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        *sorted(pyenv.glob(f"{version[0]}.{version[1]}.*/bin/python"), reverse=True),
        Path(shutil.which(name) or ""),
        Path(sys.executable) if sys.version_info[:2] == version else Path(),
    ]
    return next((each for each in candidates if each.is_file() and works(each)), None)


def works(python: Path) -> bool:
    """True for one that starts: pyenv's shims exist for versions that are not chosen."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def run(version: tuple[int, int], python: Path) -> int:
    venv = ROOT / f".venv-{version[0]}.{version[1]}"
    if not (venv / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
    compiled = version == max(SUPPORTED)
    tests = [venv / "bin" / "python", "-m", "pytest", "-q", "-n", "auto"]
    tests += ["tests/unit", "tests/queries", "tests/jobs"]
    if compiled:
        wheel = built(venv / "bin" / "python")
        subprocess.run([*pip, wheel, "--group", "test"], check=True, cwd=ROOT)
        subprocess.run([*pip, "--no-deps", "--force-reinstall", wheel], check=True)
        subprocess.run([venv / "bin" / "python", ROOT / "tests" / "compiled.py"], check=True)
        tests += ["tests/tasks", "-m", "not replaces"]
    else:
        subprocess.run([*pip, "--editable", ROOT, "--group", "test"], check=True, cwd=ROOT)
    if version == min(SUPPORTED):
        # The oldest line of SQLAlchemy that is supported, on the oldest Python.
        subprocess.run([*pip, "sqlalchemy<2.1"], check=True)
        # The oldest SAQ, which does not work with newer pools; litestar-saq asks for a newer one.
        subprocess.run([*pip, "saq[redis,postgres]==0.24.0", "psycopg-pool<3.3"], check=True)
    environment = os.environ | {"TOOLBAR_TEST_EXAMPLES": "200"}
    return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode


def built(python: Path) -> Path:
    """The wheel of what is here; what an earlier build has left may hold modules that are gone."""
    build = ROOT / "build"
    for left in (*build.glob("lib*"), *build.glob("bdist*"), build / "wheels"):
        shutil.rmtree(left, ignore_errors=True)
    command = [
        python,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        build / "wheels",
        ROOT,
    ]
    subprocess.run(command, check=True)
    return next((build / "wheels").glob("*.whl"))


if __name__ == "__main__":
    sys.exit(main())
