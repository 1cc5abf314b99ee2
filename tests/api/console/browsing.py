"""A real browser before a real service: Debian's Chromium through Playwright, axe at hand."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from llmrouter.shipped import shipped_prompts
from tests.served import Process, process

ADMIN_KEY = "the-admin-key"
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT_MS = 30_000.0
expect.set_options(timeout=WAIT_MS)
PROMPTS = (
    "Prove that the square root of 2 is irrational.",
    "Write a Python function that merges two sorted lists.",
    "Summarize in one sentence: the tide rises and falls twice a day.",
    "Translate to French: good morning, my friend",
    "What is the capital of Australia?",
    "Write a haiku about the sea",
)


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium. Without one the test is skipped, and in CI it fails."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@contextmanager
def service(directory: Path, **over: str) -> Iterator[Process]:
    """The demo with two workers and the shipped catalog, an admin key, and recorded prompts."""
    shutil.copytree(shipped_prompts(), directory / "prompts")
    settings = {"LLMROUTER_ADMIN_KEY": ADMIN_KEY, "LLMROUTER_RECORD_PROMPTS": "true", **over}
    with process(directory, "demo", workers=2, **settings) as served:
        yield served


def call(served: Process, method: str, path: str, body: Any = None) -> Any:
    """What the service answers, with the admin key."""
    request = urllib.request.Request(  # noqa: S310 - a loopback address of this test
        f"{served.base}{path}",
        None if body is None else json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {ADMIN_KEY}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


def rate(served: Process, name: str, score: float) -> None:
    """Feedback; a worker may not know yet what the other one has just decided."""
    for _ in range(100):
        try:
            call(served, "POST", "/feedback", {"decision_id": name, "score": score})
            return
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            time.sleep(0.1)
    raise AssertionError(f"no worker knows {name}")


def send_traffic(served: Process, count: int, score: float | None = None) -> list[str]:
    """Completions of several tasks, each with a rating; their decisions' ids."""

    def one(number: int) -> str:
        text = f"{PROMPTS[number % len(PROMPTS)]} ({number})"
        body = {"prompt": text, "router": {"session": f"s{number}"}}
        name: str = call(served, "POST", "/complete", body)["router"]["decision_id"]
        given = score if score is not None else 1 if number % 4 else -0.5
        rate(served, name, given)
        return name

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


@dataclass
class Reader:
    """Someone before a page of the console; `wrong` is what the page said went wrong."""

    page: Page
    base: str
    wrong: list[str]

    def goes(self, place: str) -> Page:
        """Open a place of the console, as `decisions?target=x`, and wait for its heading."""
        self.page.goto(f"{self.base}/#/{place}")
        self.page.locator("main h1").wait_for(state="attached")
        return self.page

    def uses_key(self, secret: str) -> None:
        """Put a key in."""
        self.page.locator("#who").click()
        self.page.get_by_label("Key", exact=True).fill(secret)
        self.page.get_by_role("button", name="Use this key").click()

    def audits(self, *rules: str) -> list[str]:
        """What axe finds by these rules (none: by all), a line each."""
        options = {"runOnly": list(rules)} if rules else {}
        response = Axe().run(self.page, options=options).response
        assert response["passes"], "axe looked at nothing"
        found = response["violations"]
        return [
            f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
            f" {one['nodes'][0].get('failureSummary', '')[:300]}"
            for one in found
        ]

    def overflow(self) -> int:
        """CSS pixels by which the page is wider than its window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))


@contextmanager
def reader(
    started: Browser, base: str, width: int = 1280, scheme: str = "light", **over: Any
) -> Iterator[Reader]:
    """A fresh window; anything that its page throws or its policy blocks is in `wrong`."""
    options: dict[str, Any] = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    context: BrowserContext = started.new_context(**options, **over)
    context.set_default_timeout(WAIT_MS)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield Reader(page, base, wrong)
    context.close()
