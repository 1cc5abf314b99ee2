"""The embedded model's server: started, asked, stopped."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from llmrouter.embedded.launcher import running
from llmrouter.embedded.models import SMOLLM2, EmbeddedModel, EmbeddedUnavailable
from tests.embedded.local_model import required_models


async def test_it_answers_with_the_probability_of_each_first_token() -> None:
    """The server speaks chat completions with log-probabilities, and is gone afterwards."""
    body = {
        "messages": [{"role": "user", "content": "Is grass green? Answer Yes or No."}],
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 5,
    }
    with running(required_models()) as urls:
        base_url = urls[SMOLLM2]
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{base_url}/chat/completions", json=body) as response,
        ):
            assert response.status == 200
            answer = await response.json()
    assert answer["model"] == SMOLLM2
    assert answer["usage"]["completion_tokens"] == 1
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 5
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{base_url}/models")


def test_a_file_that_is_no_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A broken file ends the start with the server's own words."""
    required_models()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    with (
        pytest.raises(EmbeddedUnavailable, match=r"broken did not start: .+"),
        running([EmbeddedModel("broken", broken)]),
    ):
        pass
