"""`llmrouter catalog import`, from each kind of source to files that load."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmrouter.catalog.importing.command import DONE, NO, USAGE, ImportOptions, run_import
from llmrouter.catalog.loader import load
from llmrouter.domain.target import Price, Target
from tests.catalog.importing.test_litellm_config import CONFIG
from tests.catalog.prompts_dir import written

OPENROUTER = {
    "data": [
        {
            "id": "vendor/big-model:free",
            "description": "Strong at everything.\n---\nReally: 100%",
            "context_length": 1000000,
            "pricing": {"prompt": "0.00000125", "completion": "0.00001"},
            "top_provider": {"max_completion_tokens": 65536},
            "architecture": {"input_modalities": ["text", "image", "file"]},
            "supported_parameters": ["tools", "structured_outputs", "temperature"],
        }
    ]
}
VLLM = {"data": [{"id": "org/llama", "owned_by": "vllm", "max_model_len": 32768}]}
OLLAMA = {"object": "list", "data": [{"id": "qwen3:8b", "object": "model", "owned_by": "library"}]}
SHOWN = {
    "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    "capabilities": ["completion", "tools", "thinking"],
}


class Listing(ThreadingHTTPServer):
    """A server with one model listing below /v1, as Ollama, vLLM and OpenRouter have."""

    answers: dict[str, Any]
    keys: list[str | None]


@pytest.fixture
def server() -> Iterator[Listing]:
    """The server; a test says what it answers."""

    class Handler(BaseHTTPRequestHandler):
        server: Listing

        def do_GET(self) -> None:
            self.server.keys.append(self.headers["Authorization"])
            answer = self.server.answers.get(self.path)
            self.send_response(200 if answer is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_POST = do_GET  # noqa: N815 - the name that the base class calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base has it
            pass

    listening = Listing(("127.0.0.1", 0), Handler)
    listening.answers, listening.keys = {}, []
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield listening
    listening.shutdown()
    listening.server_close()
    thread.join()


def run(source: str | Path, directory: Path, **over: Any) -> tuple[int, str]:
    """The exit code and what was said."""
    out = io.StringIO()
    return run_import(ImportOptions(str(source), directory, **over), out), out.getvalue()


def served(listing: Listing, directory: Path, **over: Any) -> tuple[int, str]:
    """An import from the running server."""
    return run(f"http://127.0.0.1:{listing.server_address[1]}", directory, **over)


def targets(directory: Path) -> dict[str, Target]:
    """What the written directory loads as."""
    return dict(load(directory).targets)


def test_a_litellm_configuration_becomes_a_directory_that_loads(tmp_path: Path) -> None:
    """A folder that was not there is served from afterwards."""
    source = tmp_path / "config.yaml"
    source.write_text(CONFIG)
    code, said = run(source, tmp_path / "prompts")
    assert code == DONE, said
    found = targets(tmp_path / "prompts")
    assert set(found) == {"claude-best", "gpt-4o", "local"}
    assert found["gpt-4o"].access.query == {"api-version": "2024-06-01"}
    assert len(found["local"].access.endpoints) == 2
    assert found["claude-best"].price == Price(3.0, 15.0, 0.3)
    assert "ANTHROPIC_API_KEY" in said


def test_openrouters_listing_brings_prices_limits_and_capabilities(
    server: Listing, tmp_path: Path
) -> None:
    """A description with marks of its own does not break the file."""
    server.answers["/v1/models"] = OPENROUTER
    code, said = served(server, written(tmp_path), key_env="OPENROUTER_API_KEY")
    assert code == DONE, said
    model = targets(tmp_path)["big-model-free"]
    assert (model.model, model.api_key_env) == ("vendor/big-model:free", "OPENROUTER_API_KEY")
    assert model.price == Price(1.25, 10.0)
    assert (model.context_window, model.max_output) == (1000000, 65536)
    assert model.capabilities == {"tools", "json_schema", "vision", "files"}
    assert "Strong at everything." in model.description


def test_vllm_tells_its_context_and_is_free(server: Listing, tmp_path: Path) -> None:
    """`max_model_len` is what the server was started with."""
    server.answers["/v1/models"] = VLLM
    code, said = served(server, written(tmp_path))
    assert code == DONE, said
    model = targets(tmp_path)["llama"]
    assert (model.provider, model.context_window, model.price) == ("vllm", 32768, Price(0, 0))


def test_ollama_is_asked_for_each_models_context_and_capabilities(
    server: Listing, tmp_path: Path
) -> None:
    """Its listing has names alone; `/api/show` has the rest."""
    server.answers = {"/v1/models": OLLAMA, "/api/show": SHOWN}
    code, said = served(server, written(tmp_path))
    assert code == DONE, said
    model = targets(tmp_path)["qwen3-8b"]
    assert (model.provider, model.context_window) == ("ollama", 40960)
    assert model.capabilities == {"tools", "reasoning"}


def test_the_addresss_key_is_sent_and_not_written(
    server: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the variable's name goes into the file."""
    monkeypatch.setenv("LISTING_KEY", "sk-listing-0123456789")
    server.answers["/v1/models"] = VLLM
    served(server, written(tmp_path), key_env="LISTING_KEY")
    assert server.keys[-1] == "Bearer sk-listing-0123456789"
    text = (tmp_path / "catalog" / "llama.md").read_text()
    assert "api_key_env: LISTING_KEY" in text
    assert "sk-listing" not in text


def test_a_price_list_updates_the_targets_it_knows(tmp_path: Path) -> None:
    """Prices change with their source and date beside them; other models are not added."""
    prices = {
        "small-1": {"input_cost_per_token": 1e-07, "output_cost_per_token": 4e-07, "mode": "chat"},
        "openai/other": {"input_cost_per_token": 1e-07, "output_cost_per_token": 4e-07},
    }
    source = tmp_path / "prices.json"
    source.write_text(json.dumps(prices))
    directory = written(tmp_path / "prompts")
    code, said = run(source, directory)
    assert code == DONE, said
    found = targets(directory)
    assert found["small"].price == Price(0.1, 0.4)
    assert set(found) == {"small", "large"}
    assert "prices.json, 20" in (directory / "catalog" / "small.md").read_text()


def test_models_of_a_price_list_are_added_where_they_are_chosen(tmp_path: Path) -> None:
    """`--only` says which; the plain form has USD per million."""
    source = tmp_path / "prices.json"
    source.write_text(
        json.dumps(
            {
                "gpt-a": {"input": 0.5, "output": 2, "context_window": 100000},
                "gpt-b": {"input": 1, "output": 2},
            }
        )
    )
    directory = written(tmp_path / "prompts")
    code, said = run(source, directory, only=("gpt-a*",))
    assert code == DONE, said
    assert targets(directory)["gpt-a"].price == Price(0.5, 2.0)
    assert "gpt-b" not in targets(directory)


def test_files_that_exist_are_kept(server: Listing, tmp_path: Path) -> None:
    """An import never overwrites what somebody wrote."""
    server.answers["/v1/models"] = {"data": [{"id": "small", "owned_by": "vllm"}]}
    directory = written(tmp_path)
    before = (directory / "catalog" / "small.md").read_text()
    code, said = served(server, directory)
    assert (code, "kept catalog/small.md" in said) == (NO, True)
    assert (directory / "catalog" / "small.md").read_text() == before


def test_a_dry_run_writes_nothing(server: Listing, tmp_path: Path) -> None:
    """It says what would be written."""
    server.answers["/v1/models"] = VLLM
    code, said = served(server, tmp_path / "prompts", dry_run=True)
    assert (code, "added catalog/llama.md" in said) == (DONE, True)
    assert not (tmp_path / "prompts").exists()


def test_many_models_have_to_be_chosen(server: Listing, tmp_path: Path) -> None:
    """Hundreds of targets are nobody's catalog."""
    server.answers["/v1/models"] = {"data": [{"id": f"m{n}"} for n in range(200)]}
    code, said = served(server, tmp_path)
    assert (code, "--only" in said) == (USAGE, True)
    code, said = served(server, tmp_path, only=("m1?",))
    assert (code, len(targets(tmp_path))) == (DONE, 10)


def test_an_address_without_a_listing_is_a_clear_error(server: Listing, tmp_path: Path) -> None:
    """Both places that were tried are named."""
    code, said = served(server, tmp_path)
    assert code == USAGE
    assert "/models: it answers 404" in said
    assert "/v1/models" in said


@pytest.mark.parametrize("name", ["absent.json", "absent.yaml"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    """With what the system says."""
    code, said = run(tmp_path / name, tmp_path)
    assert (code, name in said) == (USAGE, True)
