"""What is declared in pyproject.toml is what the code needs: no more, no less, and no sooner."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {
    "diskcache": "diskcache",
    "dotenv": "python-dotenv",
    "google": "google-auth",
    "jsonschema_rs": "jsonschema-rs",
    "pydantic_settings": "pydantic-settings",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "re2": "google-re2",
    "yaml": "pyyaml",
}
"""What a package is called where it is installed from, if not as it is imported."""

WITHOUT_LEARN = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sklearn", "scipy", "joblib", "threadpoolctl"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
import importlib.util

real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("sklearn", "scipy") else real(name)
"""
"""Code that makes this interpreter one without the extra `learn`."""


def declared(*extras: str) -> dict[str, Requirement]:
    """Requirements of the service, and of `extras`, by distribution."""
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {(one := Requirement(line)).name.lower(): one for line in lines}


def imported() -> dict[str, set[str]]:
    """Distribution of every package that the product imports, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "llmrouter").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or top == "llmrouter":
                    continue
                dist = DISTRIBUTIONS.get(top, top)
                if top == "opentelemetry":
                    dist = next(
                        (known for prefix, known in TELEMETRY.items() if name.startswith(prefix)),
                        name,
                    )
                found.setdefault(dist, set()).add(str(path.relative_to(ROOT)))
    return found


TELEMETRY = {
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.exporter.otlp.proto.common": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.proto": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.semconv": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter at work on `code`."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_whatever_the_product_imports_is_declared() -> None:
    """No import rests on a package that only happens to come with another."""
    known = declared(*(set(PROJECT["optional-dependencies"]) - {"dev"}))
    assert {dist: files for dist, files in imported().items() if dist not in known} == {}


def test_every_dependency_of_the_service_has_a_floor_and_a_ceiling() -> None:
    """A fresh install does not break on the day a major release comes out."""
    for name, one in {**declared(), **declared("learn")}.items():
        signs = {part.operator for part in one.specifier}
        assert ">=" in signs, name
        assert "<" in signs, name


def test_the_constraints_are_inside_what_is_declared() -> None:
    """`make setup` installs versions that pyproject.toml allows, and pins each of them."""
    pins: dict[str, list[Version]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line):
            pins.setdefault(match[1].lower(), []).append(Version(match[2]))
    for name, one in declared("learn", "dev").items():
        if name != "llmrouter":
            assert pins.get(name), f"{name} is not pinned: make constraints"
            assert all(version in one.specifier for version in pins[name]), name


def test_the_service_starts_without_the_packages_that_fit() -> None:
    """scipy and scikit-learn are loaded by nothing that serves or decides."""
    code = WITHOUT_LEARN + "import llmrouter.bootstrap, llmrouter.server.worker"
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_a_memory_is_fitted_without_the_packages_that_fit() -> None:
    """Learning by memory needs numpy alone, and tells apart what it was shown."""
    code = WITHOUT_LEARN + (
        "from llmrouter.learning.online.trainer_process import fitted_on\n"
        "from llmrouter.learning.model.quality_model import Example\n"
        "class Lesson:\n"
        "    space, vector = '', None\n"
        "    def __init__(self, text, grades): self.text, self.grades = text, grades\n"
        "    def example(self): return Example(self.text, self.grades)\n"
        "hard = [Lesson(f'prove theorem number {n} of algebra', {'small': 0.0, 'large': 1.0})"
        " for n in range(60)]\n"
        "easy = [Lesson(f'translate sentence {n} into french', {'small': 1.0, 'large': 1.0})"
        " for n in range(60)]\n"
        "model = fitted_on([*hard, *easy])\n"
        "seen = [model.estimate(model.encoder.encode(text), model.targets).quality[1] for text in "
        "('prove theorem number 99 of algebra', 'translate sentence 99 into french')]\n"
        "print(model.targets[1], *seen)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    target, hard, easy = done.stdout.split()
    assert target == "small"
    assert float(hard) < float(easy)


@pytest.mark.parametrize("arguments", [("eval", "rows.jsonl"), ("train", "rows.jsonl")])
def test_a_command_that_fits_says_what_to_install(arguments: tuple[str, ...]) -> None:
    """Without the extra there is one clear line, and the exit code of wrong usage."""
    code = WITHOUT_LEARN + "from llmrouter.cli import main; main()"
    done = run(code, *arguments)
    assert done.returncode == 2
    assert "pip install 'llmrouter[learn]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_that_takes_long() -> None:
    """Commands import what they use when they are called."""
    code = (
        "import atexit, sys\n"
        "heavy = {'numpy', 'aiohttp', 'openai', 'pydantic', 'rich', 'opentelemetry', 'jinja2'}\n"
        "atexit.register(lambda: print('LOADED', *sorted(heavy & set(sys.modules))))\n"
        "from llmrouter.cli import main; main()"
    )
    done = run(code, "--help")
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_running_the_service_installs_no_development_tool() -> None:
    """`make run` needs the service's own packages; `make setup` adds those of tests and checks."""
    out = subprocess.run(
        ["make", "-n", "-B", "run", "PYTHON=python3"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert "pip install" in out
    assert "-c constraints.txt" in out
    assert "[dev]" not in out
