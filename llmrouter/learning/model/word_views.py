"""What a text's words tell by themselves: a ridge regression, and the task they belong to.

Both are linear in the weighted words that the encoder keeps, so one table of bytes holds them and a
request pays for one pass over its words. The regression sees every word, of which the encoder's
projection keeps few directions. The task view is P(task | words) by multinomial naive Bayes times
the task's shrunk mean grade of each target; where a request declares its task, that task's mean.

Labels made from the outcomes would leak them: `is_leaky` refuses tasks that outcomes tell far
better than words do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats, Ints
from llmrouter.learning.encoders.text_encoder import Terms
from llmrouter.learning.model.int8 import combined

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

RIDGE = 10.0
SMOOTHING = 0.05
"""Weight of a word that each task is taken to have seen (Lidstone smoothing)."""
TEMPERATURE = 0.07
"""Words of one text depend on each other: their evidence counts this much of what it would alone,
times the square root of how many there are."""
SHRINK = 20.0
"""Examples of the mean over all tasks that each task's mean is shrunk with."""
FEWEST = 30
"""Examples with a task that are needed for a task view."""
LEAK = 0.1
"""A label is refused where outcomes tell it this much more often than words do."""
TOP = 127


@dataclass(frozen=True, slots=True)
class WordViews:
    """int8 `table` [rows, T + K] of T targets and K tasks, and `scale` float32 [T + K].

    `tasks` are the K tasks' names, `odds` float32 [K] their log frequencies, `means` float32 [K, T]
    their mean grades. K is 0 where no tasks are known, or where they are refused.
    """

    table: NDArray[np.int8]
    scale: Floats
    tasks: tuple[str, ...]
    odds: Floats
    means: Floats

    def views(self, terms: Terms, task: str | None = None) -> tuple[Floats, Floats, bool]:
        """The ridge regression's deviation from the mean grades [T], the task view [T], and
        whether that is the declared `task`'s.
        """
        ridge, chances = self.scores(terms)
        if task is not None and task in self.tasks:
            return ridge, self.means[self.tasks.index(task)], True
        return ridge, chances @ self.means, False

    def scores(self, terms: Terms) -> tuple[Floats, Floats]:
        """The ridge regression's deviation from the mean grades [T], and P(task | words) [K]."""
        scores = combined(terms.weights, self.table, terms.rows) * self.scale
        targets = self.means.shape[1]
        chances = scores[targets:]
        return scores[:targets], posterior(chances, len(terms.rows), self.odds)


def posterior(scores: Floats, words: int, odds: Floats) -> Floats:
    """P(task | text) [K] of a text with this many `words`, its tasks' log-likelihoods `scores`."""
    if not len(scores):
        return scores
    logits = scores * np.float32(math.sqrt(words) * TEMPERATURE) + odds
    logits -= np.maximum.reduce(logits)
    chances = np.exp(logits)
    chances /= np.add.reduce(chances)
    return np.asarray(chances, np.float32)


@dataclass(frozen=True, slots=True)
class WordExamples:
    """What word views are fitted on: n texts' `words` (sparse [n, rows]), `grades` and `weights`
    [n, T], and each text's task as a number in 0..K (-1: none).
    """

    words: csr_matrix
    grades: Floats
    weights: Floats
    task: Ints
    tasks: tuple[str, ...]

    def part(self, rows: Ints) -> WordExamples:
        """The examples at `rows`."""
        return WordExamples(
            self.words[rows], self.grades[rows], self.weights[rows], self.task[rows], self.tasks
        )

    def untold(self) -> WordExamples:
        """The same examples without their tasks."""
        return WordExamples(self.words, self.grades, self.weights, np.full_like(self.task, -1), ())


def sparse_words(terms: Sequence[Terms], rows: int) -> csr_matrix:
    """The weighted words of n texts as a sparse matrix [n, rows]."""
    from scipy.sparse import csr_matrix

    bounds = np.cumsum([0] + [len(one.rows) for one in terms])
    weights = np.concatenate([one.weights for one in terms])
    places = np.concatenate([one.rows for one in terms])
    return csr_matrix((weights, places, bounds), shape=(len(terms), rows))


def fit_word_views(examples: WordExamples, prior: Floats) -> WordViews:
    """Fits both views; `prior` [T] is what the regression's answers deviate from."""
    slopes = _ridge(examples, prior)
    counts = np.bincount(examples.task[examples.task >= 0], minlength=len(examples.tasks))
    likelihoods = _log_likelihoods(examples)
    table = np.concatenate((slopes, likelihoods), axis=1)
    top = np.abs(table).max(axis=0, initial=0.0) + 1e-12
    odds = np.log((counts + 1) / (counts.sum() + len(counts))) if len(counts) else counts
    return WordViews(
        np.rint(table * (TOP / top)).astype(np.int8),
        (top / TOP).astype(np.float32),
        examples.tasks,
        np.asarray(odds, np.float32),
        _task_means(examples, prior),
    )


def is_leaky(examples: WordExamples, fold: Ints, told: Ints) -> tuple[bool, float, float]:
    """Whether outcomes tell the tasks far better than words do, and how often each does.

    `told` [n] is the task that words tell, by a fit that had not seen the text. Outcomes tell it by
    trees on the grades of each row, over the same folds.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    known = np.flatnonzero(examples.task >= 0)
    grades = np.where(examples.weights > 0, examples.grades, examples.grades.mean(axis=0))
    guess = np.full(len(examples.task), -1)
    for number in np.unique(fold[known]).tolist():
        rest, test = known[fold[known] != number], known[fold[known] == number]
        if len(rest) and len(np.unique(examples.task[rest])) > 1:
            trees = ExtraTreesClassifier(30, min_samples_leaf=3, random_state=0)
            guess[test] = trees.fit(grades[rest], examples.task[rest]).predict(grades[test])
    by_outcomes = float((guess[known] == examples.task[known]).mean())
    by_words = float((told[known] == examples.task[known]).mean())
    return by_outcomes > by_words + LEAK, by_outcomes, by_words


def _ridge(examples: WordExamples, prior: Floats) -> Floats:
    """Slopes [rows, T] of each target's grade, less its prior, on the words."""
    from sklearn.linear_model import Ridge

    def solved(rows: Ints, columns: Ints | list[int], mass: Floats | None) -> Floats:
        model = Ridge(alpha=RIDGE, solver="sparse_cg", tol=1e-3, fit_intercept=False)
        wanted = examples.grades[rows][:, columns] - prior[columns]
        model.fit(examples.words[rows], wanted, sample_weight=mass)
        return np.asarray(model.coef_.T, np.float32)

    every = np.arange(len(examples.grades))
    targets = examples.grades.shape[1]
    if (examples.weights == 1).all():
        return solved(every, np.arange(targets), None).reshape(-1, targets)
    slopes = np.zeros((examples.words.shape[1], targets), np.float32)
    for column in range(targets):
        rows = np.flatnonzero(examples.weights[:, column] > 0)
        if len(rows):
            mass = examples.weights[rows, column]
            slopes[:, column] = solved(rows, [column], mass).ravel()
    return slopes


def _log_likelihoods(examples: WordExamples) -> Floats:
    """log P(word | task) [rows, K], less the mean over tasks, which tells no task."""
    from scipy.sparse import csr_matrix

    count, rows = len(examples.tasks), examples.words.shape[1]
    if not count:
        return np.zeros((rows, 0), np.float32)
    known = np.flatnonzero(examples.task >= 0)
    ones = np.ones(len(known), np.float32)
    member = csr_matrix((ones, (examples.task[known], known)), (count, len(examples.task)))
    seen = np.asarray((member @ examples.words).todense(), np.float64) + SMOOTHING
    logs = np.log(seen / seen.sum(axis=1, keepdims=True))
    return np.asarray((logs - logs.mean(axis=0)).T, np.float32)


def _task_means(examples: WordExamples, prior: Floats) -> Floats:
    means = np.zeros((len(examples.tasks), examples.grades.shape[1]), np.float32)
    for number in range(len(examples.tasks)):
        rows = np.flatnonzero(examples.task == number)
        mass = examples.weights[rows]
        total = (examples.grades[rows] * mass).sum(axis=0) + SHRINK * prior
        means[number] = total / (mass.sum(axis=0) + SHRINK)
    return means


def numbered(tasks: Sequence[str | None]) -> tuple[Ints, tuple[str, ...]]:
    """Each text's task as a number (-1: none), and the tasks' names; none where they are few."""
    names = tuple(sorted({task for task in tasks if task}))
    number = {name: at for at, name in enumerate(names)}
    found = np.array([number.get(task or "", -1) for task in tasks], np.int64)
    if len(names) < 2 or (found >= 0).sum() < FEWEST:
        return np.full(len(tasks), -1, np.int64), ()
    return found, names
