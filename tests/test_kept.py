"""Nothing acknowledged is lost: the service as a process that is killed, on a full disk, in a
folder that is deleted or damaged, and over a Redis that hangs."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis
from redis.exceptions import RedisError

from llmrouter.journal.journal import LOG_NAME
from llmrouter.store.disk import DiskStore
from tests.catalog.prompts_dir import ROUTING, written
from tests.served import Process, free_port, process

RULES = ROUTING.split("router:")[0] + "rules: []\n"
PATIENCE_S = 60.0


@dataclass
class Service:
    """The running service, asked over HTTP."""

    process: Process

    def ask(self, path: str, **body: Any) -> tuple[int, dict[str, str], Any]:
        """Status, headers and document of a POST; a GET without a body."""
        data = orjson.dumps(body) if body else None
        request = urllib.request.Request(self.process.base + path, data)  # noqa: S310 - our own
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
                return answer.status, dict(answer.headers), _document(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), _document(error.read())

    def decide(self) -> str:
        """A decision's id."""
        status, _, said = self.ask("/route", prompt="Say something about copper.")
        assert status == 200
        name: str = said["decision_id"]
        return name

    def rate(self, decision_id: str, comment: str) -> int:
        """The status that a rating gets."""
        return self.ask(
            "/feedback", decision_id=decision_id, score=1, preferred=None, comment=comment
        )[0]

    def store(self) -> Any:
        """What /readyz says of the store."""
        return self.ask("/readyz")[2]["store"]["status"]

    def shown_unavailable(self) -> float:
        """What /metrics says of it."""
        request = self.process.base + "/metrics"
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            lines = answer.read().decode().splitlines()
        found = [x for x in lines if x.startswith("llmrouter_store_unavailable")]
        return max(float(line.rpartition(" ")[2]) for line in found)


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body


@contextlib.contextmanager
def served(directory: Path, **over: str) -> Iterator[Service]:
    """The service by rules alone, with ratings' comments kept."""
    if not (directory / "prompts").exists():
        written(directory / "prompts", routing=RULES)
    over = {"LLMROUTER_RECORD_PROMPTS": "true", **over}
    with process(directory, "serve", **over) as running:
        yield Service(running)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    ends = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends, "it never came to hold"
        time.sleep(0.05)


async def kept(folder: Path) -> list[str]:
    """The comments of the ratings in a store."""
    store = DiskStore(folder)
    batches = await store.tail(LOG_NAME, 1000)
    await store.close()
    entries = [orjson.loads(line) for batch in batches for line in batch.split(b"\n")]
    return [entry["comment"] for entry in entries if entry["kind"] == "feedback"]


async def test_what_was_acknowledged_outlives_kill_9_a_full_disk_and_a_deleted_folder(
    tmp_path: Path,
) -> None:
    """A rating is answered 202 only when it is kept; else 503, and that shows everywhere."""
    folder = tmp_path / "store"
    with served(tmp_path) as up:
        pid = up.process.popen.pid
        name = up.decide()
        assert up.rate(name, "before") == 202
        shutil.rmtree(folder)
        assert up.rate(name, "after it was deleted") == 202
        assert (folder / "cache.db").exists()

        no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        status, headers, said = up.ask("/feedback", decision_id=name, score=1, comment="x" * 3000)
        assert (status, said["error"]["code"]) == (503, "store_unavailable")
        assert int(headers["Retry-After"]) >= 1
        assert up.store() == "unavailable"
        assert up.shown_unavailable() == 1
        assert up.ask("/route", prompt="Is anyone there?")[0] == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, no_limit)
        eventually(lambda: up.rate(name, "there is room again") == 202)
        assert up.store() == "ok"
        assert up.shown_unavailable() == 0

        assert up.rate(name, "the last one") == 202
        up.process.signal(signal.SIGKILL)
        assert up.process.ends() == -signal.SIGKILL
    comments = await kept(folder)
    assert comments[0] == "after it was deleted"
    assert comments[-2:] == ["there is room again", "the last one"]
    assert "x" * 3000 not in comments
    with served(tmp_path) as again:
        assert again.store() == "ok"
        assert again.rate(again.decide(), "after a restart") == 202


async def test_a_damaged_database_is_set_aside_while_serving_and_at_the_start(
    tmp_path: Path,
) -> None:
    """Requests are answered all the while, ratings are kept in a fresh one, and it is logged."""
    folder = tmp_path / "store"
    with served(tmp_path) as up:
        assert up.rate(up.decide(), "before") == 202
        garbage = folder / "garbage"
        garbage.write_bytes(b"no database at all" * 1000)
        garbage.replace(folder / "cache.db")  # as a bad backup would be put in its place
        assert up.rate(up.decide(), "after it was damaged") == 202
        assert up.store() == "ok"
        assert "is kept as" in up.process.log.read_text()
    assert await kept(folder) == ["after it was damaged"]
    database = folder / "cache.db"
    os.truncate(database, database.stat().st_size // 2 + 100)
    with served(tmp_path) as again:
        assert again.rate(again.decide(), "after a restart") == 202
        assert "is kept as" in again.process.log.read_text()
    assert await kept(folder) == ["after a restart"]
    assert len(list(folder.glob("cache.db.broken-*"))) == 2


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A Redis of one test: its address and process."""
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("CI must stop a Redis server: install redis-server")
        pytest.skip("no redis-server here")
    port = free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        with contextlib.closing(Redis(port=port)) as client:

            def answers() -> bool:
                with contextlib.suppress(RedisError):
                    return bool(client.ping())
                return False

            eventually(answers)
        yield f"redis://127.0.0.1:{port}/0", server.pid
    finally:
        server.kill()
        server.wait()


def test_a_redis_that_hangs_is_left_alone_and_found_again(
    tmp_path: Path, redis_server: tuple[str, int]
) -> None:
    """Requests are answered, ratings are 503 and not 202, and afterwards all is as before."""
    url, pid = redis_server
    with served(tmp_path, LLMROUTER_STORE=url, LLMROUTER_KEY_LIMITS="* requests=10000/m") as up:
        name = up.decide()
        eventually(lambda: up.rate(name, "before") == 202)
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(20):
                assert up.ask("/route", prompt="Say something about tin.")[0] == 200
            status, headers, said = up.ask("/feedback", decision_id=name, score=1)
            assert (status, said["error"]["code"]) == (503, "store_unavailable")
            assert int(headers["Retry-After"]) >= 1
            assert up.store() == "unavailable"
            assert up.shown_unavailable() == 1
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: up.rate(name, "after") == 202)
        assert up.store() == "ok"
        assert up.shown_unavailable() == 0
