"""What one process has learned so far, and when the next fit is due.

An example counts at once: in the trust, in the model's neighbour memory, and in the buffer that the
next fit reads. Examples of this process are also written to the store for the other workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmrouter.domain.interfaces import Observer, Store
from llmrouter.learning.encoders.hashed_features import Measured
from llmrouter.learning.encoders.remote import Encoders
from llmrouter.learning.encoders.text_encoder import Encoded
from llmrouter.learning.model.quality_model import QualityModel
from llmrouter.learning.online.example_buffer import ExampleBuffer, cap_per_caller
from llmrouter.learning.online.live_costs import LiveCosts
from llmrouter.learning.online.sync import StoreSync
from llmrouter.learning.online.training_example import TrainingExample
from llmrouter.learning.online.trust_monitor import TrustMonitor
from llmrouter.learning.trust.abstention_threshold import Windows
from llmrouter.learning.trust.agreement_model import AgreementModel
from llmrouter.learning.trust.predictor import Predictor
from llmrouter.learning.trust.trust_report import trust_report


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """How a process learns.

    `first_fit` examples start a model; it is fitted again when `growth` more have come. At most
    `remembered` examples are held. Trust is computed anew after `refresh` comparisons. Every
    `check_s` seconds examples are written to the store and those of other workers are read.
    `secret` hides the words of what is written (see `training_example`): every process on a store
    has the same. While `fits` says no, nothing is fitted: examples are kept for when it says yes.
    """

    first_fit: int = 200
    growth: float = 0.5
    remembered: int = 5_000
    check_s: float = 1.0
    refresh: int = 100
    secret: bytes = b"unset"
    fits: Callable[[], bool] = _always


@dataclass(slots=True)
class FitSchedule:
    """When to fit: `learned` examples so far, of which the last fit had `fitted_at`."""

    options: LearnerOptions
    learned: int = 0
    fitted_at: int = 0

    def next_at(self) -> float:
        """How many examples there must be for the next fit."""
        news = min(self.fitted_at * self.options.growth, self.options.remembered)
        return max(self.options.first_fit, self.fitted_at + news)

    def due(self, held: int) -> bool:
        """Whether a fit is wanted, enough is new for it, and as much is `held` as the last had."""
        enough = held >= min(self.fitted_at, self.options.remembered)
        return self.options.fits() and self.learned >= self.next_at() and enough

    def wait_for_news(self) -> None:
        """Counts everything learned so far as fitted."""
        self.fitted_at = self.learned


class LearningState:
    """Confined to one event loop.

    `space` names the encoder whose vectors are learned from ("": the hashing encoder).
    `trained_at` is when `llmrouter train` made the serving model, in seconds since the epoch, and
    `covered` the number of each author's last example in it.
    """

    def __init__(
        self,
        store: Store,
        observer: Observer,
        agreement: Callable[[], float],
        options: LearnerOptions,
        encoders: Encoders,
    ) -> None:
        self.costs = LiveCosts()
        self.sync = StoreSync(store, options.secret, options.remembered, self.costs)
        self.predictor = Predictor(AgreementModel(Windows(agreement())), self.costs)
        self.trust = TrustMonitor(self.predictor, agreement, observer, options.refresh)
        self.examples = ExampleBuffer(options.remembered)
        self.schedule = FitSchedule(options)
        self.encoders = encoders
        self.space = encoders.space
        self.trained_at = 0.0
        self.covered: Mapping[str, int] = {}

    def record(self, example: TrainingExample) -> None:
        """Learns an example of this process, and queues it for the store."""
        self.take(self.sync.note(example))

    def take(self, example: TrainingExample) -> None:
        """Learns an example of any process: trust, memory, and the buffer for the next fit."""
        if example.again is not None:
            self.predictor.steady.observe(example.again)
        if example.comparison is not None:
            self.trust.observe(example.comparison)
        if example.grades:
            self.examples.add(example)
            self.schedule.learned += not self.space or example.space == self.space
            if self.predictor.model is not None:
                example.teach(self.predictor.model)

    def public(self) -> dict[str, Any]:
        """For `/learning`: the model that serves, what it rests on, and trust task by task."""
        return {
            "serving": self.predictor.model is not None,
            "fitted_on": self.schedule.fitted_at,
            "learned": self.schedule.learned,
            "held": len(self.examples),
            "next_fit_at": int(self.schedule.next_at()),
            "teacher_consistency": self.predictor.steady.share(),
            **trust_report(self.predictor.trust.windows),
        }

    def packed_examples(self) -> list[bytes]:
        """What the next fit reads, oldest first."""
        return [one.packed() for one in cap_per_caller(self.examples.all())]

    def due(self) -> bool:
        """Whether enough is new for another fit."""
        return self.schedule.due(len(self.examples))

    def adopt(self, model: QualityModel) -> None:
        """Serves with a model that was fitted on all examples so far."""
        self.predictor.model = model
        self.schedule.wait_for_news()
        self.covered = dict(self.sync.seen)

    def encode(self, measured: Measured, text: str) -> Encoded | None:
        """A request as the model reads it; None without a model, or without the text's vector."""
        model = self.predictor.model
        if model is None:
            return None
        try:
            return model.encode_measured(measured, self.encoders.vector(text))
        except LookupError:
            return None
