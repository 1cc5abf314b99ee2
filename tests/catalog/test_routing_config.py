"""routing.yaml: every setting it knows, and what is said about each mistake, word for word."""

from __future__ import annotations

import pytest

from llmrouter.catalog.routing_config import Policy, read_policy
from llmrouter.catalog.yaml_reader import Sheet
from llmrouter.domain.catalog import (
    Acceptance,
    Cascade,
    Conditions,
    Fallback,
    Learned,
    RouterLLM,
    Rule,
    Sessions,
)
from llmrouter.domain.patterns import compile_pattern

TARGETS = {"small": True, "large": True, "resting": False}
EVERYTHING = """\
default: small
router: {model: tiny, provider: ollama, base_url: "http://localhost:11434/v1/", timeout_ms: 900, retries: 0, price: {input: 0.05, output: 0.4}}
quality: 0.7
rules:
  - name: sums
    when: {task: [math, code], min_words: 2, max_words: 90, code: false, language: en, tools: false, min_turns: 1, max_turns: 3, tier: [pro], matches: '^\\d+'}
    route: large
  - name: the-rest
    when: {}
    strategy: cascade
cascade:
  order: [small, large]
  accept:
    min_confidence: 0.6
    schema: false
    checks:
      - {regex: '^ok', min_chars: 2, max_chars: 80}
      - exact: [yes it is, 4]
      - {required_sections: [Summary], json: true, code_fence: python}
      - {language: en, python: 'checks.own:is_polite'}
    samples: 3
    judge: true
    judge_min_score: 0.8
    min_margin: 0.4
  judge: {model: j, base_url: https://j.example/v1, api_key_env: J_KEY}
  reserve_ms: 500
  escalate_on_retry: false
learned: {enabled: false, target_agreement: 0.9, audit_rate: 0.1, explore_rate: 0.05, explore_budget_usd_per_day: 2, shadow: rules, encoder: "openai:m@http://h.example/v1/", api_key_env: E_KEY, timeout_ms: 250, encoder_price: 0.02}
sessions: {enabled: true, ttl_s: 60, min_gain: 0.2}
fallback: {retries: 2, backoff_ms: 50, max_backoff_ms: 900, hedge: true, on_refusal: true, max_attempts: 3}
"""  # noqa: E501 - a setting a line, as its lines are asserted below


def read(text: str) -> tuple[Policy | None, list[str]]:
    """The policy in a text, and the problems as lines."""
    sheet = Sheet("f")
    return read_policy(sheet, text, TARGETS), [str(problem) for problem in sheet.problems]


def test_every_setting_reaches_the_policy() -> None:
    """Nothing that may be written is dropped on the way."""
    policy, problems = read(EVERYTHING)
    assert problems == []
    assert policy is not None
    assert (policy.default, policy.quality) == ("small", 0.7)
    assert policy.router == RouterLLM(
        "tiny", "http://localhost:11434/v1", None, 900, 0, 0.05, 0.4, "ollama"
    )
    assert policy.rules == (
        Rule(
            "sums",
            Conditions(
                task=frozenset({"math", "code"}),
                min_words=2,
                max_words=90,
                code=False,
                language=frozenset({"en"}),
                tools=False,
                min_turns=1,
                max_turns=3,
                tier=frozenset({"pro"}),
                matches=compile_pattern(r"^\d+"),
            ),
            route="large",
        ),
        Rule("the-rest", Conditions(), strategy="cascade"),
    )
    checks = (
        {"regex": "^ok", "min_chars": 2, "max_chars": 80},
        {"exact": ("yes it is", 4)},
        {"required_sections": ("Summary",), "json": True, "code_fence": "python"},
        {"language": "en", "python": "checks.own:is_polite"},
    )
    assert policy.cascade == Cascade(
        ("small", "large"),
        Acceptance(0.6, False, checks, 3, True, 0.8, 0.4),
        500,
        False,
        RouterLLM("j", "https://j.example/v1", "J_KEY"),
    )
    encoder = "openai:m@http://h.example/v1"
    own = "E_KEY", 250, None, 0.02
    assert policy.learned == Learned(False, 0.9, 0.1, 0.05, "rules", encoder, 2.0, *own)
    assert policy.sessions == Sessions(True, 60, 0.2)
    assert policy.fallback == Fallback(2, 50, 900, True, True, 3)


def test_a_default_is_all_it_needs() -> None:
    """Everything else has the default that the domain gives it; no router LLM is one."""
    for text in ("default: small", "default: small\nrouter: null\nrules:\n"):
        policy, problems = read(text)
        assert problems == []
        assert policy == Policy(
            "small", None, 0.5, (), Cascade(), Learned(), Sessions(), Fallback(),
            {} if policy is None else policy.lines,
        )  # fmt: skip


def test_places_are_kept_for_later_findings() -> None:
    """Where rules and blocks stand is known after reading."""
    policy, _ = read(EVERYTHING)
    assert policy is not None
    assert policy.lines["router"] == 2
    assert policy.lines["rule sums"] == 5
    assert policy.lines["rule the-rest"] == 8
    assert policy.lines["cascade"] == 11


GOLDEN = [
    ("default: small", "", "f:2: `default` is missing"),
    ("default: small", "default: smal",
     "f:1: `default` names smal, which is no target: did you mean `small`?"),
    ("default: small", "default: resting",
     "f:1: `default` names resting, which is disabled: enable it or choose another"),
    ("quality: 0.7", "quality: 7", "f:3: `quality` must be between 0 and 1, not 7"),
    ("quality: 0.7", "qualty: 0.7", "f:3: unknown key `qualty`: did you mean `quality`?"),
    ("retries: 0", "retries: 3", "f:2: `router.retries` must be between 0 and 1, not 3"),
    ("timeout_ms: 900", "timeout_ms: 0",
     "f:2: `router.timeout_ms` must be between 0 and 120000, not 0"),
    ("model: tiny, ", "", "f:2: `router.model` is missing"),
    ("output: 0.4}", "output: 0.4, cache_write: 1}",
     "f:2: `router.price` cannot hold `cache_write` here: give input, cached_input and output"),
    ("timeout_ms: 900", "timeout_ms: 900, protocol: dicisions",
     "f:2: `router.protocol` cannot be dicisions: did you mean `decisions`?"),
    ("timeout_ms: 900", "timeout_ms: 900, max_spend_share: -1",
     "f:2: `router.max_spend_share` must be between 0 and 10, not -1"),
    ("min_margin: 0.4", "min_margim: 0.4",
     "f:24: unknown key `cascade.accept.min_margim`: did you mean `min_margin`?"),
    ("min_margin: 0.4", "min_margin: 4",
     "f:24: `cascade.accept.min_margin` must be between 0 and 1, not 4"),
    ("name: sums", "nam: sums", "f:5: `rules[0].name` is missing"),
    ("name: the-rest", "name: sums", "f:8: `rules[1].name` is 'sums' again (first on line 5)"),
    ("    when: {}\n", "",
     "f:8: `rules[1].when` is missing: write `when: {}` if the rule is to match every request"),
    ("task: [math, code]", "tasks: [math, code]",
     "f:6: unknown key `rules[0].when.tasks`: did you mean `task`?"),
    ("task: [math, code]", "task: []",
     "f:6: `rules[0].when.task` is an empty list: nothing can match"),
    ("min_words: 2", "min_words: 200",
     "f:6: `rules[0].when.min_words` is 200, more than max_words: nothing can match"),
    ("code: false", "code: python",
     "f:6: `rules[0].when.code` must be true or false, not 'python'"),
    ("language: en,", "language: English,", "f:6: 'English' is no language code, such as en or de"),
    ("'^\\d+'", "'(a'",
     "f:6: `rules[0].when.matches` is no valid regular expression (RE2): "
     "missing ): (a"),
    ("'^\\d+'", "'a(?!b)'",
     "f:6: `rules[0].when.matches` has negative look-ahead `(?!…)`, which linear-time matching "
     "cannot do: write the allowed characters, such as [^x]"),
    ("'^\\d+'", "'(a)\\1'",
     "f:6: `rules[0].when.matches` has a back-reference, which linear-time matching cannot do: "
     "write the text out"),
    ("route: large", "route: lage",
     "f:7: `rules[0].route` names lage, which is no target: did you mean `large`?"),
    ("    route: large", "    route: large\n    strategy: cascade",
     "f:7: `rules[0].route` or `strategy: cascade`: give exactly one of them"),
    ("    route: large\n", "",
     "f:5: `rules[0].route` or `strategy: cascade`: give exactly one of them"),
    ("strategy: cascade", "strategy: llm",
     "f:10: `rules[1].strategy` cannot be llm; there are: cascade"),
    ("  order: [small, large]\n", "",
     "f:10: `rules[1].strategy` needs targets to go through: list them in `cascade.order`"),
    ("[small, large]", "[small, lrge]",
     "f:12: `cascade.order` names lrge, no target: did you mean `large`?"),
    ("[small, large]", "[small, small]", "f:12: `cascade.order` names small twice: remove one"),
    ("regex: '^ok'", "regex: '('",
     "f:17: `cascade.accept.checks[0].regex` is no valid regular expression (RE2): "
     "missing ): (?m)("),
    ("regex: '^ok'", "regx: '^ok'",
     "f:17: unknown key `cascade.accept.checks[0].regx`: did you mean `regex`?"),
    ("min_chars: 2", "min_chars: few",
     "f:17: `cascade.accept.checks[0].min_chars` must be a number, not 'few'"),
    ("'checks.own:is_polite'", "is_polite",
     "f:20: `cascade.accept.checks[3].python` must be an entry point, such as "
     "my_package.checks:is_polite"),
    ("  judge: {model: j, base_url: https://j.example/v1, api_key_env: J_KEY}",
     "  judge: {model: j, base_url: https://j.example/v1, api_key_env: sk-1}",
     "f:25: `cascade.judge.api_key_env` looks like a key itself: put the key into an environment "
     "variable, write that variable's name here, and revoke the key if this file was shared"),
    ("shadow: rules", "shadow: rule",
     "f:28: `learned.shadow` cannot be rule: did you mean `rules`?"),
    ('encoder: "openai:m@http://h.example/v1/"', "encoder: bert",
     "f:28: `learned.encoder` must be hashing, openai:MODEL@BASE_URL or local:MODEL"),
    ("api_key_env: E_KEY", "api_key_env: sk-12345678",
     "f:28: `learned.api_key_env` looks like a key itself: put the key into an environment "
     "variable, write that variable's name here, and revoke the key if this file was shared"),
    ("timeout_ms: 250", "timeout_ms: 0",
     "f:28: `learned.timeout_ms` must be between 1 and 10000, not 0"),
    ("target_agreement: 0.9", "target_agreement: 95",
     "f:28: `learned.target_agreement` must be between 0.5 and 1, not 95"),
    ("sessions: {enabled: true", "sessions: {enabeld: true",
     "f:29: unknown key `sessions.enabeld`: did you mean `enabled`?"),
    ("sessions: {enabled: true, ttl_s: 60, min_gain: 0.2}", "sessions: on",
     "f:29: `sessions` must be a block such as {enabled: …, ttl_s: …}, not 'on'"),
    ("max_attempts: 3", "max_attempts: 0",
     "f:30: `fallback.max_attempts` must be between 1 and 20, not 0"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), GOLDEN, ids=[case[2] for case in GOLDEN])
def test_a_mistake_is_named_with_its_line_and_remedy(old: str, new: str, message: str) -> None:
    """One mistake is reported at its own line, and there is no policy."""
    assert old in EVERYTHING
    policy, problems = read(EVERYTHING.replace(old, new, 1))
    assert message in problems
    assert policy is None


def test_a_judge_needs_somebody_to_judge() -> None:
    """`judge: true` without a judge, or a router LLM to stand in, would never be asked."""
    text = "default: small\ncascade: {order: [small], accept: {judge: true}}\n"
    _, problems = read(text)
    assert problems == [
        "f:2: `cascade.accept` asks for a judge, and there is none: add `cascade.judge`"
    ]
    router = "router: {model: tiny, base_url: http://localhost/v1}\n"
    assert read(text + router)[1] == []


def test_a_disabled_target_may_stay_in_rules_and_cascade() -> None:
    """Switching a model off is an edit of one line in one file."""
    text = (
        "default: small\nrules:\n  - {name: a, when: {code: true}, route: resting}\n"
        "cascade: {order: [resting, large]}\n"
    )
    policy, problems = read(text)
    assert problems == []
    assert policy is not None
    assert policy.rules[0].route == "resting"
