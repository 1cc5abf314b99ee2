"""Routed calls, and the keys that tests make them with."""

from __future__ import annotations

from llmrouter.auth.api_keys import Authenticator, parse_keys

HI = {"messages": [{"role": "user", "content": "2+2?"}]}
CHAT = {"model": "auto", **HI}
ROUTED = {"/route": HI, "/complete": HI, "/v1/chat/completions": CHAT}
KEYS = Authenticator(parse_keys("alice:sk-alice:pro,bob:sk-bob"), "sk-admin")


def bearer(key: str) -> dict[str, str]:
    """The header of a key."""
    return {"Authorization": f"Bearer {key}"}
