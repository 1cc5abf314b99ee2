"""One line names an encoder, and its canonical form names its space."""

import pytest

from llmrouter.domain.embedding_space import HASHING, EncoderSpec, encoder_spec

URL = "http://127.0.0.1:9100/v1"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hashing", "hashing"),
        ("openai", "openai:text-embedding-3-small@https://api.openai.com/v1"),
        ("openai:bge-m3", "openai:bge-m3@https://api.openai.com/v1"),
        (f"openai:BAAI/bge-m3@{URL}/", f"openai:BAAI/bge-m3@{URL}"),
        ("local", "local:all-MiniLM-L6-v2"),
        ("local:/models/tiny", "local:/models/tiny"),
    ],
)
def test_a_name_has_one_canonical_form(text: str, name: str) -> None:
    """Defaults are filled in, and reading the form again changes nothing."""
    assert str(encoder_spec(text)) == name
    assert encoder_spec(name) == encoder_spec(text)


def test_the_parts_are_told_apart() -> None:
    """Model and address."""
    assert encoder_spec(f"openai:a/b@{URL}") == EncoderSpec("openai", "a/b", URL)
    assert encoder_spec("hashing") is HASHING


@pytest.mark.parametrize(
    "text",
    [
        "", "bert", "hashing:2", "openai:", "local:", "local:x@http://h", "openai:a b", "Hashing",
        "openai:m@", "openai:m@ftp://h/v1", "openai:m@http://user:secret@h/v1",
        "openai:m@http://h/v1?key=secret", "openai:m@h:80",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    """A secret in an address too: it would be logged and stored."""
    with pytest.raises(ValueError, match="no encoder"):
        encoder_spec(text)
