"""The script that a prompt may hold for the simulated model."""

from __future__ import annotations

import pytest

from llmrouter.simulator.messages import as_chat as messages_as_chat
from llmrouter.simulator.replies import reply
from llmrouter.simulator.responses import answered, as_chat, whole

TASK = 'Do it. [simulate Read {"path": "a]b"}] [simulate Edit {"path": "a", "to": [1]}]'
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("Bash", "Read", "Edit")]


def called(messages: list[dict[str, object]], tools: object = TOOLS) -> tuple[str, str] | None:
    """What the model calls."""
    return reply("large", {"messages": messages, "tools": tools}).tool


def test_the_tools_are_called_in_turn_and_then_there_is_an_answer() -> None:
    """Every result brings the next call; arguments may hold brackets."""
    turns: list[dict[str, object]] = [{"role": "user", "content": TASK}]
    assert called(turns) == ("Read", '{"path": "a]b"}')
    turns += [{"role": "assistant", "content": None}, {"role": "tool", "content": "x"}]
    assert called(turns) == ("Edit", '{"path": "a", "to": [1]}')
    turns += [{"role": "assistant", "content": None}, {"role": "tool", "content": "x"}]
    turns.append({"role": "user", "content": "<system-reminder>go on</system-reminder>"})
    assert called(turns) is None


@pytest.mark.parametrize(
    "task",
    ["[simulate Read {not json}]", "[simulate Read [1]]", '[simulate Read {"a": 1}', "simulate"],
)
def test_what_is_no_script_changes_nothing(task: str) -> None:
    """The first tool is called with made-up arguments, as ever."""
    found = called([{"role": "user", "content": task}])
    assert found is not None
    assert found[0] == "Bash"


def test_a_tool_that_is_not_offered_is_not_called() -> None:
    """A title that an agent asks for on the side quotes the task and offers no tools."""
    assert called([{"role": "user", "content": TASK}], None) is None
    assert called([{"role": "user", "content": TASK}], TOOLS[:1]) is None


def test_it_is_read_in_messages_and_in_responses() -> None:
    """Each format's results count; a tool of free text gets its text."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    turns = [{"role": "user", "content": TASK}, {"role": "user", "content": [result]}]
    tools = [{"name": "Edit", "input_schema": {}}]
    chat = messages_as_chat({"messages": turns, "max_tokens": 9, "tools": tools})
    assert reply("large", chat).tool == ("Edit", '{"path": "a", "to": [1]}')
    task = 'Go. [simulate apply_patch {"input": "*** Begin"}]'
    document = {
        "model": "large",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": task}]}],
        "tools": [{"type": "custom", "name": "apply_patch"}],
    }
    assert as_chat(document)["tools"][0]["function"]["name"] == "apply_patch"
    (item,) = whole(document, answered(document))["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** Begin")


def test_arguments_are_called_as_they_are_written() -> None:
    """A number that no double holds stays one."""
    task = '[simulate Read {"id": 123456789012345678901234}]'
    assert called([{"role": "user", "content": task}]) == (
        "Read",
        '{"id": 123456789012345678901234}',
    )
