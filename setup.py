"""What pyproject.toml cannot say: the native programs are compiled with the package.

The wheel carries the helper (``estiva/_native/estiva-helper``) and, as its two scripts, the launcher under the names
``estiva`` and ``estiva-runtime``.  All are static programs that use nothing of Python's C interface, so one wheel
serves every Python 3 of a machine type.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "scripts"))

import native  # noqa: E402

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

COMMANDS = ("estiva", "estiva-runtime")
HELPER = Path("estiva", "_native", "estiva-helper")


class build_helper(Command):
    """Compile the helper into the package: a step of ``build``, also for an editable install."""

    description = "compile the native helper"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []
    editable_mode = False
    build_lib: str | None

    def initialize_options(self) -> None:
        self.build_lib = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def target(self) -> Path:
        return HERE / "src" / HELPER if self.editable_mode else Path(str(self.build_lib), HELPER)

    def run(self) -> None:
        native.compile_program("helper", self.target())

    def get_source_files(self) -> list[str]:
        return [str(file.relative_to(HERE)) for file in native.inputs()]

    def get_outputs(self) -> list[str]:
        return [] if self.editable_mode else [str(self.target())]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class build_launchers(Command):
    """``build_scripts`` for programs instead of Python scripts: one launcher under each command's name."""

    description = "compile the launchers of the installed commands"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = [("build-dir=", "d", "directory to build into")]

    def initialize_options(self) -> None:
        self.build_dir: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_scripts", "build_dir"))

    def run(self) -> None:
        for name in COMMANDS:
            native.compile_program("launcher", Path(str(self.build_dir), name))

    def get_source_files(self) -> list[str]:
        return [os.path.join("native", "launcher.c")]

    def get_outputs(self) -> list[str]:
        return [os.path.join(str(self.build_dir), name) for name in COMMANDS]


class build_with_helper(build):
    sub_commands = [*build.sub_commands, ("build_helper", None)]


class build_py_checked(build_py):
    """Never copy a helper that was compiled in the source tree, perhaps for another machine, into a wheel."""

    def find_data_files(self, package: str, src_dir: str) -> list[str]:
        return [file for file in super().find_data_files(package, src_dir) if "_native" not in Path(file).parts]


class wheel_of_machine(bdist_wheel):
    """Any Python 3, one machine type: that of the compiler, which may be a cross compiler."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", f"linux_{native.machine()}"


class NativeDistribution(Distribution):
    """A distribution that is not pure Python, and has scripts, although setuptools sees neither."""

    def has_ext_modules(self) -> bool:
        return True

    def has_scripts(self) -> bool:
        return True


setup(
    distclass=NativeDistribution,
    scripts=list(COMMANDS),
    cmdclass={
        "build": build_with_helper,
        "build_py": build_py_checked,
        "build_helper": build_helper,
        "build_scripts": build_launchers,
        "bdist_wheel": wheel_of_machine,
    },
)
