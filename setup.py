"""Puts a copy of prompts/ into the package when a wheel is built; everything else is declared."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPrompts(build_py):
    """The usual build, and the shipped prompts beside the code."""

    def run(self) -> None:
        """Copy the directory, without what an editing service keeps in it."""
        super().run()
        if self.editable_mode:
            return  # a checkout reads prompts/ itself
        target = Path(self.build_lib) / "llmrouter" / "shipped_prompts"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree("prompts", target, ignore=shutil.ignore_patterns(".*"))


setup(cmdclass={"build_py": BuildWithPrompts})
