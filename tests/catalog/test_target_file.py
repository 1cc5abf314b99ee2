"""One catalog file: what it becomes, and what is said about each mistake, word for word."""

from __future__ import annotations

import pytest

from llmrouter.catalog.access_fields import looks_like_key
from llmrouter.catalog.frontmatter import split
from llmrouter.catalog.target_file import id_problem, read_target
from llmrouter.catalog.yaml_reader import Sheet
from llmrouter.domain.target import Latency, Price, Target

FILE = """\
---
model: small-1
provider: openai
base_url: https://api.example.com/v1/
api_key_env: EXAMPLE_KEY
price: {input: 0.25, cached_input: 0.025, output: 2}
context_window: 8000
max_output: 2000
capabilities: [tools, vision]
tiers: [free, pro]
latency: {ttft_ms: 300, tokens_per_s: 100}
timeout_s: 30
ttft_timeout_s: 20
stall_timeout_s: 5
enabled: true
---
The small one: short and simple requests.
"""


def read(text: str, name: str = "small") -> tuple[Target | None, list[str]]:
    """The target in a file, and the problems as lines."""
    parts = split("f", text)
    sheet = Sheet("f", parts.front_line)
    return read_target(sheet, name, parts), [str(problem) for problem in sheet.problems]


def test_every_field_reaches_the_target() -> None:
    """A full file is a full target; the address loses its last slash."""
    target, problems = read(FILE)
    assert problems == []
    assert target == Target(
        id="small",
        model="small-1",
        provider="openai",
        base_url="https://api.example.com/v1",
        price=Price(0.25, 2.0, 0.025),
        context_window=8000,
        description="The small one: short and simple requests.",
        api_key_env="EXAMPLE_KEY",
        max_output=2000,
        capabilities=frozenset({"tools", "vision"}),
        tiers=frozenset({"free", "pro"}),
        latency=Latency(300, 100),
        timeout_s=30,
        ttft_timeout_s=20,
        stall_timeout_s=5,
    )


def test_only_five_fields_are_needed() -> None:
    """What may be left out has a default."""
    needed = ("model", "provider", "base_url", "price", "context_window", "---", "The")
    lines = [line for line in FILE.splitlines() if line.startswith(needed)]
    target, problems = read("\n".join(lines))
    assert problems == []
    assert target is not None
    assert (target.tiers, target.max_output, target.timeout_s, target.enabled) == (
        None,
        None,
        60,
        True,
    )


@pytest.mark.parametrize(("timeout_s", "first_token_s"), [("60", 30), ("12", 12)])
def test_a_stream_s_silence_has_a_default(timeout_s: str, first_token_s: float) -> None:
    """30 seconds before the first token and after it; no longer than the attempt itself."""
    text = FILE.replace("timeout_s: 30\nttft_timeout_s: 20\nstall_timeout_s: 5", "")
    target, _ = read(text.replace("enabled:", f"timeout_s: {timeout_s}\nenabled:"))
    assert target is not None
    assert (target.first_token_s, target.stall_timeout_s) == (first_token_s, 30)


def test_a_first_token_may_take_longer_than_the_rest() -> None:
    """What is written counts, whatever `timeout_s` is."""
    target, problems = read(FILE.replace("ttft_timeout_s: 20", "ttft_timeout_s: 90"))
    assert problems == []
    assert target is not None
    assert target.first_token_s == 90


GOLDEN = [
    ("model: small-1\n", "", "f:2: `model` is missing"),
    ("model: small-1", "model:", "f:2: `model` has no value"),
    ("model: small-1", "model: 5", "f:2: `model` must be text, in quotes"),
    ("model: small-1", "model: '  '", "f:2: `model` is empty"),
    ("model: small-1", "modle: small-1\nmodel: a",
     "f:2: unknown key `modle`: did you mean `model`?"),
    ("provider", "api_key: sk-123\nprovider",
     "f:3: unknown key `api_key`: did you mean `api_key_env`?"),
    ("https://api.example.com/v1/", "api.example.com",
     "f:4: `base_url` must start with http:// or https:// and name a host"),
    ("https://api.example.com/v1/", "ftp://api.example.com",
     "f:4: `base_url` must start with http:// or https:// and name a host"),
    ("https://api.example.com/v1/", "'http://[::1'",
     "f:4: `base_url` must start with http:// or https:// and name a host"),
    ("https://api.example.com/v1/", "http://a:99999/",
     "f:4: `base_url` must start with http:// or https:// and name a host"),
    ("https://", "https://me:secret@",
     "f:4: `base_url` holds credentials: name a variable in `api_key_env` instead"),
    ("/v1/", "/v1/chat/completions",
     "f:4: `base_url` must end before /chat/completions, which is added by itself"),
    ("input: 0.25", "input: -0.25", "f:6: `price.input` must be at least 0, not -0.25"),
    ("input: 0.25", "input: cheap", "f:6: `price.input` must be a number, not 'cheap'"),
    ("input: 0.25, ", "", "f:6: `price.input` is missing"),
    ("input: 0.25", "inputs: 0.25",
     "f:6: unknown key `price.inputs`: did you mean `input`?"),
    ("price: {input: 0.25, cached_input: 0.025, output: 2}", "price: 2",
     "f:6: `price` must be a block such as {input: …, cached_input: …}, not '2'"),
    ("8000", "0", "f:7: `context_window` must be at least 1, not 0"),
    ("8000", "8k", "f:7: `context_window` must be a number, not '8k'"),
    ("8000", "8000.5", "f:7: `context_window` must be a whole number, not 8000.5"),
    ("max_output: 2000", "max_output: 9000",
     "f:8: `max_output` is 9000, more than the context_window of 8000"),
    ("[tools, vision]", "[tools, visoin]",
     "f:9: unknown capability `visoin`: did you mean `vision`?"),
    ("[tools, vision]", "tools", "f:9: `capabilities` must be a list, such as [a, b], not 'tools'"),
    ("[tools, vision]", "[tools, [vision]]", "f:9: `capabilities` holds a list; give text"),
    ("[free, pro]", "[]",
     "f:10: `tiers` is empty, nobody could use it: leave it out, or set enabled: false"),
    ("[free, pro]", "[free, 'pro plan']", "f:10: 'pro plan' is no tier: use one word, such as pro"),
    ("tokens_per_s: 100", "tokens_per_s: 0",
     "f:11: `latency.tokens_per_s` must be more than 0, not 0"),
    ("timeout_s: 30", "timeout_s: 9999", "f:12: `timeout_s` must be between 0 and 3600, not 9999"),
    ("ttft_timeout_s: 20", "ttft_timeout: 20",
     "f:13: unknown key `ttft_timeout`: did you mean `ttft_timeout_s`?"),
    ("stall_timeout_s: 5", "stall_timeout_s: 0",
     "f:14: `stall_timeout_s` must be between 0 and 3600, not 0"),
    ("enabled: true", "enabled: ture", "f:15: `enabled` must be true or false, not 'ture'"),
    ("The small one: short and simple requests.", "",
     "f:17: there is no description: say below the front matter what the model is good at, what it "
     "is bad at, and when to choose it"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), GOLDEN, ids=[case[2] for case in GOLDEN])
def test_a_mistake_is_named_with_its_line_and_remedy(old: str, new: str, message: str) -> None:
    """One mistake is one problem, at its own line, and there is no target."""
    assert old in FILE
    target, problems = read(FILE.replace(old, new, 1))
    assert message in problems
    assert target is None


def test_mistakes_do_not_hide_each_other() -> None:
    """Every mistake of a file is reported in one go."""
    text = FILE.replace("0.25", "-1").replace("8000", "many").replace("enabled: true", "enabled: 1")
    assert [problem.split(":")[1] for problem in read(text)[1]] == ["6", "7", "15"]


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-1234",
        "gsk_abc",
        "AIzaSyA1b2c3",
        "hf_abcdef",
        "Bearer x",
        "0123456789abcdef01234567",
    ],
)
def test_a_key_is_refused_without_being_repeated(key: str) -> None:
    """Nothing that looks like a secret gets from a file into a message."""
    assert looks_like_key(key)
    target, problems = read(FILE.replace("EXAMPLE_KEY", key))
    assert target is None
    assert problems[0].startswith("f:5: `api_key_env` looks like a key itself")
    assert key not in "\n".join(problems)


def test_what_is_no_variable_is_refused_without_being_repeated() -> None:
    """A value that is not a name may be a secret of an unknown shape: it is not shown either."""
    _, problems = read(FILE.replace("EXAMPLE_KEY", "my-secret!"))
    assert problems == ["f:5: `api_key_env` must be a variable's name, such as OPENAI_API_KEY"]


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MY_COMPANY_OPENAI_PRODUCTION_KEY_2", "k"])
def test_names_of_variables_are_not_taken_for_keys(name: str) -> None:
    """Long names in capitals are names."""
    assert not looks_like_key(name)


@pytest.mark.parametrize("name", ["gpt-6.2-sol", "qwen3.5-9b", "a", "0", "a_b"])
def test_usual_names_are_ids(name: str) -> None:
    """Lower case, digits, dots, hyphens and underscores make an id."""
    assert id_problem(name) is None


@pytest.mark.parametrize(
    "name", ["auto", "", "-a", ".a", "A", "a b", "a/b", "../a", "ä", "a\n", "a" * 81]
)
def test_other_names_are_no_ids(name: str) -> None:
    """Reserved names, paths, capitals and spaces are refused."""
    assert id_problem(name) is not None
