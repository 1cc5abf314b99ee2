"""Which protocol a router LLM's server speaks: known hosts, then what it has shown.

An unknown server is asked by chat at once, which most speak. Whether it also answers typed
questions is found out behind the requests, by a request without a question, which costs nothing;
what was found is remembered for
an hour. A server that turns a protocol down is asked by the next one in the same request, and that
is remembered as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from llmrouter.domain.catalog import RouterLLM
from llmrouter.domain.patterns import compile_pattern

RELEARN_S: Final = 3600.0
CHAT, STRUCTURED = "chat", "json"
_HOSTS: Final = (
    # host, models, protocol
    (compile_pattern(r"^api\.openai\.com$"), compile_pattern(r"^gpt-6-luna"), "decisions"),
    (compile_pattern(r"^api\.openai\.com$"), compile_pattern(r""), CHAT),
    (compile_pattern(r"(^|\.)typesafe\.ai$"), compile_pattern(r""), "systemone"),
    (
        compile_pattern(r"^api\.upstage\.ai$"),
        compile_pattern(r"decide", ignore_case=True),
        "systemone",
    ),
    (compile_pattern(r"(^|\.)anthropic\.com$|googleapis\.com$"), compile_pattern(r""), CHAT),
    (
        compile_pattern(r""),
        compile_pattern(r"(^|/)jev\b|system-?one", ignore_case=True),
        "systemone",
    ),
)


class Dialects:
    """Remembers, by server and model. Confined to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spoken: dict[tuple[str, str], tuple[str, float]] = {}
        self._refused: dict[tuple[str, str, str], float] = {}
        self._probed: dict[tuple[str, str], float] = {}

    def order(self, llm: RouterLLM) -> list[str]:
        """The protocols to try in turn, the likeliest first; those turned down lately are out."""
        place = (llm.base_url, llm.model)
        if llm.protocol != "auto":
            wanted = [llm.protocol]
        else:
            learned = self._spoken.get(place)
            first = learned[0] if learned and self._fresh(learned[1]) else known_protocol(llm)
            wanted = list(dict.fromkeys((first or CHAT, CHAT)))
        if CHAT in wanted:
            wanted.append(STRUCTURED)
        left = [name for name in wanted if not self._turned_down((*place, name))]
        return left or wanted[-1:]

    def speaks(self, llm: RouterLLM, protocol: str) -> bool:
        """Whether the server has answered by `protocol` lately."""
        known = self._spoken.get((llm.base_url, llm.model))
        return known is not None and known[0] == protocol and self._fresh(known[1])

    def learn(self, llm: RouterLLM, protocol: str) -> None:
        """The server answered by `protocol`."""
        self._spoken[llm.base_url, llm.model] = protocol, self._clock()

    def refuse(self, llm: RouterLLM, protocol: str) -> None:
        """The server does not speak `protocol`."""
        self._refused[llm.base_url, llm.model, protocol] = self._clock()

    def wants_probe(self, llm: RouterLLM) -> bool:
        """Whether to find out, behind a request, if the server answers typed questions. Asks once
        an hour, and only of servers of which nothing is known.
        """
        place = (llm.base_url, llm.model)
        if llm.protocol != "auto" or known_protocol(llm) is not None:
            return False
        if self._fresh(self._probed.get(place)):
            return False
        self._probed[place] = self._clock()
        return True

    def _turned_down(self, name: tuple[str, str, str]) -> bool:
        return self._fresh(self._refused.get(name))

    def _fresh(self, at: float | None) -> bool:
        return at is not None and self._clock() - at < RELEARN_S


def known_protocol(llm: RouterLLM) -> str | None:
    """What a well-known host speaks; None for others."""
    host = urlsplit(llm.base_url).hostname or ""
    for hosts, models, protocol in _HOSTS:
        if hosts.search(host) and models.search(llm.model):
            return protocol
    return None
