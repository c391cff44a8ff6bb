"""Compiles the modules that run at every step of a task, and what they build on, where there is a compiler.

The package is plain Python, and stays so without a compiler, with TOOLBAR_BUILD_PURE=1, and in an editable
installation, where what is edited is what runs. How a module is compiled says the `.pxd` beside it.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext  # which is Cython's, where that is there

SOURCE = Path("src")
PURE = os.environ.get("TOOLBAR_BUILD_PURE") == "1"


def extensions() -> list[Extension]:
    """One for each module that has a `.pxd`; a build goes on without one that cannot be compiled."""
    return [
        Extension(
            ".".join(declared.relative_to(SOURCE).with_suffix("").parts),
            [declared.with_suffix(".py").as_posix()],
            extra_compile_args=[] if sys.platform == "win32" else ["-g0"],
            optional=True,
        )
        for declared in sorted(SOURCE.rglob("*.pxd"))
    ]


class Build(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.cython_c_in_temp = True
        # Types are those of the `.pxd` alone: an annotation tells readers, and may say `int` of any size.
        self.cython_directives = {"language_level": 3, "annotation_typing": False}

    def run(self) -> None:
        if self.editable_mode:
            self.extensions = []
        super().run()


setup(ext_modules=[] if PURE else extensions(), cmdclass={"build_ext": Build})
