"""What the journal keeps."""

from __future__ import annotations

from typing import Any

from llmrouter.domain.chat import ANONYMOUS, Caller
from llmrouter.domain.deadline import NEVER
from llmrouter.domain.decision import Feedback, Question
from llmrouter.domain.reply import Attempt, Completion
from llmrouter.learning.journal import Journal, JournalOptions
from llmrouter.signals.extract import Extractor
from llmrouter.signals.fingerprint import Fingerprinter
from llmrouter.store.memory import MemoryStore
from tests.fakes import a_catalog, a_decision, a_request


def a_question(text: str = "Summarize this.", caller: Caller = ANONYMOUS) -> Question:
    """A question as it is asked."""
    request, catalog = a_request(text), a_catalog()
    features = Extractor(Fingerprinter(b"k" * 32)).features(request, caller)
    return Question(request, features, catalog, tuple(catalog.targets), (), caller, NEVER)


async def kept(journal: Journal) -> list[dict[str, Any]]:
    """Everything in the journal."""
    return await journal.tail(100)


async def test_a_decision_is_kept_with_its_features_and_without_its_text() -> None:
    """The entry names the decision and measures the request; the prompt is not in it."""
    journal = Journal(MemoryStore())
    journal.decided(a_decision(created_at=5.5), a_question("Summarize my secret."))
    (entry,) = await kept(journal)
    assert (entry["kind"], entry["at"], entry["decision_id"]) == ("decision", 5.5, "d-1")
    assert entry["eligible"] == ["small", "large"]
    assert entry["features"]["words"] == 3
    assert "secret" not in str(entry)


async def test_a_decision_made_again_is_an_entry_of_its_own() -> None:
    """It says what the first one says, with its own id and time."""
    journal, question, first = Journal(MemoryStore()), a_question(), a_decision(created_at=5.5)
    journal.decided(first, question)
    journal.decided(first.again('d-"2"', 0.2, (), 6.5), question)
    one, two = await kept(journal)
    assert (two["decision_id"], two["at"]) == ('d-"2"', 6.5)
    assert two == {**one, "decision_id": 'd-"2"', "at": 6.5}


async def test_prompts_are_kept_where_the_operator_asked() -> None:
    """Text and body are in the entry, for replay."""
    journal = Journal(MemoryStore(), JournalOptions(record_prompts=True))
    question = a_question("Summarize this.")
    journal.decided(a_decision(), question)
    (entry,) = await kept(journal)
    assert entry["prompt"] == "Summarize this."
    assert entry["request"].encode() == question.request.body


async def test_outcomes_and_feedback_name_their_decision() -> None:
    """Each kind has its own entry; a comment is text, so it is left out."""
    journal = Journal(MemoryStore())
    attempt = Attempt("small", "ok", "", 12.0, 0.001)
    journal.completed(a_decision(), Completion("small", (attempt,), 0.001, 13.0))
    journal.rated(a_decision(), Feedback("d-1", 0.5, comment="private"))
    outcome, feedback = await kept(journal)
    assert (outcome["kind"], outcome["decision_id"]) == ("outcome", "d-1")
    assert outcome["attempts"][0]["outcome"] == "ok"
    assert (feedback["kind"], feedback["score"], feedback["comment"]) == ("feedback", 0.5, None)


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """A full buffer costs entries, never a request."""
    journal, question = Journal(MemoryStore(), JournalOptions(buffered=2)), a_question()
    for _ in range(5):
        journal.decided(a_decision(), question)
    assert journal.dropped == 3
    assert len(await kept(journal)) == 2
