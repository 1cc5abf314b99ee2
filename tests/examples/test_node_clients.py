"""The Node.js examples of docs/examples, with the packages of its package.json."""

from __future__ import annotations

import pytest

from tests.examples.conftest import EXAMPLES, FORMATS, Run, lists_models, told, vendor_reads_all

NODE = EXAMPLES / "node"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai-chat.mjs", "auto"),
        ("openai-responses.mjs", FORMATS["chat"]),
    ],
)
def test_openais_package_answers_streams_and_calls_tools(run: Run, name: str, model: str) -> None:
    """The official client reads every part of what targets of other formats say."""
    vendor_reads_all(run("node", NODE / name, model=model), model)


def test_anthropics_package_lists_models_answers_streams_and_calls_tools(run: Run) -> None:
    """It reads every page of the models, tokens are counted, and a Responses target answers."""
    printed = run("node", NODE / "anthropic-messages.mjs", model=FORMATS["responses"])
    vendor_reads_all(printed, FORMATS["responses"])
    lists_models(printed)


def test_the_ai_sdk_runs_tool_loops_over_every_format(run: Run) -> None:
    """Its chat, Responses and Anthropic providers answer, stream and call a tool."""
    printed = run("node", NODE / "ai-sdk.mjs")
    for label in ("answer", "stream", "final"):
        assert len(told(printed, label)) == 3
        assert all("simulated" in said for said in told(printed, label))
    assert len(told(printed, "tool")) == 3
    assert len(told(printed, "target")) == 3
