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

JUDGE_PROTOCOL: Final = "llmrouter.judge.protocol"
ATTEMPT: Final = "llmrouter.attempt"
TARGET: Final = "llmrouter.target"
COST_USD: Final = "llmrouter.cost_usd"
COST_ESTIMATED: Final = "llmrouter.cost_estimated"
OUTCOME: Final = "llmrouter.outcome"
ESCALATION_EVENT: Final = "llmrouter.escalation"
ESCALATION_REASON: Final = "llmrouter.escalation.reason"
ESCALATION_SIGNAL: Final = "llmrouter.escalation.signal"

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name, not a secret
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
URL_SCHEME: Final = "url.scheme"

SOURCE: Final = "llmrouter.source"
CONFIDENCE: Final = "llmrouter.confidence"
CACHE_HIT: Final = "llmrouter.cache.hit"

METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - a name, not a secret
METRIC_SERVER_DURATION: Final = "http.server.request.duration"
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
METRIC_DECISION_DURATION: Final = "llmrouter.decision.duration"
METRIC_OVERHEAD_DURATION: Final = "llmrouter.overhead.duration"

SECONDS_BOUNDARIES: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
TOKEN_BOUNDARIES: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip
HTTP_BOUNDARIES: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
OVERHEAD_BOUNDARIES: Final = (
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0,
)  # fmt: skip
