"""Rate limits and circuits of the whole service, in front of an upstream on a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.test_faults import Front, events, front, is_error

FORMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
DOORS = pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions"])
THRESHOLD = 5


async def post(
    up: Front, path: str, model: str, stream: bool = False, **over: Any
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request to one target, or `auto` with what it may use."""
    messages = [{"role": "user", "content": "What is 2+2?"}]
    body = {"model": model, "messages": messages, "stream": stream, **over}
    async with up.client.post(path, json=body) as response:
        return response.status, dict(response.headers), await response.read()


async def state(up: Front, target: str) -> str:
    """The state of a target's circuit, as `/metrics` shows it; closed where it is not known."""
    async with up.client.get("/metrics") as response:
        text = await response.text()
    prefix = "llmrouter_breaker_state{"
    shown = [line for line in text.splitlines() if line.startswith(prefix) and line.endswith("1.0")]
    for line in shown:
        if f'target="{target}"' in line:
            return line.partition('state="')[2].partition('"')[0]
    return "closed"


async def opened(up: Front, *targets: str) -> None:
    """Open the circuits of these targets by their own failures."""
    for target in targets:
        up.upstream.script[target] = ["s500"] * THRESHOLD
        for _ in range(THRESHOLD):
            status, _, _ = await post(up, "/complete", target)
            assert status == 502
        assert await state(up, target) == "open"


def message(body: bytes) -> str:
    """What an error says."""
    assert is_error(body)
    return str(orjson.loads(body)["error"]["message"])


@FORMS
@DOORS
async def test_rate_limits_at_once_are_one_wait_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    """Five at once rest the target for the second it asked for; one failure later opens nothing."""
    async with front(tmp_path, monkeypatch, threshold=2) as up:
        up.upstream.script["ok"] = ["wait1"] * 5
        answers = await asyncio.gather(*(post(up, path, "ok", stream) for _ in range(5)))
        for status, headers, body in answers:
            assert (status, headers["Retry-After"]) == (429, "1")
            assert orjson.loads(body)["error"]["code"] == "rate_limit_exceeded"
        sent = up.upstream.hits("ok")
        assert await state(up, "ok") == "cooldown"
        status, headers, body = await post(up, path, "ok", stream)
        assert (status, headers["Retry-After"]) == (429, "1")
        assert "rate limited by its provider, next try in 1 s" in message(body)
        assert up.upstream.hits("ok") == sent
        up.upstream.script["ok"] = ["s500", "ok"]
        async with asyncio.timeout(20):
            while (await post(up, path, "ok", stream))[0] == 429:  # noqa: ASYNC110 - its own time
                await asyncio.sleep(0.05)
        assert await state(up, "ok") == "closed"
        assert (await post(up, path, "ok", stream))[0] == 200


@FORMS
async def test_a_rate_limited_target_is_passed_over_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """The others answer meanwhile, and the decision says why it is out and until when."""
    async with front(tmp_path, monkeypatch) as up:
        for _ in range(2):
            async with up.ask("storm", stream, alone=False) as response:
                assert response.status == 200
                body = await response.read()
        assert up.upstream.hits("storm") == 1
        router = orjson.loads(events(body)[-2] if stream else body)["router"]
        reasons = {e["target"]: e["reason"] for e in router["excluded"]}
        assert reasons["storm"].startswith("rate limited by its provider, next try in ")


@DOORS
async def test_where_all_are_rate_limited_the_answer_is_429_with_the_soonest_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """For `auto` as for a target that is named."""
    async with front(tmp_path, monkeypatch) as up:
        for target in ("storm", "wait1"):
            assert (await post(up, path, target))[0] == 429
        allowed = {"allow": ["storm", "wait1"]}
        status, headers, body = await post(up, path, "auto", router=allowed)
        assert (status, headers["Retry-After"]) == (429, "1")
        assert orjson.loads(body)["error"]["type"] == "rate_limit_error"
        for target in allowed["allow"]:
            assert f"{target}: rate limited by its provider, next try in " in message(body)


@FORMS
@DOORS
async def test_an_overload_with_its_time_is_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    """503 with `Retry-After` goes back as 503 with the same time, and opens no circuit."""
    async with front(tmp_path, monkeypatch, threshold=2) as up:
        answers = await asyncio.gather(*(post(up, path, "full1", stream) for _ in range(4)))
        assert [(status, h["Retry-After"]) for status, h, _ in answers] == [(503, "1")] * 4
        assert await state(up, "full1") == "cooldown"


@FORMS
@DOORS
async def test_where_every_circuit_is_open_one_probe_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    """The least bad target is tried; it works again, so its circuit closes."""
    async with front(tmp_path, monkeypatch, threshold=THRESHOLD) as up:
        await opened(up, "ok", "ok2")
        allowed = {"allow": ["ok", "ok2"]}
        status, _, body = await post(up, path, "auto", stream, router=allowed)
        assert (status, is_whole(body, stream)) == (200, True)
        assert (await state(up, "ok"), await state(up, "ok2")) == ("closed", "open")
        status, _, body = await post(up, path, "ok2", stream)  # alone it is the least bad, too
        assert (status, await state(up, "ok2")) == (200, "closed")


def is_whole(body: bytes, stream: bool) -> bool:
    """Whether a reply came to its end."""
    return body.endswith(b"data: [DONE]\n\n") if stream else bool(orjson.loads(body)["choices"])


@DOORS
async def test_while_a_probe_is_out_the_others_are_told_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """One request at a time finds out; nobody else waits behind it, and 422 would be untrue."""
    async with front(tmp_path, monkeypatch, threshold=THRESHOLD) as up:
        await opened(up, "ok")
        up.upstream.script["ok"] = ["hang"]
        allowed = {"allow": ["ok"]}
        sent = up.upstream.hits("ok")
        probe = asyncio.ensure_future(post(up, path, "auto", router=allowed))
        async with asyncio.timeout(30):
            while up.upstream.hits("ok") == sent:  # noqa: ASYNC110 - a socket
                await asyncio.sleep(0.01)
        for model, over in (("auto", {"router": allowed}), ("ok", {})):
            status, headers, body = await post(up, path, model, **over)
            assert (status, orjson.loads(body)["error"]["type"]) == (503, "overloaded_error")
            assert 1 <= int(headers["Retry-After"]) <= 30
            assert "ok: " in message(body)
            assert "circuit open" in message(body) or "probing" in message(body)
        assert up.upstream.hits("ok") == sent + 1
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        async with asyncio.timeout(30):  # its caller left: the next request may probe
            while (await post(up, path, "ok"))[0] != 200:  # noqa: ASYNC110 - a socket closes
                await asyncio.sleep(0.01)


@FORMS
@DOORS
async def test_a_callers_own_haste_opens_no_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    """A budget under the target's own time says nothing of the target."""
    async with front(tmp_path, monkeypatch, hang_s=60, threshold=2) as up:
        for _ in range(4):
            budget = {"latency_budget_ms": 600}
            status, _, _ = await post(up, path, "hang", stream, router=budget)
            assert status == 504
        assert up.upstream.hits("hang") == 4
        assert await state(up, "hang") == "closed"


@FORMS
async def test_a_targets_own_timeout_opens_its_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """One that hangs for longer than its settings allow is not well."""
    async with front(tmp_path, monkeypatch, hang_s=0.2, threshold=2) as up:
        for _ in range(2):
            assert (await post(up, "/complete", "hang", stream))[0] == 502
        assert await state(up, "hang") == "open"


@FORMS
@DOORS
@pytest.mark.parametrize("mode", ["s400", "moderated", "no_endpoint", "long", "s413"])
async def test_a_callers_own_content_opens_no_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, path: str, stream: bool
) -> None:
    """However often one caller sends it, and whatever the status."""
    async with front(tmp_path, monkeypatch, threshold=2) as up:
        for _ in range(4):
            _, _, body = await post(up, path, mode, stream)
            assert b"credentials" not in body
        assert up.upstream.hits(mode) == 4
        assert await state(up, mode) == "closed"


@FORMS
@pytest.mark.parametrize("mode", ["s400", "s413", "long", "wait1"])
async def test_a_probe_that_is_refused_closes_the_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, stream: bool
) -> None:
    """It answered: it is well. A rate limit is then a wait by itself."""
    async with front(tmp_path, monkeypatch, threshold=THRESHOLD) as up:
        await opened(up, "ok")
        up.upstream.script["ok"] = [mode]
        status, _, _ = await post(up, "/complete", "ok", stream)
        assert 400 <= status < 500
        assert await state(up, "ok") == ("cooldown" if mode == "wait1" else "closed")


async def test_a_stream_that_always_breaks_off_opens_the_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first token is no success yet."""
    async with front(tmp_path, monkeypatch, threshold=THRESHOLD) as up:
        for _ in range(THRESHOLD):
            status, _, body = await post(up, "/complete", "cut", True)
            assert (status, is_error(events(body)[-1])) == (200, True)
        assert await state(up, "cut") == "open"


@pytest.mark.parametrize("mode", ["hang", "hang_role", "loris"])
@DOORS
async def test_a_stream_silent_before_its_first_token_falls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, path: str
) -> None:
    """After the target's own `ttft_timeout_s`, however long `timeout_s` is."""
    soon = {mode: "ttft_timeout_s: 0.3"}
    async with front(tmp_path, monkeypatch, hang_s=60, **soon) as up:
        messages = [{"role": "user", "content": f"use {mode} now"}]
        allowed = {"allow": [mode, "ok"]}
        status, _, body = await post(up, path, "auto", True, messages=messages, router=allowed)
        assert (status, is_whole(body, True)) == (200, True)
        assert up.upstream.hits(mode) == 1


@DOORS
@pytest.mark.parametrize("mode", ["hang_mid", "loris_mid"])
async def test_a_stream_silent_after_its_first_token_ends_in_an_error_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, path: str
) -> None:
    """After `stall_timeout_s`; it is never a silent cut."""
    async with front(tmp_path, monkeypatch) as up:
        status, _, body = await post(up, path, mode, True)
        *said, last = events(body)
        assert (status, is_error(last)) == (200, True)
        assert "the stream fell silent for 2 s" in message(last)
        assert b"Fo" in b"".join(said)


@DOORS
async def test_a_callers_deadline_bounds_a_silent_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Silence counts against it, before the first token and after it."""
    async with front(tmp_path, monkeypatch, hang_s=60) as up:
        budget = {"latency_budget_ms": 800}
        assert (await post(up, path, "hang", True, router=budget))[0] == 504
        status, _, body = await post(up, path, "hang_mid", True, router=budget)
        last = orjson.loads(events(body)[-1])
        assert (status, last["error"]["type"]) == (200, "timeout_error")
