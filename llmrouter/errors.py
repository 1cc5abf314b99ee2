"""Every failure a caller can see, in one table.

Each class knows its HTTP status, its OpenAI error type and its metric label, so no handler
maps errors by hand. Vendor exceptions never get here: they are mapped at the edge that raised
them. A failure of the router LLM is not in this table, because it is never the user's failure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class ExtraMissing(ImportError):
    """A part needs a package that is not installed; the message says what to install."""


class LLMRouterError(Exception):
    """Base of all errors the service answers with.

    `status` is the HTTP status, `type` and `code` go into the OpenAI-shaped envelope, `label`
    names the error in metrics, `retry_after_s` becomes a `Retry-After` header when set. `headers`
    go out with the answer, and `details` (JSON-ready) stand beside `error` in its body: what was
    decided and tried before it failed.
    """

    status: int = 500
    type: str = "server_error"
    default_code: ClassVar[str | None] = None
    label: ClassVar[str] = "internal"
    headers: Mapping[str, str] = _NOTHING
    details: Mapping[str, Any] = _NOTHING

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s


class BadRequest(LLMRouterError):
    """The body is not a chat-completions request, or a `router` option is wrong."""

    status = 400
    type = "invalid_request_error"
    label = "bad_request"


class Unauthorized(LLMRouterError):
    """No API key, or one the service does not know."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"
    label = "unauthorized"


class Forbidden(LLMRouterError):
    """The key is known, and may not do this (tier, allow-list, admin only)."""

    status = 403
    type = "permission_error"
    default_code = "forbidden"
    label = "forbidden"


class NotFound(LLMRouterError):
    """No such target, decision or path."""

    status = 404
    type = "invalid_request_error"
    default_code = "not_found"
    label = "not_found"


class ModelNotFound(NotFound):
    """A pinned `model` that the catalog does not hold."""

    default_code = "model_not_found"


class MethodNotAllowed(LLMRouterError):
    """The path exists under another method."""

    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"
    label = "method_not_allowed"


class PreconditionFailed(LLMRouterError):
    """What is to be edited is not what the caller read (`If-Match`, `If-None-Match`)."""

    status = 412
    type = "invalid_request_error"
    default_code = "precondition_failed"
    label = "precondition_failed"


class PayloadTooLarge(LLMRouterError):
    """The body is over the configured size."""

    status = 413
    type = "invalid_request_error"
    default_code = "payload_too_large"
    label = "payload_too_large"


class NoEligibleTarget(LLMRouterError):
    """Every target is out; the message lists each with its reason."""

    status = 422
    type = "invalid_request_error"
    default_code = "no_eligible_target"
    label = "no_eligible_target"


class RateLimited(LLMRouterError):
    """A key's rate limit or spend budget is used up."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    label = "rate_limited"


class TargetsRateLimited(LLMRouterError):
    """Every fitting target is rate limited by its provider; `Retry-After` is the soonest end."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    label = "targets_rate_limited"


class Misdirected(LLMRouterError):
    """`Host` names another service than this one."""

    status = 421
    type = "invalid_request_error"
    default_code = "misdirected_request"
    label = "misdirected"


class CrossOrigin(LLMRouterError):
    """A page of another site calls a service that has no keys to tell callers apart."""

    status = 403
    type = "permission_error"
    default_code = "cross_origin"
    label = "forbidden"


class UpstreamFailed(LLMRouterError):
    """Every attempt failed, fallbacks included."""

    status = 502
    type = "upstream_error"
    default_code = "upstream_failed"
    label = "upstream_failed"


@dataclass(frozen=True, slots=True)
class RefusalBody:
    """An upstream's refusal as it came: `protocol` is the wire format of `body`, "" if unknown."""

    status: int
    body: bytes
    content_type: str = "application/json"
    protocol: str = ""


class UpstreamRefused(LLMRouterError):
    """The target itself refused the request (a 4xx that is the caller's to mend).

    `status`, `body` and `content_type` are the upstream's own and may be relayed as they are to a
    caller who speaks `protocol`, the wire format of the body ("" where that is not known);
    `message`, `type`, `param` and `code` are read from its body where it has OpenAI's shape.
    """

    status = 400
    type = "invalid_request_error"
    default_code = "upstream_refused"
    label = "upstream_refused"

    def __init__(
        self,
        message: str,
        said: RefusalBody,
        *,
        type: str | None = None,  # noqa: A002 - the envelope's own key
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.protocol = said.protocol
        self.status = said.status
        self.body = said.body
        self.content_type = said.content_type
        if type is not None:
            self.type = type


class Overloaded(LLMRouterError):
    """The service is at its limit or draining, or every fitting target is full or resting."""

    status = 503
    type = "overloaded_error"
    default_code = "overloaded"
    label = "overloaded"


class DeadlineExceeded(LLMRouterError):
    """The request's own time budget ran out."""

    status = 504
    type = "timeout_error"
    default_code = "deadline_exceeded"
    label = "deadline_exceeded"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file a user edits: where it is and what to write instead."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"

    def inside(self, directory: Path) -> Problem:
        """The same by the file's path in `directory`, for those who need not know where it is."""
        return Problem(os.path.relpath(self.file, directory), self.line, self.message)


class CatalogInvalid(LLMRouterError):
    """The prompts directory cannot be served. `problems` holds every finding, in file order."""

    status = 400
    type = "invalid_request_error"
    default_code = "catalog_invalid"
    label = "catalog_invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class StoreFailed(Exception):
    """The store could not read or write. Callers degrade to a miss and count it."""


class RouterLLMFailed(Exception):
    """The router LLM gave no usable answer; the next stage decides.

    `kind` is one of `timeout`, `connect`, `http`, `truncated`, `refusal`, `unknown_target`,
    `malformed`, `thought` (thought without an answer), `missing` (a question was not answered),
    `low_mass` (too little probability on valid answers), `no_logprobs`, `circuit_open`,
    `rate_limited`, `misconfigured`; each is counted on its own. `tokens` (input, output,
    cached) are what the useless answer took, where there was one; `status` is the server's, where
    it refused, and `category` an `ErrorCategory`. `cost_usd` is what the whole
    judgement that failed came to.
    """

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        tokens: tuple[int, int, int] = (0, 0, 0),
        status: int | None = None,
        category: str | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.category = category
        self.input_tokens, self.output_tokens, self.cached_tokens = tokens
        self.cost_usd = 0.0


class EncoderFailed(Exception):
    """A text could not be encoded in time; learned preferences abstain.

    `kind` is one of `timeout`, `connect`, `http`, `malformed`, `circuit_open`, `rate_limited`,
    `misconfigured`. `retry_after_s` is how long a server that is rate limited asked to wait.
    """

    def __init__(self, kind: str, detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s


class UpstreamFailure(Exception):
    """One attempt at one target failed before its first event, or during the reply.

    `kind` is one of `connect`, `timeout`, `status`, `empty`, `malformed`, `error_body`,
    `interrupted`, `stalled` (silent for longer than its target may be), `too_large`,
    `misconfigured`; or, where nothing was sent, `saturated`, `circuit_open`, `cooldown` (a rate
    limit), `untranslatable` (the target's wire format cannot carry the request). `protocol` is the
    wire format of `body`, `status` the upstream's HTTP status where there was one, `body` what it
    said (kept for callers, bounded) and `content_type` how, `retry_after_s` its own `Retry-After`.
    `usage` is what the failed reply says it used (a `domain.completion.Usage`), since that is
    billed. `category` says whose fault it is (`domain.provider_errors.category_of` fills it in).
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        status: int | None = None,
        body: bytes = b"",
        retry_after_s: float | None = None,
        content_type: str = "application/json",
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.usage: Any = None
        self.category: str | None = None
        self.kind = kind
        self.detail = detail
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s
        self.content_type = content_type
        self.protocol = ""

    def billed(self, usage: Any) -> UpstreamFailure:
        """The same failure of a reply that says what it used."""
        self.usage = usage
        return self
