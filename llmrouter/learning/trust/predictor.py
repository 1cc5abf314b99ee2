"""From a request to a learned prediction: estimates, a choice, and whether it may decide.

It holds the current model and the trust that the model has earned. Prediction takes a quarter of a
millisecond on the request's path; it learns nothing, waits for nothing and does no I/O.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.decision import Alternative, RoutingContext
from llmrouter.domain.interfaces import ExpectedCosts, LearnedPrediction, QualityEstimate
from llmrouter.domain.utility import choose, penalty, scale_of
from llmrouter.learning.encoders.text_encoder import Encoded
from llmrouter.learning.model.cold_start import cold_start_estimates
from llmrouter.learning.model.quality_model import Estimates, QualityModel
from llmrouter.learning.trust.agreement_model import AgreementModel, facts
from llmrouter.learning.trust.teacher_agreement import TeacherConsistency

Floats = NDArray[np.floating]

TEXT_LIMIT = 4_000  # characters of a request that are learned from
OWN_WISH = 0.8
"""How much quality counts where a request has no wish of its own. The labels that were learned were
given at the catalog's own trade-off, so that price is left to part what is equally good. Where the
router LLM gives probabilities, they hold no trade-off, and the catalog's is asked for."""
CHECKED = 0.75
"""Weight from which on a remembered grade of this very request outranks the router LLM's word."""


class Predictor:
    """Proposes with `model` (None: nothing is learned yet) as far as `trust` goes."""

    def __init__(self, trust: AgreementModel, costs: ExpectedCosts) -> None:
        self._costs = costs
        self.model: QualityModel | None = None
        self.trust = trust
        self.steady = TeacherConsistency()
        self.probabilities = False  # whether labels are probabilities, or names of choices
        self._introduced: tuple[QualityModel, Catalog] | None = None
        self._scale: tuple[str, float] = ("", 0.0)

    def propose(self, context: RoutingContext) -> LearnedPrediction | None:
        """What the model would choose, and whether its record lets that count. None: no model."""
        estimates = self._estimates(context)
        if estimates is None:
            return None
        quality = np.asarray(estimates.quality, dtype=np.float64)
        asks = self.probabilities or context.quality != context.catalog.quality
        choice = choose(quality, self._burdens(context), context.quality if asks else OWN_WISH)
        task = context.features.traits.task
        known = facts(estimates, choice)
        confidence = self.trust.confidence(known, task)
        return LearnedPrediction(
            target=context.eligible[choice.index],
            confidence=confidence,
            task=task,
            alternatives=tuple(
                Alternative(context.eligible[i], round(float(quality[i]), 4))
                for i in choice.order[1:]
            ),
            trusted=self.trust.trusts(task, confidence, known),
            facts=known,
            audit=self.trust.windows.audit_share(task),
            again=self.steady.wanted() * self.trust.named,
        )

    def prospects(self, context: RoutingContext) -> tuple[QualityEstimate, ...]:
        """What is expected of each eligible target, for exploring; empty while nothing is learned.

        The doubt shrinks with the graded requests near this one.
        """
        found = self._estimates(context)
        if found is None:
            return ()
        doubts = found.uncertainty / np.sqrt(1.0 + found.support)
        each = zip(context.eligible, found.quality.tolist(), doubts.tolist(), strict=True)
        return tuple(QualityEstimate(*one) for one in each)

    def graded(self, encoded: Encoded | None) -> dict[str, float]:
        """Checked grades (0..1) of this very request, as far as any are remembered."""
        if self.model is None or encoded is None:
            return {}
        return self.model.graded(encoded, CHECKED)

    def _estimates(self, context: RoutingContext) -> Estimates | None:
        """Estimates for the eligible targets by a model that knows of the catalog's new ones; None
        where there is no model, or nothing at hand of what it reads.
        """
        model, catalog = self.model, context.catalog
        if model is None:
            return None
        told = self._introduced
        if told is None or told[0] is not model or told[1] is not catalog:
            model.heirs = cold_start_estimates(model.targets, model.base.prior, catalog.targets)
            self._introduced = model, catalog
        try:
            text, task = context.features.text[:TEXT_LIMIT], context.features.traits.task
            return model.estimate(text, context.eligible, task)
        except LookupError:  # an encoder that has to be asked has not answered
            return None

    def _burdens(self, context: RoutingContext) -> Floats:
        """On one scale for the whole catalog, so that dear requests weigh what they cost."""
        catalog = context.catalog
        if self._scale[0] != catalog.version or not catalog.version:
            self._scale = catalog.version, scale_of(catalog)
        written = self._costs.output_tokens(context)
        each = list(zip(context.targets(), written, strict=True))
        read = context.features.input_tokens
        costs = np.array([target.price.cost(read, tokens) for target, tokens in each])
        waits = np.array([target.latency.total_ms(tokens) for target, tokens in each])
        return penalty(costs, waits, scale_usd=self._scale[1])
