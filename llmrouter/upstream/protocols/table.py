"""What is carried between the wire formats, as the table in docs/protocols.md.

Made from the tuples that the formats themselves read, so the page cannot say anything else than the
code does: `python -m llmrouter.upstream.protocols.table` prints it, a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmrouter.upstream.protocols import (
    anthropic_body,
    anthropic_messages,
    openai_chat,
    openai_responses,
    responses_body,
)

BUILT: Final = {
    openai_chat.NAME: openai_chat.TAKES,
    openai_responses.NAME: responses_body.TAKES,
    anthropic_messages.NAME: anthropic_body.TAKES,
}
"""The members of a request inside that each format's body takes."""


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _read(
    title: str, name: str, rows: Iterable[tuple[Iterable[str], str]], own: Iterable[str]
) -> list[str]:
    return [
        f"**{title}** (`{name}`), sent to a target of another format:",
        "",
        "| member | what becomes of it |",
        "| --- | --- |",
        *(f"| {_names(members)} | {what} |" for members, what in rows),
        f"| {_names(own)} | kept: only targets that speak `{name}` are eligible |",
        "| any other | dropped, with a warning |",
        "",
    ]


def table() -> str:
    """The table, as Markdown."""
    members = dict.fromkeys(
        name for takes in BUILT.values() for name in takes if name not in ("messages", "stream")
    )
    messages, responses = anthropic_messages, openai_responses
    return "\n".join(
        [
            *_read(
                "Messages",
                messages.NAME,
                [
                    (messages.CARRIED, "carried"),
                    (messages.SESSION, "names the session; not sent"),
                ],
                messages.NATIVE,
            ),
            *_read(
                "Responses",
                responses.NAME,
                [
                    (responses.CARRIED, "carried"),
                    (responses.QUIET, "a default, or without meaning here; not sent"),
                    (responses.STATE, "refused where it asks for stored responses (400)"),
                ],
                responses.NATIVE,
            ),
            "**Chat completions and the inner form**: which members reach which format. Every "
            "other one is dropped, with a warning.",
            "",
            f"| member | {' | '.join(BUILT)} |",
            "| --- |" + " --- |" * len(BUILT),
            *(
                f"| `{name}` | "
                + " | ".join("yes" if name in takes else "dropped" for takes in BUILT.values())
                + " |"
                for name in sorted(members)
            ),
        ]
    )


if __name__ == "__main__":
    print(table())  # noqa: T201 - a page's source is printed for the page
