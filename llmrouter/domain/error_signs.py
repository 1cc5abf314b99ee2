"""How providers and servers word their errors: one table, each line with where it was seen.

A sign matches by the names an error carries (its `type`, `code`, `status`, reasons) or by its
words. Words are plain substrings of the lower-cased message, never patterns: a message may be as
long as an upstream likes. Lines are tried in order and the first match decides, so a narrow sign
stands above a wide one.

Messages can quote the request. What a caller can have quoted must not harm other callers, so the
two categories that put a target aside (`insufficient_quota`, `misconfigured`) match words at the
message's beginning alone (`begins`), where a provider's own words stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorCategory(StrEnum):
    """Whose fault an upstream's error is, and so what may help.

    The first ten are what an upstream said; the rest are kinds of failures without its words.
    """

    __hash__ = str.__hash__  # an Enum's own is a call of Python's

    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_FILTERED = "content_filtered"
    RATE_LIMITED = "rate_limited"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    MISCONFIGURED = "misconfigured"
    UNSUPPORTED = "unsupported"
    INVALID_REQUEST = "invalid_request"
    OVERLOADED = "overloaded"
    CONFLICT = "conflict"
    SERVER_ERROR = "server_error"
    NOT_IMPLEMENTED = "not_implemented"
    CONNECT = "connect"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    EMPTY = "empty"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    SATURATED = "saturated"
    CIRCUIT_OPEN = "circuit_open"
    COOLDOWN = "cooldown"
    STALLED = "stalled"
    UNTRANSLATABLE = "untranslatable"


_C = ErrorCategory


@dataclass(frozen=True, slots=True)
class Sign:
    """One line of the table.

    It matches an error of one of `statuses` (empty: any, or none at all) that carries one of
    `names`, or whose message holds one of `words`, or begins with one of `begins`. A sign without
    any of the three matches by status alone. `source` says where the wording was seen.
    """

    category: ErrorCategory
    source: str
    statuses: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REQUEST = frozenset({400, 404, 413, 422})
_REFUSED = frozenset({400, 401, 402, 403, 404, 412, 422, 429})
_BROKEN = frozenset({400, 404, 413, 422, 500})  # some servers answer a refusal with 500
_SECRET = frozenset({400, 401, 403})

SIGNS: tuple[Sign, ...] = (
    # Moderation: the caller's content, whatever the status.
    Sign(
        _C.CONTENT_FILTERED,
        "OpenAI platform docs, error codes; Azure OpenAI docs, content "
        "filtering (innererror.code); "
        "Alibaba Model Studio docs, error codes; LiteLLM exception_mapping_utils.py",
        names=_names(
            "content_filter content_policy_violation responsibleaipolicyviolation moderation "
            "moderation_blocked data_inspection_failed datainspectionfailed invalid_prompt "
            "prohibited_content contentpolicyviolationerror guardrail_intervened"
        ),
    ),
    Sign(
        _C.CONTENT_FILTERED,
        "xAI: github.com/UKGovernmentBEIS/inspect_ai/pull/2267 (403, 'Content violates usage "
        "guidelines'); Azure: 'content management policy'; OpenAI: 'usage "
        "policy', 'safety system'; "
        "Anthropic: 'Output blocked by content filtering policy'; DeepSeek: 'Content Exists Risk'; "
        "LiteLLM: 'ContentPolicyViolationError'; Azure Foundry: 'content_filter_policy'",
        words=(
            "violates usage guidelines",
            "content management policy",
            "violating our usage policy",
            "our safety system",
            "content filtering policy",
            "content exists risk",
            "contentpolicyviolationerror",
            "requires moderation",
        ),
    ),
    # An account without money, told in five statuses. Gemini's "You exceeded your current quota,
    # please check your plan" is a limit per minute or day and is left to its 429: by name alone.
    Sign(
        _C.RATE_LIMITED,
        "OpenRouter docs, errors-and-debugging: 402 `in_flight_budget_exhausted` passes by itself",
        names=_names("in_flight_budget_exhausted openrouter_in_flight_budget"),
    ),
    Sign(
        _C.INSUFFICIENT_QUOTA,
        "OpenAI platform docs, error codes (429 insufficient_quota, billing_*); Anthropic docs, "
        "errors (402 billing_error); Moonshot docs (429 exceeded_current_quota_error); Google "
        "ErrorInfo reason BILLING_DISABLED; Alibaba Model Studio (400 Arrearage); OpenRouter docs "
        "(402 payment_required)",
        names=_names(
            "insufficient_quota billing_error billing_not_active billing_hard_limit_reached "
            "exceeded_current_quota_error billing_disabled arrearage payment_required "
            "insufficient_balance insufficient_credits openrouter_credits openrouter_key_limit"
        ),
    ),
    Sign(
        _C.INSUFFICIENT_QUOTA,
        "Anthropic: github.com/anthropics/claude-code/issues/66314 (400); xAI: github.com/"
        "continuedev/continue/issues/12670 (403) and 10373 (429); Gemini: github.com/dyad-sh/dyad/"
        "issues/3626 (429); DeepSeek docs, error codes (402); Fireworks docs, errors (412)",
        statuses=_REFUSED,
        begins=(
            "your credit balance is too low",
            "you have reached your specified api usage limits",
            "your newly created team",
            "your prepayment credits are depleted",
            "insufficient balance",
            "insufficient credits",
            "insufficient account balance",
            "credit limit exceeded",
            "billing hard limit has been reached",
            "this api method requires billing",
        ),
    ),
    Sign(
        _C.INSUFFICIENT_QUOTA,
        "xAI: 'Your team … has either used all available credits or reached its monthly spending "
        "limit' (github.com/continuedev/continue/issues/10373); Fireworks docs: 'Account … is "
        "suspended, possibly due to reaching the monthly spending limit' (412)",
        statuses=frozenset({412, 429}),
        begins=("your team ", "account "),
    ),
    Sign(_C.INSUFFICIENT_QUOTA, "402 Payment Required: all of them", frozenset({402})),
    # Limits by the minute or day; 413 is how Groq says that a request is over them.
    Sign(
        _C.RATE_LIMITED,
        "Groq: github.com/HunorLaczko/ha-groq-cloud-api/issues/27 (413, type tokens); OpenAI docs; "
        "Anthropic docs (rate_limit_error); Google (RESOURCE_EXHAUSTED, RATE_LIMIT_EXCEEDED); "
        "Bedrock: github.com/RooCodeInc/Roo-Code/issues/5050 (ThrottlingException)",
        names=_names(
            "rate_limit_exceeded rate_limit_error rate_limit_reached ratelimitexceeded "
            "resource_exhausted throttlingexception too_many_requests toomanyrequestsexception "
            "requests_limit_exceeded ratelimiterror request_rate_limited"
        ),
    ),
    Sign(
        _C.RATE_LIMITED,
        "OpenAI and Groq: 'on tokens per min (TPM): Limit 30000, Requested …'; Azure: 'exceeded "
        "token rate limit'; Mistral: 'Service tier capacity exceeded for this model' (LiteLLM)",
        statuses=frozenset({403, 413, 429, 500, 503}),
        words=(
            "tokens per min",
            "requests per min",
            "tokens per day",
            "token rate limit",
            "rate limit reached",
            "rate limit exceeded",
            "service tier capacity exceeded",
        ),
    ),
    Sign(_C.RATE_LIMITED, "429 Too Many Requests: all of them", frozenset({429})),
    # Too long for this model's window.
    Sign(
        _C.CONTEXT_OVERFLOW,
        "OpenAI docs (context_length_exceeded); llama.cpp: "
        "github.com/ggml-org/llama.cpp/pull/15780 "
        "(exceed_context_size_error); OpenRouter docs (token_limit_exceeded, string_too_long); "
        "LiteLLM (ContextWindowExceededError)",
        names=_names(
            "context_length_exceeded exceed_context_size_error context_window_exceeded "
            "token_limit_exceeded contextwindowexceedederror model_max_prompt_tokens_exceeded "
            "string_above_max_length string_too_long"
        ),
    ),
    Sign(
        _C.CONTEXT_OVERFLOW,
        "Anthropic: 'prompt is too long: 209353 tokens > 199999 maximum', 'exceed context limit'; "
        "Bedrock: 'Input is too long for requested model' (github.com/aws-samples/bedrock-chat/"
        "issues/95); Gemini, Vertex: 'The input token count (…) exceeds the "
        "maximum number of tokens "
        "allowed' (github.com/google-gemini/gemini-cli/issues/6678); OpenAI, vLLM, DeepSeek, "
        "OpenRouter: 'maximum context length'; OpenAI: 'exceeds the context window'; xAI: 'maximum "
        "prompt length is'; Groq: 'reduce the length of the messages'; "
        "Mistral: 'too large for model "
        "with … maximum context length'; Fireworks: 'The prompt is too long'; Together, TGI: "
        "'`inputs` tokens + `max_new_tokens` must be'; Cohere: 'too many tokens'; llama.cpp: "
        "'exceeds the available context size', 'Context size has been exceeded' (500, "
        "github.com/ggml-org/llama.cpp/issues/19774); llama-cpp-python: "
        "'exceed context window of'; "
        "SGLang: 'longer than the model's context length'; vLLM: 'too long to fit into the model'; "
        "LM Studio: 'greater than the context length'; Cerebras: 'Current length is … while limit "
        "is'; Moonshot: 'exceeded model token limit'; MiniMax: 'context window exceeds limit'; "
        "Ollama: 'exceeds maximum context length'; Azure: 'input tokens exceed "
        "the configured limit'",
        statuses=_BROKEN,
        words=(
            "context length",
            "context window",
            "context size",
            "exceed context limit",
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "too long to fit into the model",
            "exceeds the maximum number of tokens",
            "maximum prompt length is",
            "maximum input length is",
            "reduce the length of the messages",
            "reduce the length of the prompt",
            "`inputs` tokens + `max_new_tokens` must be",
            "`inputs` must have less than",
            "too many tokens",
            "while limit is",
            "model token limit",
            "input tokens exceed",
            "maximum context limit",
            "prompt token count of",
        ),
    ),
    # The service's own credentials and names: others answer meanwhile.
    Sign(
        _C.MISCONFIGURED,
        "OpenAI docs (invalid_api_key); Gemini: github.com/google-gemini/gemini-cli/issues/25198 "
        "(400, reason API_KEY_INVALID); Anthropic docs (authentication_error); "
        "Bedrock docs, common "
        "errors; Azure docs (DeploymentNotFound); Groq docs (model_decommissioned); Mistral docs "
        "(invalid_model); Together docs (model_not_available)",
        names=_names(
            "invalid_api_key api_key_invalid authentication_error invalid_authentication "
            "invalid_authentication_error authenticationerror unauthenticated "
            "unrecognizedclientexception expiredtokenexception accessdeniedexception "
            "incompletesignatureexception invalidsignatureexception model_not_found "
            "deploymentnotfound model_decommissioned model_not_available invalid_model "
            "resourcenotfoundexception account_deactivated service_disabled consumer_invalid "
            "organization_restricted access_terminated_error"
        ),
    ),
    Sign(
        _C.MISCONFIGURED,
        "xAI: github.com/continuedev/continue/issues/10778 (400, 'Incorrect API key provided'); "
        "Gemini: 'API key not valid', 'API Key not found', 'API key expired'; Cohere: 'invalid api "
        "token'; DeepSeek: 'Authentication Fails'",
        statuses=_SECRET,
        begins=(
            "incorrect api key",
            "api key not valid",
            "api key not found",
            "api key expired",
            "invalid api key",
            "invalid api token",
            "no api key",
            "missing api key",
            "invalid x-api-key",
            "authentication fails",
            "authentication error",
            "missing authentication",
        ),
    ),
    Sign(
        _C.UNSUPPORTED,
        "OpenRouter: github.com/anomalyco/opencode/issues/1675 (404, 'No endpoints found that "
        "support tool use', '… image input', '… the provided tool_choice value')",
        words=("no endpoints found that support", "no endpoints found that can handle"),
    ),
    Sign(
        _C.MISCONFIGURED,
        "DeepSeek: 'Model Not Exist' (400); Mistral: 'Invalid model: …' (400); Bedrock: 'The "
        "provided model identifier is invalid', 'Invocation of model ID … isn't supported' "
        "(github.com/anthropics/claude-code/issues/1466); LiteLLM: 'Invalid model name passed in'; "
        "OpenRouter: '… is not a valid model ID'; xAI: 'Model not found'",
        statuses=frozenset({400, 404, 422}),
        begins=(
            "model not exist",
            "model not found",
            "invalid model",
            "the provided model identifier is invalid",
            "invocation of model id",
            "/chat/completions: invalid model",
        ),
    ),
    # What this target does not take and another may.
    Sign(
        _C.UNSUPPORTED,
        "OpenAI docs (unsupported_parameter, unsupported_value); LiteLLM (UnsupportedParamsError); "
        "OpenAI: github.com/appatalks/eva-agent/issues/83",
        names=_names(
            "unsupported_parameter unsupported_value unsupported_model unsupportedparamserror "
            "unknown_parameter unsupported_content_type unsupported_feature max_tokens_exceeded"
        ),
    ),
    Sign(
        _C.UNSUPPORTED,
        "OpenAI: 'is not supported with this model', 'image_url is only supported by certain "
        "models', 'Unrecognized request argument', 'max_tokens is too large'; Ollama: 'does not "
        "support tools'; Anthropic: 'Extra inputs are not permitted', 'maximum allowed number of "
        "output tokens'; Gemini: 'Unknown name'; DeepSeek: 'unknown variant "
        "`image_url`'; vLLM: 'is "
        "not a multimodal model', 'requires --enable-auto-tool-choice'; llama.cpp: 'image input is "
        "not supported' (500), 'requires --jinja' (500); Groq: 'not supported with this model'; "
        "Bedrock: 'The maximum tokens you requested exceed the model limit' (github.com/"
        "RooCodeInc/Roo-Code/issues/248)",
        statuses=frozenset({400, 404, 415, 422, 500, 501}),
        words=(
            "not supported with this model",
            "not supported by this model",
            "not supported for this model",
            "only supported by certain models",
            "does not support",
            "doesn't support",
            "input is not supported",
            "unsupported parameter",
            "unsupported value",
            "unrecognized request argument",
            "extra inputs are not permitted",
            'unknown name "',
            "unknown variant `",
            "is not a multimodal model",
            "enable-auto-tool-choice",
            "requires --jinja",
            "max_tokens is too large",
            "maximum allowed number of output tokens",
            "tokens you requested exceed the model limit",
        ),
    ),
    Sign(
        _C.UNSUPPORTED,
        "llama-cpp-python: pydantic's words as a 500 ('1 validation error: … Input should be …'); "
        "OpenAI: 'logprobs is not supported for models created with …' (500)",
        statuses=frozenset({500}),
        words=(
            "is not supported",
            "not supported by",
            "not implemented",
            "unsupported",
            "validation error",
            "input should be",
            "unknown parameter",
            "unknown field",
            "must be one of",
        ),
    ),
    Sign(
        _C.OVERLOADED,
        "Anthropic docs (529 overloaded_error); Moonshot (engine_overloaded_error); Google "
        "(UNAVAILABLE); Bedrock docs (ServiceUnavailableException, ModelNotReadyException)",
        names=_names(
            "overloaded_error engine_overloaded_error overloaded unavailable "
            "serviceunavailableexception modelnotreadyexception service_unavailable"
        ),
    ),
)
