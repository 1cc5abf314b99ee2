"""Every telemetry name used outside the telemetry room, in one place.

The GenAI conventions are still in development: a renamed attribute is one line here. Names are
the published ones; what has none there is under `llmrouter.`.
"""

from __future__ import annotations

from typing import Final

GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_PROMPT_NAME: Final = "gen_ai.prompt.name"
GEN_AI_PROMPT_VERSION: Final = "gen_ai.prompt.version"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
HTTP_STATUS_CODE: Final = "http.response.status_code"

ATTEMPT: Final = "llmrouter.attempt"
TARGET: Final = "llmrouter.target"
COST_USD: Final = "llmrouter.cost_usd"
COST_ESTIMATED: Final = "llmrouter.cost_estimated"
OUTCOME: Final = "llmrouter.outcome"
ESCALATION_EVENT: Final = "llmrouter.escalation"
ESCALATION_REASON: Final = "llmrouter.escalation.reason"
ESCALATION_SIGNAL: Final = "llmrouter.escalation.signal"
