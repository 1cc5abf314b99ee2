"""Labels from rules, for a team that has no graded outcomes yet.

The target that a rule picks is taken to satisfy its request, and the other eligible targets not to
be needed. The model learns to generalise the rules to requests that no pattern matches. There is no
label where no rule matches or where its target may not serve. A rule is about a kind of request, so
its label weighs less than the router LLM's label of one request, and much less than an outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from llmrouter.domain.catalog import Catalog
from llmrouter.domain.chat import ANONYMOUS, Caller, ChatRequest, Message, RouterOptions
from llmrouter.domain.decision import RoutingContext
from llmrouter.domain.features import Features
from llmrouter.evaluation.benchmark.dataset import Row
from llmrouter.evaluation.recorded import RecordedRequest
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.learning.model.quality_model import Example
from llmrouter.learning.trust.predictor import TEXT_LIMIT
from llmrouter.routing.eligibility import Eligibility, RequestConstraints
from llmrouter.routing.stages.rules import first_match, first_of_cascade

RULE_WEIGHT: Final = 0.3


@dataclass(frozen=True, slots=True)
class Label:
    """A question and the target that a rule picks for it."""

    context: RoutingContext
    target: str

    def example(self) -> Example:
        """What a fit reads."""
        about = self.context
        grades = {name: float(name == self.target) for name in about.eligible}
        traits = about.features.traits
        return Example(about.features.text[:TEXT_LIMIT], grades, RULE_WEIGHT, traits.task)


@dataclass(slots=True)
class Labelled:
    """`labels`, one a distinct text; how many prompts each rule labelled, how many matched none,
    and of how many the rule's target may not serve.
    """

    labels: list[Label] = field(default_factory=list)
    by_rule: Counter[str] = field(default_factory=Counter)
    unmatched: int = 0
    ineligible: int = 0

    @property
    def count(self) -> int:
        """Prompts that were labelled, repeats included."""
        return self.by_rule.total()

    def told(self) -> str:
        """One line about what was labelled by what."""
        asked = self.count + self.unmatched + self.ineligible
        rules = ", ".join(f"{name} {count:,}" for name, count in self.by_rule.most_common())
        line = f"labelled {self.count:,} of {asked:,} prompts by rules"
        line += f" ({rules})" if rules else ""
        line += f"; {self.unmatched:,} matched none"
        if self.ineligible:
            line += f"; of {self.ineligible:,} the rule's target may not serve them"
        return line


def of_row(row: Row, catalog: Catalog) -> RoutingContext:
    """A row's prompt as a question, its task declared where it has one."""
    options = RouterOptions(task=row.task or None)
    request = ChatRequest(b"", {}, (Message("user", row.prompt),), options, None, False)
    return _question(request, _EXTRACTOR.features(request, ANONYMOUS), catalog, ANONYMOUS)


def of_past(past: RecordedRequest, catalog: Catalog) -> RoutingContext:
    """A recorded request as a question to this catalog."""
    return _question(past.request, past.features, catalog, past.caller)


def label(questions: Iterable[RoutingContext], catalog: Catalog) -> Labelled:
    """Asks the catalog's rules about every question; the first match labels it."""
    out, known = Labelled(), set[str]()
    for context in questions:
        rule = first_match(catalog.rules, context)
        if rule is None:
            out.unmatched += 1
            continue
        target = rule.route or first_of_cascade(context)
        if target is None or target not in context.eligible:
            out.ineligible += 1
            continue
        out.by_rule[rule.name] += 1
        if context.features.text not in known:
            known.add(context.features.text)
            out.labels.append(Label(context, target))
    return out


_EXTRACTOR: Final = Extractor(Fingerprinter(bytes(32)))
_ELIGIBILITY: Final = Eligibility()


def _question(
    request: ChatRequest, features: Features, catalog: Catalog, caller: Caller
) -> RoutingContext:
    screening = _ELIGIBILITY.screen(catalog, RequestConstraints(request.options, features, caller))
    return RoutingContext(
        request=request,
        features=features,
        catalog=catalog,
        eligible=screening.eligible,
        caller=caller,
        quality=catalog.quality,
    )
