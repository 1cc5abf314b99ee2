"""What `serve` says when it starts."""

from __future__ import annotations

from pathlib import Path

from llmrouter.catalog.loader import load
from llmrouter.commands.startup_report import startup_report
from tests.catalog.prompts_dir import LARGE, SMALL, written

LOCAL = LARGE.replace("api_key_env: EXAMPLE_KEY\n", "").replace(
    "https://api.example.com", "http://localhost:1"
)


def test_each_target_that_cannot_serve_has_its_reason(tmp_path: Path) -> None:
    """A key that is not set and a local server that is not there, a line each."""
    catalog = load(written(tmp_path, large=LOCAL))
    well, unwell = startup_report(catalog, {}, lambda base_url: False)
    assert well == []
    assert "small cannot serve: EXAMPLE_KEY is not set" in unwell
    assert "large cannot serve: nothing listens at http://localhost:1/v1" in unwell
    assert "no target can serve" in unwell[-1]


def test_targets_that_can_serve_are_one_line(tmp_path: Path) -> None:
    """With its key and its server both are fine, and nothing else is said."""
    catalog = load(written(tmp_path, large=LOCAL))
    said = startup_report(catalog, {"EXAMPLE_KEY": "k"}, lambda base_url: True)
    assert said == (["can serve: large, small"], [])


def test_a_remote_server_is_not_probed(tmp_path: Path) -> None:
    """Only servers of this machine are; a provider's health shows with its first answer."""
    catalog = load(written(tmp_path, small=SMALL.replace("api_key_env: EXAMPLE_KEY\n", "")))
    probed: list[str] = []

    def listens(base_url: str) -> bool:
        probed.append(base_url)
        return False

    well, _ = startup_report(catalog, {"EXAMPLE_KEY": "k"}, listens)
    assert well == ["can serve: large, small"]
    assert probed == []
