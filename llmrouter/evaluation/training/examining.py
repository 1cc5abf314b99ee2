"""Held-out agreement of a model with its labels: the record that trust rests on.

Each label is predicted by a model that has not seen it or near duplicates (prompts that open
alike), by the code that predicts in the service. The comparisons are stored with the final model as
if they had been observed live. Agreement with rules is no proof of quality: where there is a router
LLM, its live audits are added and take the trust away where they disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmrouter.evaluation.training.labelling import Label
from llmrouter.learning.encoders.text_encoder import Dense
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.model.training import fit, folds_of
from llmrouter.learning.online.live_costs import LiveCosts
from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.agreement_model import AgreementModel, Comparison
from llmrouter.learning.trust.predictor import Predictor

FOLDS = 3
EXAMINER = "rules"


def comparisons(
    labels: Sequence[Label],
    beside: Sequence[Example],
    encoder: Dense | None,
    seed: int,
    progress: Callable[[float], None],
) -> list[Comparison]:
    """One comparison a label, in their order; `beside` are examples that every fit may see."""
    found: list[Comparison | None] = [None] * len(labels)
    fold = folds_of([label.context.features.text for label in labels], FOLDS)
    for number in range(FOLDS):
        rest = [label.example() for label, its in zip(labels, fold, strict=True) if its != number]
        if len(rest) == len(labels):
            continue
        fitted = fit([*rest, *beside], encoder=encoder, seed=seed)
        proposer = Predictor(AgreementModel(Windows(0.5)), LiveCosts())
        proposer.model = fitted.model
        for at, label in enumerate(labels):
            if fold[at] == number:
                found[at] = _compared(proposer, label)
        progress((number + 1) / FOLDS)
    return [one for one in found if one is not None]


def _compared(proposer: Predictor, label: Label) -> Comparison | None:
    proposal = proposer.propose(label.context)
    if proposal is None:
        return None
    agreed = proposal.target == label.target
    return Comparison(proposal.task, proposal.facts, agreed, False, EXAMINER)


def trusted(compared: Sequence[Comparison], agreement: float) -> tuple[str, ...]:
    """The tasks that these comparisons earn trust for, at the agreement asked for."""
    trust = AgreementModel(Windows(agreement))
    trust.load([one.task, list(one.facts), *one[2:]] for one in compared)
    windows = trust.refresh().windows
    return tuple(sorted(task for task in windows.known() if windows.cut(task) is not None))
