"""Templates are checked before a request needs them."""

from __future__ import annotations

import pytest

from llmrouter.catalog.template_checks import check_router, check_verifier

TARGETS = "{% for t in targets %}{{ t.id }} {{ t.description }}\n{% endfor %}"


def test_a_template_that_shows_the_targets_is_right() -> None:
    """The least a router prompt must do is enough."""
    assert check_router("f", TARGETS) == []
    assert check_verifier("f", "Judge. JSON.") == []
    assert check_verifier("f", "{{ query }} / {{ answer }}") == []


def test_every_field_may_be_used() -> None:
    """What the documentation promises to templates is there, in both shapes of a request."""
    fields = (
        "id description price_input price_output context_window max_output capabilities ttft_ms "
        "tokens_per_s"
    )
    query = (
        "system first_user turns omitted_turns tools needs input_tokens output_tokens task nonce"
    )
    source = (
        "{% for t in targets %}"
        + "".join(f"{{{{ t.{name} }}}}" for name in fields.split())
        + "{% endfor %}"
        + "".join(f"{{{{ query.{name} }}}}" for name in query.split())
        + "{% for turn in query.turns %}{{ turn.role }}{{ turn.text }}{% endfor %}"
    )
    assert check_router("f", source) == []


ROUTER = [
    ("", "f:1: the template is empty"),
    ("a\n{% for t in targets %}", "f:2: not a valid template: Unexpected end of template."),
    ("a\n\n{{ 1 + }}", "f:3: not a valid template: "),
    ("{% if x %}\n{% endfor %}", "f:2: not a valid template: Encountered unknown tag 'endfor'."),
    (TARGETS + "\n{{ querry.task }}",
     "f:3: there is no `querry` in this template: did you mean `query`?"),
    (TARGETS + "\n{% if false %}{{ nobody }}{% endif %}",
     "f:3: there is no `nobody` in this template; there are: targets, query"),
    ("a\n" + TARGETS.replace("t.description", "t.descripton"),
     "f:2: cannot be rendered: there is no attribute `descripton`: did you mean `description`?"),
    (TARGETS + "{{ query.turns[3].text }}", "f:2: cannot be rendered: "),
    (TARGETS + "\n{{ 1 / 0 }}", "f:3: cannot be rendered: division by zero"),
    (TARGETS + "\n\n{{ ''.__class__.__mro__ }}", "f:4: cannot be rendered: "),
    (TARGETS + "{% for i in range(10 ** 9) %}{% endfor %}", "f:2: cannot be rendered: "),
    (TARGETS + "{% include 'other.md' %}", "f:2: cannot be rendered: "),
    ("You are a router.",
     "f:1: the targets are not shown: loop over `targets` and print each `target.id`"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "message"), ROUTER, ids=[case[1] for case in ROUTER])
def test_a_broken_template_is_a_line_in_a_report(source: str, message: str) -> None:
    """Syntax, unknown names, failing expressions and forbidden ones are found at their line."""
    problems = check_router("f", source)
    assert len(problems) == 1
    assert str(problems[0]).startswith(message)


def test_targets_can_have_no_output_limit() -> None:
    """A filter that needs a number fails on a target that has none, before a request does."""
    source = TARGETS + "{% for t in targets %}{{ '%d' % t.max_output }}{% endfor %}"
    assert "cannot be rendered" in str(check_router("f", source)[0])


def test_the_verifier_sees_texts_alone() -> None:
    """Question and answer are strings to it, and it sees no targets."""
    assert "`targets`" in str(check_verifier("f", "{{ targets }}")[0])
    assert "`text`" in str(check_verifier("f", "{{ query.text }}")[0])
