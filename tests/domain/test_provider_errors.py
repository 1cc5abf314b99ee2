"""Errors as providers word them, and whose fault each is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrouter.domain.error_signs import SIGNS, ErrorCategory
from llmrouter.domain.provider_errors import category_of, classify, read_error
from llmrouter.errors import UpstreamFailure

OVERFLOW = ErrorCategory.CONTEXT_OVERFLOW
FILTERED = ErrorCategory.CONTENT_FILTERED
LIMITED = ErrorCategory.RATE_LIMITED
NO_CREDIT = ErrorCategory.INSUFFICIENT_QUOTA
OURS = ErrorCategory.MISCONFIGURED
UNSUPPORTED = ErrorCategory.UNSUPPORTED
INVALID = ErrorCategory.INVALID_REQUEST
OVERLOADED = ErrorCategory.OVERLOADED


def error(message: str, **over: Any) -> dict[str, Any]:
    """OpenAI's shape."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, **over}}


def google(code: int, message: str, status: str, **over: Any) -> dict[str, Any]:
    """Google's shape."""
    return {"error": {"code": code, "message": message, "status": status, **over}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    """Anthropic's shape."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def openrouter(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    """OpenRouter's shape, with what the provider behind it said."""
    return {"error": {"message": message, "code": code, "metadata": metadata}}


TOKENS = "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."
KEY = "API key not valid. Please pass a valid API key."
KEY_INVALID = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
LOW = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
TPM = (
    "Request too large for model `llama-3.1-70b-versatile` in organization `org_1` on tokens per "
    "minute (TPM): Limit 6000, Requested 14368, please reduce your message size and try again."
)
PLAN = "You exceeded your current quota, please check your plan and billing details."

SAID: list[tuple[str, int, object, ErrorCategory]] = [
    # too long
    ("openai", 400, error("m", code="context_length_exceeded"), OVERFLOW),
    ("openai-words", 400, error("Your input exceeds the context window of this model."), OVERFLOW),
    ("azure", 400, error("Input tokens exceed the configured limit of 272000 tokens."), OVERFLOW),
    ("anthropic", 400, anthropic("invalid_request_error",
     "prompt is too long: 209353 tokens > 199999 maximum"), OVERFLOW),
    ("anthropic-sum", 400, anthropic("invalid_request_error",
     "input length and `max_tokens` exceed context limit: 198000 + 8000 > 200000"), OVERFLOW),
    ("gemini", 400, google(400, TOKENS, "INVALID_ARGUMENT"), OVERFLOW),
    ("gemini-list", 400, [google(400, TOKENS, "INVALID_ARGUMENT")], OVERFLOW),
    ("gemini-nested", 400, {"error": {"message": json.dumps(google(400, TOKENS, "X")),
     "code": 400, "status": "Bad Request"}}, OVERFLOW),
    ("bedrock", 400, {"message": "Input is too long for requested model."}, OVERFLOW),
    ("mistral", 400, {"object": "error", "message": "Prompt contains 40000 tokens and 0 draft "
     "tokens, too large for model with 32768 maximum context length", "type":
     "invalid_request_error", "code": "3051"}, OVERFLOW),
    ("groq", 400, error("Please reduce the length of the messages or completion.",
     code="context_length_exceeded"), OVERFLOW),
    ("together", 422, error("Input validation error: `inputs` tokens + `max_new_tokens` must be "
     "<= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`"), OVERFLOW),
    ("fireworks", 400, error("The prompt is too long: 140000, model maximum context length: "
     "131071"), OVERFLOW),
    ("openrouter", 400, openrouter(400, "This endpoint's maximum context length is 32768 tokens. "
     "However, you requested about 42832 tokens"), OVERFLOW),
    ("openrouter-raw", 400, openrouter(400, "Provider returned error", raw=json.dumps(
     anthropic("invalid_request_error", "prompt is too long: 2 > 1")), provider_name="Anthropic"),
     OVERFLOW),
    ("deepseek", 400, error("This model's maximum context length is 65536 tokens. However, you "
     "requested 69648 tokens"), OVERFLOW),
    ("xai", 400, {"code": "Client specified an invalid argument", "error": "This model's maximum "
     "prompt length is 131072 but the request contains 537812 tokens."}, OVERFLOW),
    ("cohere", 400, {"message": "too many tokens: total number of tokens in this prompt cannot "
     "exceed 4081"}, OVERFLOW),
    ("llama.cpp", 400, {"error": {"code": 400, "message": "the request exceeds the available "
     "context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens":
     14429, "n_ctx": 8192}}, OVERFLOW),
    ("llama.cpp-500", 500, {"error": {"code": 500, "message": "Context size has been exceeded.",
     "type": "server_error"}}, OVERFLOW),
    ("llama-cpp-python", 400, error("Requested tokens (2285) exceed context window of 2048"),
     OVERFLOW),
    ("vllm", 400, {"object": "error", "message": "This model's maximum context length is 16384 "
     "tokens. However, you requested 19591 tokens", "type": "BadRequestError", "code": 400},
     OVERFLOW),
    ("vllm-parts", 400, error("The prompt (total length 25938) is too long to fit into the model "
     "(context length 4096)."), OVERFLOW),
    ("sglang", 400, {"object": "error", "message": "The input (9000 tokens) is longer than the "
     "model's context length (8192 tokens).", "type": "BadRequestError", "code": 400}, OVERFLOW),
    ("litellm", 400, error("litellm.BadRequestError: litellm.ContextWindowExceededError: "
     "AnthropicException - prompt is too long: 2 > 1", code="400"), OVERFLOW),
    ("lmstudio", 400, {"error": "The number of tokens to keep from the initial prompt is greater "
     "than the context length."}, OVERFLOW),
    ("cerebras", 413, None, OVERFLOW),
    # no money
    ("openai-quota", 429, error(PLAN, type="insufficient_quota", code="insufficient_quota"),
     NO_CREDIT),
    ("openai-hard", 400, error("Billing hard limit has been reached",
     code="billing_hard_limit_reached"), NO_CREDIT),
    ("anthropic-credit", 400, anthropic("invalid_request_error", LOW), NO_CREDIT),
    ("anthropic-402", 402, anthropic("billing_error", "pay"), NO_CREDIT),
    ("anthropic-cap", 400, anthropic("invalid_request_error", "You have reached your specified "
     "API usage limits. You will regain access on 2026-12-01."), NO_CREDIT),
    ("litellm-credit", 400, error(f"litellm.BadRequestError: AnthropicException - {LOW}"),
     NO_CREDIT),
    ("openrouter-raw-credit", 400, openrouter(400, "Provider returned error",
     raw=json.dumps(anthropic("invalid_request_error", LOW))), NO_CREDIT),
    ("xai-credit", 403, {"code": "The caller does not have permission to execute the specified "
     "operation", "error": "Your newly created team doesn't have any credits yet."}, NO_CREDIT),
    ("xai-429", 429, {"code": "x", "error": "Your team 1 has either used all available credits or "
     "reached its monthly spending limit."}, NO_CREDIT),
    ("gemini-credit", 429, [google(429, "Your prepayment credits are depleted. Please go to AI "
     "Studio", "RESOURCE_EXHAUSTED")], NO_CREDIT),
    ("google-billing", 403, google(403, "This API method requires billing to be enabled.",
     "PERMISSION_DENIED", details=[{"reason": "BILLING_DISABLED"}]), NO_CREDIT),
    ("deepseek-402", 402, error("Insufficient Balance", type="unknown_error"), NO_CREDIT),
    ("openrouter-402", 402, openrouter(402, "Insufficient credits", limit_source=
     "openrouter_credits"), NO_CREDIT),
    ("fireworks-412", 412, error("Account x is suspended, possibly due to reaching the monthly "
     "spending limit"), NO_CREDIT),
    ("moonshot", 429, error("m", type="exceeded_current_quota_error"), NO_CREDIT),
    ("alibaba", 400, error("Access denied", code="Arrearage"), NO_CREDIT),
    # by the minute
    ("groq-413", 413, error(TPM, type="tokens", code="rate_limit_exceeded"), LIMITED),
    ("openai-tpm", 429, error("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, "
     "Requested 342389."), LIMITED),
    ("gemini-429", 429, [google(429, PLAN, "RESOURCE_EXHAUSTED")], LIMITED),
    ("bedrock-429", 429, {"message": "Too many tokens, please wait before trying again."}, LIMITED),
    ("bedrock-type", 400, {"__type": "com.amazon.coral.service#ThrottlingException"}, LIMITED),
    ("anthropic-429", 429, anthropic("rate_limit_error", "slow"), LIMITED),
    ("mistral-429", 429, {"message": "Service tier capacity exceeded for this model."}, LIMITED),
    ("openrouter-in-flight", 402, openrouter(402, "m", limit_source="openrouter_in_flight_budget"),
     LIMITED),
    # our key, our names
    ("openai-401", 401, error("Incorrect API key provided: sk-12", code="invalid_api_key"), OURS),
    ("xai-key", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key "
     "provided: na***ys. You can obtain an API key from https://console.x.ai."}, OURS),
    ("gemini-key", 400, [google(400, KEY, "INVALID_ARGUMENT", details=KEY_INVALID)], OURS),
    ("bedrock-token", 403, {"message": "The security token included in the request is expired"},
     OURS),
    ("openai-model", 404, error("The model `x` does not exist", code="model_not_found"), OURS),
    ("azure-deployment", 404, error("The API deployment for this resource does not exist.",
     code="DeploymentNotFound"), OURS),
    ("deepseek-model", 400, error("Model Not Exist"), OURS),
    ("mistral-model", 400, {"object": "error", "message": "Invalid model: x", "type":
     "invalid_model", "code": "1500"}, OURS),
    ("bedrock-model", 400, {"message": "The provided model identifier is invalid."}, OURS),
    ("ollama-model", 404, error('model "x" not found, try pulling it first'), OURS),
    ("anthropic-model", 404, anthropic("not_found_error", "model: x"), OURS),
    # content
    ("openai-policy", 400, error("Your request was rejected", code="content_policy_violation"),
     FILTERED),
    ("azure-filter", 400, error("The response was filtered due to the prompt triggering Azure "
     "OpenAI's content management policy.", code="content_filter", innererror={"code":
     "ResponsibleAIPolicyViolation"}), FILTERED),
    ("xai-403", 403, {"code": "permission-denied", "error": "Content violates usage guidelines. "
     "Failed check: SAFETY_CHECK_TYPE_BIO"}, FILTERED),
    ("openrouter-403", 403, openrouter(403, "Your chosen model requires moderation and your input "
     "was flagged", reasons=["violence"], flagged_input="…"), FILTERED),
    ("anthropic-output", 400, anthropic("invalid_request_error", "Output blocked by content "
     "filtering policy"), FILTERED),
    ("deepseek-risk", 400, error("Content Exists Risk"), FILTERED),
    # what another target may take
    ("openrouter-tools", 404, openrouter(404, "No endpoints found that support tool use."),
     UNSUPPORTED),
    ("openrouter-image", 404, openrouter(404, "No endpoints found that support image input"),
     UNSUPPORTED),
    ("openai-parameter", 400, error("Unsupported parameter: 'temperature' is not supported with "
     "this model.", code="unsupported_parameter", param="temperature"), UNSUPPORTED),
    ("ollama-tools", 400, error("registry.ollama.ai/library/gemma:2b does not support tools"),
     UNSUPPORTED),
    ("deepseek-image", 400, error("Failed to deserialize: messages[0]: unknown variant "
     "`image_url`, expected `text`"), UNSUPPORTED),
    ("vllm-image", 400, error("x is not a multimodal model"), UNSUPPORTED),
    ("llama.cpp-image", 500, error("image input is not supported - hint: provide the mmproj"),
     UNSUPPORTED),
    ("gemini-field", 400, [google(400, 'Invalid JSON payload received. Unknown name "logit_bias": '
     "Cannot find field.", "INVALID_ARGUMENT")], UNSUPPORTED),
    # the rest
    ("plain-400", 400, error("temperature must be at most 2", code="invalid_value"), INVALID),
    ("fastapi-422", 422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, INVALID),
    ("user-id", 400, error("Invalid 'user': string too long.", code="string_above_max_length",
     param="user"), INVALID),
    ("anthropic-529", 529, anthropic("overloaded_error", "Overloaded"), OVERLOADED),
    ("gemini-503", 503, [google(503, "The model is overloaded.", "UNAVAILABLE")], OVERLOADED),
    ("anything-500", 500, None, ErrorCategory.SERVER_ERROR),
    ("anything-404", 404, None, OURS),
    ("anything-409", 409, None, ErrorCategory.CONFLICT),
]  # fmt: skip


def body_of(said: object) -> bytes:
    """A body as it arrives; None is an empty one."""
    return b"" if said is None else json.dumps(said).encode()


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [case[1:] for case in SAID],
    ids=[case[0] for case in SAID],
)
def test_every_provider_is_understood_in_its_own_words(
    status: int, said: object, expected: ErrorCategory
) -> None:
    """Status, type, code and wording as they were seen in the wild."""
    assert classify(status, read_error(body_of(said))) is expected


def test_an_error_in_a_200_is_read_by_its_words_alone() -> None:
    """It may name no status, or stand in a choice."""
    overflow = UpstreamFailure("error_body", "x", body=body_of(error("prompt is too long: 2 > 1")))
    assert category_of(overflow) is OVERFLOW
    choice = {"choices": [{"error": {"code": 429, "message": "slow"}, "finish_reason": "error"}]}
    limited = UpstreamFailure("error_body", "x", status=429, body=body_of(choice))
    assert category_of(limited) is LIMITED
    unnamed = UpstreamFailure("error_body", "x", body=b'{"error": "bad"}')
    assert category_of(unnamed) is ErrorCategory.SERVER_ERROR


QUOTED = ("Your credit balance is too low", "Incorrect API key provided: x", "Model Not Exist")


@pytest.mark.parametrize("words", QUOTED)
@pytest.mark.parametrize("status", [400, 422])
def test_words_of_a_caller_that_an_error_quotes_put_no_target_aside(
    words: str, status: int
) -> None:
    """Else one caller's text could make a target rest for everybody."""
    for said in (
        error(f"Invalid value: '{words}'. Supported values are: 'auto'."),
        {"detail": [{"msg": "bad", "input": words}]},
        error(f"messages[0].role: litellm. exception - {words}"),
    ):
        assert classify(status, read_error(body_of(said))) in (INVALID, UNSUPPORTED)


def test_what_a_provider_asks_to_wait_in_the_body_is_read() -> None:
    """Google's RetryInfo stands in no header."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    said = read_error(body_of([google(429, PLAN, "RESOURCE_EXHAUSTED", details=details)]))
    assert said.retry_after_s == 34.5
    odd = google(429, PLAN, "X", details=[{"retryDelay": "soon"}, {"retryDelay": "nans"}, 3])
    assert read_error(body_of(odd)).retry_after_s is None


KEYS = st.sampled_from(
    ["error", "message", "code", "type", "param", "status", "details", "reason", "metadata", "raw",
     "choices", "detail", "msg", "innererror", "x"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 200, 400, 401, 403, 404, 413, 422, 429, 500, 503]))
def test_bodies_of_any_shape_are_read(said: object, status: int | None) -> None:
    """Nothing an upstream says can break the reading of it."""
    read = read_error(json.dumps(said).encode())
    assert isinstance(read.message, str)
    assert isinstance(classify(status, read), ErrorCategory)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read(body: bytes) -> None:
    """Neither can bytes that are no JSON."""
    assert isinstance(classify(400, read_error(body)), ErrorCategory)


def test_plain_text_is_an_errors_message() -> None:
    """Some proxies answer without JSON; a page of HTML says nothing."""
    assert classify(400, read_error(b"Input is too long for requested model.")) is OVERFLOW
    assert read_error(b"<html>context length</html>").texts == ()


def test_every_sign_has_a_source_and_says_something() -> None:
    """A line nobody can check is a guess."""
    for sign in SIGNS:
        assert len(sign.source) > 10
        assert sign.names or sign.words or sign.begins or sign.statuses
        assert all(word == word.lower() for word in (*sign.names, *sign.words, *sign.begins))
