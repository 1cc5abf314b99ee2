"""Keeps the predictor's trust up to date, and says when a task gains or loses it.

Every comparison of a learned choice with the router LLM's is counted at once. After a number of
them the confidence is fitted again on all (see `agreement_model`), and swapped in whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from llmrouter.domain.interfaces import Observer
from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.agreement_model import AgreementModel, Comparison
from llmrouter.learning.trust.predictor import Predictor

log = logging.getLogger(__name__)


class TrustMonitor:
    """Watches `predictor.trust`. `agreement` gives the share of choices that must agree.

    Trust is stale after `refresh` comparisons. Confined to one event loop.
    """

    def __init__(
        self,
        predictor: Predictor,
        agreement: Callable[[], float],
        observer: Observer,
        refresh: int,
    ) -> None:
        self._predictor = predictor
        self._agreement = agreement
        self._observer = observer
        self._refresh = refresh
        self._trusted: set[str] = set()
        self._compared = 0

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that learned preferences answer alone."""
        return frozenset(self._trusted)

    def unearned(self) -> AgreementModel:
        """Trust without comparisons."""
        return AgreementModel(Windows(self._agreement()))

    def observe(self, one: Comparison) -> None:
        """Counts a comparison."""
        if self._predictor.trust.observe(one):
            self._compared += 1
            self._watch(one.task)

    def stale(self) -> bool:
        """Whether trust should be computed anew."""
        return self._compared >= self._refresh

    def refresh(self) -> None:
        """Fits the confidence again on all comparisons. Takes milliseconds."""
        self.aim()
        self.swap(self._predictor.trust.refresh())

    def swap(self, fresh: AgreementModel) -> None:
        """Goes on with `fresh`, which takes over what was compared since it was made."""
        self._compared = 0
        fresh.follow(self._predictor.trust)
        self._predictor.trust = fresh
        for task in (*fresh.windows.known(), *self._trusted):
            self._watch(task)

    def start_over(self) -> None:
        """Computes confidences anew for another model; no task is trusted until then."""
        self._trusted.clear()
        self.swap(self.unearned())

    def aim(self) -> None:
        """Sets the agreement to hold: where only names are compared, that share of what the router
        LLM repeats when it is asked again.
        """
        trust = self._predictor.trust
        lost = trust.named * (1.0 - self._predictor.steady.share())
        trust.windows.target_agreement = self._agreement() * (1.0 - lost)

    def _watch(self, task: str) -> None:
        trusted = self._predictor.trust.windows.cut(task) is not None
        if trusted and task not in self._trusted:
            self._trusted.add(task)
            log.info("learned preferences answer %s requests from now on", task)
        elif not trusted and task in self._trusted:
            self._trusted.discard(task)
            log.warning("learned preferences withdrew from %s: agreement is below target", task)
            self._observer.count("withdrawals", 1, {"task": task})
