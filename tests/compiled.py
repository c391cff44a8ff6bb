"""Fails unless the otel-toolbar that is installed here is the compiled one, as pip builds it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def main() -> int:
    """Each module that has a `.pxd` is a compiled one."""
    names = [
        ".".join(declared.relative_to(SOURCE).with_suffix("").parts)
        for declared in sorted(SOURCE.rglob("*.pxd"))
    ]
    files = {name: importlib.import_module(name).__file__ or "" for name in names}
    plain = [name for name, file in files.items() if file.endswith(".py")]
    print(f"{len(names) - len(plain)} modules are compiled")
    if plain or not names:
        print(f"not compiled: {', '.join(plain) or 'any'}; a C compiler is needed, such as gcc")
    return int(bool(plain or not names))


if __name__ == "__main__":
    sys.exit(main())
