"""A whole catalog: targets, rules and settings, valid together and swapped together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from llmrouter.domain.patterns import Pattern
from llmrouter.domain.target import Price, Target

CHECKS: Final = (
    "regex",
    "exact",
    "min_chars",
    "max_chars",
    "required_sections",
    "json",
    "code_fence",
    "language",
    "python",
)


@dataclass(frozen=True, slots=True)
class RouterLLM:
    """The small LLM that judges how well each target would answer a request.

    `timeout_ms` bounds a whole call. `protocol` is how it is asked: `decisions`, `systemone`,
    `chat`, or `auto` to find out. `max_spend_share` is what its calls may cost together, as a share
    of what the answers cost. Prices are USD per 1M tokens; without `price_cached` tokens read from
    the provider's cache cost as much as others.
    """

    model: str
    base_url: str
    api_key_env: str | None = None
    timeout_ms: float = 1500.0
    retries: int = 1
    price_input: float = 0.0
    price_output: float = 0.0
    provider: str = "openai"
    protocol: str = "auto"
    max_spend_share: float = 0.1
    price_cached: float | None = None

    def cost_usd(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """USD of one call; `cached_tokens` are those of `input_tokens` read from a cache."""
        price = Price(self.price_input, self.price_output, self.price_cached)
        return price.cost(input_tokens, output_tokens, min(cached_tokens, input_tokens))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a rule asks for. Every field that is set must hold; an empty one always holds."""

    task: frozenset[str] | None = None
    min_words: int | None = None
    max_words: int | None = None
    code: bool | None = None
    language: frozenset[str] | None = None
    tools: bool | None = None
    min_turns: int | None = None
    max_turns: int | None = None
    tier: frozenset[str] | None = None
    matches: Pattern | None = None
    side_task: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """First match wins. `route` is a target's id; `strategy` "cascade" starts a cascade instead."""

    name: str
    when: Conditions
    route: str | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """When a cascade accepts an answer. Each signal is off unless set.

    `min_confidence` and `min_margin` bound what the answer's own log-probabilities are worth: the
    mean of them, and how far each token was ahead of the next likeliest (0..1 both).

    Each of `checks` maps names of CHECKS to their value, all of which must hold:
    `{max_chars: 800, required_sections: [Summary]}`; `python` is "module:function".
    """

    min_confidence: float | None = None
    schema: bool = True
    checks: tuple[Mapping[str, object], ...] = ()
    samples: int = 0
    judge: bool = False
    judge_min_score: float = 0.7
    min_margin: float | None = None


@dataclass(frozen=True, slots=True)
class Cascade:
    """Targets in the order they are tried, and what makes an answer good enough."""

    order: tuple[str, ...] = ()
    accept: Acceptance = Acceptance()
    reserve_ms: float = 0.0
    escalate_on_retry: bool = True
    judge: RouterLLM | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """Settings of the learned preference model.

    `explore_rate` is the share of requests on which another target may serve,
    `explore_budget_usd_per_day` what their answers may cost together. `encoder` is the canonical
    name of an encoder (see `domain.embedding_space`); where it must be asked, `api_key_env` names
    its key,
    `timeout_ms` bounds the wait, and `encoder_price` is in USD per 1M tokens. `encoder_url` is
    where it is reached instead of the address in its name, which stays the name of its space.
    """

    enabled: bool = True
    target_agreement: float = 0.95
    audit_rate: float = 0.02
    explore_rate: float = 0.0
    shadow: str | None = None
    encoder: str = "hashing"
    explore_budget_usd_per_day: float = 1.0
    api_key_env: str | None = None
    timeout_ms: float = 300.0
    encoder_url: str | None = None
    encoder_price: float = 0.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """Whether conversations stay on their target; `ttl_s` is how long one is remembered.

    `tool_loops` keeps a request that answers tool calls on the target that made them, and agents'
    sessions under the rules of sessions, even where `enabled` is off.

    `min_gain` is the estimated-quality gain that pays for a provider's lost prompt cache.
    """

    enabled: bool = False
    ttl_s: float = 3600.0
    min_gain: float = 0.1
    tool_loops: bool = True


@dataclass(frozen=True, slots=True)
class Fallback:
    """How an attempt may be repeated, and when the next target is tried."""

    retries: int = 1
    backoff_ms: float = 100.0
    max_backoff_ms: float = 2000.0
    hedge: bool = False
    on_refusal: bool = False
    max_attempts: int = 4


@dataclass(frozen=True, slots=True)
class Prompts:
    """The two Jinja2 templates, as text: the router's system prompt and the judge's."""

    router: str
    verifier: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """A frozen, valid catalog.

    `targets` keeps file order (sorted by id). `version` hashes what affects decisions among
    targets, `policy_version` the rest of routing.yaml, `prompt_version` router.md; all are short
    hex strings.
    """

    targets: Mapping[str, Target]
    default: str
    prompts: Prompts
    router: RouterLLM | None = None
    quality: float = 0.5
    rules: tuple[Rule, ...] = ()
    cascade: Cascade = Cascade()
    learned: Learned = Learned()
    sessions: Sessions = Sessions()
    fallback: Fallback = Fallback()
    version: str = ""
    policy_version: str = ""
    prompt_version: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def enabled(self) -> tuple[Target, ...]:
        """The targets that may serve."""
        return tuple(target for target in self.targets.values() if target.enabled)

    def named(self, name: str) -> Target | None:
        """The enabled target that a caller means by an id, an alias, or the upstream's own name.

        An id wins over an alias, an alias over a model's name, then the first of the catalog.
        """
        target = self.targets.get(name)
        if target is None or not target.enabled:
            found = [t for t in self.enabled if name in t.aliases]
            found += [t for t in self.enabled if name == t.model]
            target = found[0] if found else None
        return target

    @property
    def usable(self) -> tuple[Target, ...]:
        """The enabled targets that this process can call."""
        return tuple(target for target in self.enabled if target.unusable is None)

    @property
    def revision(self) -> str:
        """One string that changes whenever any decision could."""
        return f"{self.version}.{self.policy_version}.{self.prompt_version}"
