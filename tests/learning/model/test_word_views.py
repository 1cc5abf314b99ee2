"""What words tell by themselves: grades by regression, and the task they belong to."""

from __future__ import annotations

import random

import numpy as np
import pytest

from llmrouter.learning.encoders.hashed_features import measure
from llmrouter.learning.encoders.text_encoder import HashingEncoder, Terms
from llmrouter.learning.model.fit_settings import FitSettings
from llmrouter.learning.model.training import fit_encoder
from llmrouter.learning.model.word_views import (
    WordExamples,
    fit_word_views,
    is_leaky,
    numbered,
    sparse_words,
)

SUBJECTS = {
    "law": ["court", "judge", "contract", "statute", "plaintiff", "appeal"],
    "biology": ["cell", "enzyme", "protein", "membrane", "species", "genome"],
}
SHARED = ["which", "following", "because", "best", "describes", "answer"]
PRIOR = np.array([0.5, 0.5], np.float32)


def _texts(count: int, seed: int) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    tasks = [draw.choice(sorted(SUBJECTS)) for _ in range(count)]
    texts = [
        " ".join(draw.choices(SUBJECTS[task], k=6) + draw.choices(SHARED, k=6)) for task in tasks
    ]
    return texts, tasks


def _encoded(texts: list[str]) -> tuple[HashingEncoder, list[Terms]]:
    signals = [measure(text) for text in texts]
    encoder = fit_encoder(signals, FitSettings(width=8), 0)
    return encoder, [encoder.project(one).terms for one in signals]


def _examples(count: int = 300, seed: int = 1) -> tuple[HashingEncoder, WordExamples, list[Terms]]:
    """The first target is good at law, the second at biology."""
    texts, tasks = _texts(count, seed)
    encoder, terms = _encoded(texts)
    task, names = numbered(tasks)
    grades = np.array([[t == "law", t == "biology"] for t in tasks], np.float32)
    words = sparse_words(terms, len(encoder.rarity))
    return encoder, WordExamples(words, grades, np.ones_like(grades), task, names), terms


def test_words_tell_the_task_and_with_it_the_grades() -> None:
    """A law question is expected to suit the target that is good at law, by both views."""
    encoder, examples, _ = _examples()
    views = fit_word_views(examples, PRIOR)
    asked = encoder.project(measure("the court heard the plaintiff and the appeal")).terms
    ridge, by_task, declared = views.views(asked)
    assert not declared
    assert ridge[0] > 0.1 > ridge[1]
    assert by_task[0] > 0.7 > 0.3 > by_task[1]


def test_a_declared_task_outranks_the_words() -> None:
    """Its own mean grades are taken, whatever the text; a task that no example had is inferred."""
    encoder, examples, _ = _examples()
    views = fit_word_views(examples, PRIOR)
    asked = encoder.project(measure("the court heard the plaintiff and the appeal")).terms
    _, by_task, declared = views.views(asked, "biology")
    assert declared
    assert by_task[1] > 0.8
    _, unknown, declared = views.views(asked, "astronomy")
    assert not declared
    np.testing.assert_array_equal(unknown, views.views(asked)[1])


def test_task_means_are_shrunk_where_examples_are_few() -> None:
    """Few good answers in a task do not make its mean 1."""
    _, examples, _ = _examples(40)
    few = fit_word_views(examples, PRIOR).means.max()
    _, examples, _ = _examples(400)
    many = fit_word_views(examples, PRIOR).means.max()
    assert 0.5 < few < many < 1


def test_the_table_of_bytes_answers_as_the_regression_does() -> None:
    """Rounding to bytes moves an estimate by less than a hundredth."""
    _, examples, terms = _examples()
    views = fit_word_views(examples.untold(), PRIOR)
    assert views.table.dtype == np.int8
    from sklearn.linear_model import Ridge

    from llmrouter.learning.model.word_views import RIDGE

    exact = Ridge(alpha=RIDGE, solver="sparse_cg", tol=1e-3, fit_intercept=False)
    exact.fit(examples.words, examples.grades - PRIOR)
    wanted = exact.predict(examples.words)
    found = np.stack([views.views(one)[0] for one in terms])
    np.testing.assert_allclose(found, wanted, atol=0.01)


@pytest.mark.parametrize("leaky", [True, False])
def test_labels_made_from_outcomes_are_refused(leaky: bool) -> None:
    """Outcomes tell them, words do not; a subject is told by words at least as well."""
    _, examples, terms = _examples(400)
    fold = np.arange(400) % 4
    if leaky:
        draw = np.random.default_rng(3)
        grades = draw.integers(0, 2, (400, 2)).astype(np.float32)
        made = grades[:, 0].astype(np.int64)
        names = ("easy", "hard")
        examples = WordExamples(examples.words, grades, np.ones_like(grades), made, names)
    told = np.empty(400, np.int64)
    for number in range(4):
        views = fit_word_views(examples.part(np.flatnonzero(fold != number)), PRIOR)
        for row in np.flatnonzero(fold == number).tolist():
            told[row] = views.scores(terms[row])[1].argmax()
    refused, by_outcomes, by_words = is_leaky(examples, fold, told)
    assert refused is leaky
    assert (by_outcomes > by_words + 0.1) is leaky


def test_sparse_grades_are_fitted_target_by_target() -> None:
    """Where each text grades one target, each target's regression rests on its own texts."""
    encoder, examples, _ = _examples(400)
    weights = np.zeros_like(examples.grades)
    weights[::2, 0] = 0.7
    weights[1::2, 1] = 0.7
    sparse = WordExamples(
        examples.words, examples.grades * (weights > 0), weights, examples.task, examples.tasks
    )
    views = fit_word_views(sparse, PRIOR)
    ridge, by_task, _ = views.views(encoder.project(measure("cell enzyme protein genome")).terms)
    assert ridge[0] < 0 < ridge[1]
    assert by_task[0] < by_task[1]


def test_few_or_equal_tasks_are_none() -> None:
    """One task, or a handful of labels, gives no task view."""
    assert numbered(["a"] * 100)[1] == ()
    assert numbered(["a", "b", None])[1] == ()
    assert numbered(["a", "b"] * 20)[1] == ("a", "b")
