"""The wheel, put where nothing else is: it has everything that its commands need."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import orjson
import pytest

import llmrouter
from tests.served import process

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that nothing is left behind in it."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for name in ("llmrouter", "prompts"):
        subprocess.run(
            ["cp", "-r", str(ROOT / name), str(source / name)], check=True, capture_output=True
        )
    build = ["pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(directory), "."]
    done = subprocess.run(
        [sys.executable, "-m", *build], cwd=source, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's files alone, to be put on the path."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def environment(installed: Path) -> dict[str, str]:
    """No setting, no key, and the unpacked wheel first on the path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LLMROUTER_", "OTEL_")) and not name.endswith("_API_KEY")
    }
    return {**kept, "PYTHONPATH": str(installed)}


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of the wheel in an empty folder."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "llmrouter", *arguments],
        env=environment(installed), cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_wheel_holds_the_prompts_of_the_repository(wheel: Path) -> None:
    """Byte for byte, and its licence."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        packed = {
            name.removeprefix("llmrouter/shipped_prompts/"): archive.read(name)
            for name in names
            if name.startswith("llmrouter/shipped_prompts/")
        }
        licences = [name for name in names if name.endswith("licenses/LICENSE")]
        assert b"Apache License" in archive.read(licences[0])
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        assert b"License-Expression: Apache-2.0" in archive.read(metadata)
    source = {
        str(path.relative_to(ROOT / "prompts")): path.read_bytes()
        for path in (ROOT / "prompts").rglob("*")
        if path.is_file() and ".history" not in path.parts
    }
    assert packed == source


def test_the_wheel_says_its_version(installed: Path, tmp_path: Path) -> None:
    """The same as the code's and the metadata's."""
    said = run(installed, tmp_path, "--version").stdout
    assert said == f"llmrouter {llmrouter.__version__}\n"
    assert (installed / f"llmrouter-{llmrouter.__version__}.dist-info").is_dir()


def test_the_wheel_decides_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """With the shipped prompts, and without a key."""
    done = run(installed, tmp_path, "route", "Hello", "--json")
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["source"] == "rules"


def test_the_wheel_writes_prompts_that_pass_its_check(installed: Path, tmp_path: Path) -> None:
    """`init --all`, then `catalog check`; a second `init` leaves them alone."""
    assert run(installed, tmp_path, "init", "--all").returncode == 0
    checked = run(installed, tmp_path, "catalog", "check")
    assert checked.returncode == 0, checked.stdout
    again = run(installed, tmp_path, "init", "--all")
    assert again.returncode == 1
    assert "not empty" in again.stderr


@pytest.mark.parametrize("command", ["demo", "serve"])
async def test_the_wheel_serves_from_an_empty_folder(
    command: str, installed: Path, tmp_path: Path
) -> None:
    """A decision is made; an edit of the package's own files is refused with what to do."""
    prompts = installed / "llmrouter" / "shipped_prompts"
    over = {"PYTHONPATH": str(installed), "LLMROUTER_PROMPTS": str(prompts), "OPENAI_API_KEY": "k"}
    with process(tmp_path, command, **over) as service:
        async with aiohttp.ClientSession(service.base) as session:
            async with session.post("/route", json={"prompt": "Hello"}) as answer:
                assert (await answer.json())["target"]
            async with session.put("/catalog/gpt-6-luna", data=b"---\n---\n") as refused:
                assert refused.status == 403
                assert "llmrouter init" in await refused.text()
