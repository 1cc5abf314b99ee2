"""The judge against servers and schemas that were made elsewhere.

System One is spoken by `callo` in front of a llama.cpp server, whose model has random weights; what
it answers is checked by `jevcompat`. Decisions are spoken by a server that checks every request by
the types of OpenAI's client, and that client is asked the same.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import httpx2
import pytest
from aiohttp import web
from openai import AsyncOpenAI, BadRequestError
from openai.types import Decision
from openai.types.decision_create_params import DecisionCreateParams
from pydantic import TypeAdapter, ValidationError

from benchmarks.processes import free_port
from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.interfaces import Judged
from llmrouter.domain.judgement import text_key
from llmrouter.errors import RouterLLMFailed
from llmrouter.judging.judge import Judge
from llmrouter.simulator.judging import decision
from llmrouter.upstream.router_client import RouterClient
from llmrouter.util.tasks import Background
from tests.fakes import RecordingObserver
from tests.judging.asking import to_judge, viewed
from tests.llama import MODEL_NAME, available, llama_server

READY_S = 60.0
LIMIT_MS = 120_000.0


class Recording(RouterClient):
    """The client that the service uses; what it posted and was answered is kept."""

    def __init__(self) -> None:
        super().__init__({})
        self.exchanged: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []

    async def post(
        self, llm: RouterLLM, path: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """Kept."""
        answer = await super().post(llm, path, body, timeout_s)
        self.exchanged.append((path, body, answer))
        return answer


@pytest.fixture
async def client() -> AsyncIterator[Recording]:
    """A client without a key."""
    one = Recording()
    yield one
    await one.close()


async def judged(client: RouterClient, background: Background, llm: RouterLLM) -> Judged:
    """One judgement of two targets."""
    context = to_judge(llm)
    judge = Judge(client, RecordingObserver(), viewed, background)
    return await judge.judge(context, context.targets())


@pytest.fixture(scope="module")
def callo() -> Iterator[str]:
    """The base URL of a System One server in front of llama.cpp."""
    there = available() and importlib.util.find_spec("callo") is not None
    if not there and not os.environ.get("CI"):
        pytest.skip("xllamacpp, gguf or callo is not installed")
    with llama_server() as upstream:
        port = free_port()
        command = ["-m", "callo", "serve", "--upstream", upstream.removesuffix("/v1")]
        command += ["--port", str(port)]
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            base_url = f"http://127.0.0.1:{port}/v1"
            _wait_until_loaded(process, base_url)
            yield base_url
        finally:
            process.kill()
            process.wait()


def _wait_until_loaded(process: subprocess.Popen[bytes], base_url: str) -> None:
    question = {"type": "noul", "instructions": "This is a question."}
    document = {"state": "Why?", "questions": {"a": question}}
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx2.TransportError):
            answer = httpx2.post(f"{base_url}/systemone", json=document, timeout=READY_S)
            if answer.status_code != 503:  # what it says while it looks at the model
                assert answer.status_code == 200, answer.text
                return
        time.sleep(0.05)
    raise RuntimeError("callo did not start")


async def test_a_system_one_server_judges_every_target(callo: str, client: Recording) -> None:
    """Asked in our words, it answers all questions, and a second suite finds no fault with that."""
    from jevcompat.client import Response, parse_json
    from jevcompat.validate import validate_success

    background = Background()
    llm = RouterLLM(MODEL_NAME, callo, timeout_ms=LIMIT_MS, protocol="systemone")
    judgement = (await judged(client, background, llm)).judgement
    assert judgement.missing(to_judge(llm).targets()) == ()
    assert judgement.protocol == "systemone"
    assert all(0.0 < one < 1.0 for one in judgement.probabilities.values())
    assert sum(judgement.levels) == pytest.approx(1.0)
    ((_, body, answer),) = client.exchanged
    data, wrong, odd = parse_json(json.dumps(answer).encode())
    headers = {"content-type": "application/json"}
    response = Response(200, headers, b"", 1.0, data, wrong, odd)
    assert [str(one) for one in validate_success(dict(body), response)] == []


async def test_an_unknown_server_is_found_to_speak_system_one(
    callo: str, client: Recording
) -> None:
    """`auto` asks by chat at once, which this model is no good at, and looks behind the request."""
    background = Background()
    llm = RouterLLM(MODEL_NAME, callo, timeout_ms=LIMIT_MS, protocol="auto")
    context = to_judge(llm)
    judge = Judge(client, RecordingObserver(), viewed, background)
    with pytest.raises(RouterLLMFailed) as caught:
        await judge.judge(context, context.targets())
    assert caught.value.kind == "low_mass"
    await background.close(60.0)
    second = await judge.judge(context, context.targets())
    assert second.judgement.protocol == "systemone"


def _exhausted(value: Any) -> Any:
    """What pydantic checks only when it is looked at (every Iterable), looked at."""
    if isinstance(value, dict):
        return {name: _exhausted(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_exhausted(one) for one in value]
    return value


@pytest.fixture
async def decisions() -> AsyncIterator[str]:
    """A server that takes what OpenAI's types take, and answers in their shape."""
    asked, answered = TypeAdapter(DecisionCreateParams), TypeAdapter(Decision)

    async def decide(request: web.Request) -> web.Response:
        document = await request.json()
        try:
            _exhausted(asked.validate_python(document))
        except ValidationError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)
        usage = {
            "input_tokens": 500,
            "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 500,
        }
        answer = {"model": document["model"], "answers": decision(document), "usage": usage}
        answered.validate_python(answer)
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post("/v1/decisions", decide)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


async def test_openais_own_client_gets_the_same_decision(decisions: str, client: Recording) -> None:
    """What we send is what `client.decisions.create` takes; what it reads is what we read."""
    background = Background()
    llm = RouterLLM("gpt-6-luna", decisions, timeout_ms=LIMIT_MS, protocol="decisions")
    judgement = (await judged(client, background, llm)).judgement
    ((path, body, _),) = client.exchanged
    assert path == "/decisions"
    async with AsyncOpenAI(base_url=decisions, api_key="none", max_retries=0) as official:
        told = await official.decisions.create(**dict(body))
    targets = sorted(to_judge(llm).targets(), key=lambda one: one.id)
    assert len(told.answers) == len(targets) + 2
    for target, answer in zip(targets, told.answers, strict=False):
        assert answer.type == "predicate"
        assert judgement.probabilities[text_key(target)] == pytest.approx(answer.probability)
    assert told.usage.output_tokens == 0


async def test_the_schema_refuses_what_the_types_do_not_know(decisions: str) -> None:
    """The server above is no rubber stamp."""
    async with AsyncOpenAI(base_url=decisions, api_key="none", max_retries=0) as official:
        with pytest.raises(BadRequestError, match="Input should be"):
            await official.decisions.create(model="m", input="x", questions=[{"type": "guess"}])  # type: ignore[list-item]
