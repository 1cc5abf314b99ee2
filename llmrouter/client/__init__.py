"""A typed client of a running service: `Client`, and `AsyncClient` with the same calls, awaited.

from llmrouter.client import Client

with Client("http://localhost:8080", api_key="…") as router:
    decision = router.route("Why is the sky blue?", quality=0.3)
    answer = router.complete("Why is the sky blue?", decision_id=decision.decision_id)
    router.feedback(decision.decision_id, 1.0)
"""

from llmrouter.client.clients import AsyncClient, Client
from llmrouter.client.models import (
    Alternative,
    Attempt,
    Completion,
    Decision,
    Estimate,
    Exclusion,
    RouterError,
)

__all__ = [
    "Alternative",
    "AsyncClient",
    "Attempt",
    "Client",
    "Completion",
    "Decision",
    "Estimate",
    "Exclusion",
    "RouterError",
]
