"""The seams between rooms: each Protocol here has at least two implementations, a fake included.

Rooms import these and never each other; `bootstrap` says which class stands behind which Protocol.
"""

from llmrouter.domain.interfaces.decisions import (
    Canary,
    CatalogSource,
    FeatureExtractor,
    Ledger,
    Stage,
)
from llmrouter.domain.interfaces.estimates import (
    CallPrice,
    Estimator,
    ExpectedCosts,
    Found,
    Judged,
    Judgements,
    LearnedPrediction,
    Preferences,
    QualityEstimate,
    TargetEstimate,
)
from llmrouter.domain.interfaces.models import (
    ChatAnswer,
    ChatModel,
    Embeddings,
    JudgeModel,
    TokenAnswer,
)
from llmrouter.domain.interfaces.observers import Attribute, Journal, Observer, Span
from llmrouter.domain.interfaces.stores import Store
from llmrouter.domain.interfaces.upstreams import (
    RATE_LIMITED,
    Health,
    Resting,
    Rewriter,
    Rewritten,
    Upstream,
)

__all__ = [
    "RATE_LIMITED",
    "Attribute",
    "CallPrice",
    "Canary",
    "CatalogSource",
    "ChatAnswer",
    "ChatModel",
    "Embeddings",
    "Estimator",
    "ExpectedCosts",
    "FeatureExtractor",
    "Found",
    "Health",
    "Journal",
    "JudgeModel",
    "Judged",
    "Judgements",
    "LearnedPrediction",
    "Ledger",
    "Observer",
    "Preferences",
    "QualityEstimate",
    "Resting",
    "Rewriter",
    "Rewritten",
    "Span",
    "Stage",
    "Store",
    "TargetEstimate",
    "TokenAnswer",
    "Upstream",
]
