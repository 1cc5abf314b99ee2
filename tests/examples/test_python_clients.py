"""The Python examples of docs/examples, each run by uv with the packages that it names."""

from __future__ import annotations

import pytest

from tests.examples.conftest import EXAMPLES, FORMATS, Run, lists_models, told, vendor_reads_all

PYTHON = EXAMPLES / "python"


def script(run: Run, name: str, model: str) -> str:
    """What an example prints."""
    return run("uv", "run", "--quiet", "--offline", "--script", PYTHON / name, model=model)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai_chat.py", "auto"),
        ("openai_chat.py", FORMATS["responses"]),
        ("openai_responses.py", "auto"),
        ("openai_responses.py", FORMATS["responses"]),
    ],
)
def test_openais_package_answers_streams_and_calls_tools(run: Run, name: str, model: str) -> None:
    """The official client reads every part of what targets of its own and other formats say."""
    vendor_reads_all(script(run, name, model), model)


def test_anthropics_package_lists_models_answers_streams_and_calls_tools(run: Run) -> None:
    """Models are read in Anthropic's shape, tokens are counted, and a chat target answers."""
    printed = script(run, "anthropic_messages.py", FORMATS["chat"])
    vendor_reads_all(printed, FORMATS["chat"])
    lists_models(printed)


def test_langchain_runs_an_agent_over_every_format(run: Run) -> None:
    """Its OpenAI and Anthropic models answer, stream and call a tool."""
    printed = script(run, "langchain_chat.py", "auto")
    for label in ("answer", "stream", "final"):
        assert len(told(printed, label)) == 3
        assert all("simulated" in said for said in told(printed, label))
    assert all(said.startswith("18° in ") for said in told(printed, "tool"))
    assert len(told(printed, "tool")) == 3


def test_llamaindex_runs_an_agent(run: Run) -> None:
    """OpenAILike answers, streams and calls a tool."""
    printed = script(run, "llamaindex_chat.py", "auto")
    assert "simulated" in told(printed, "answer")[0]
    assert "simulated" in told(printed, "stream")[0]
    assert told(printed, "tool")[0].startswith("18° in ")
    assert "simulated" in told(printed, "final")[0]


def test_pydantic_ai_runs_an_agent_and_reads_a_typed_answer(run: Run) -> None:
    """All three of its model classes call the tool and fill the type."""
    printed = script(run, "pydantic_ai_agent.py", FORMATS["responses"])
    assert len(told(printed, "tool")) == 3
    assert len(told(printed, "final")) == 3
    assert all(said.startswith("City(name=") for said in told(printed, "typed"))
    assert len(told(printed, "typed")) == 3


def test_litellm_speaks_to_it_in_three_formats(run: Run) -> None:
    """Chat completions, Messages and Responses, whole and streamed."""
    printed = script(run, "litellm_client.py", "auto")
    assert len(told(printed, "answer")) == 2
    said = [*told(printed, "answer"), *told(printed, "stream"), *told(printed, "response")]
    assert len(said) == 5
    assert all("simulated" in text for text in said)
