"""What each metric means: HELP lines for Prometheus, descriptions for OTLP, buckets for both.

The boundaries are those that OpenTelemetry recommends for its own histograms; the service's own
start at 10 µs, where a cached decision is.
"""

from __future__ import annotations

from llmrouter.domain import semconv
from llmrouter.telemetry.metrics import Histogram, Metrics

COUNTERS = {
    "decisions": "Decisions by the stage they came from.",
    "cache_lookups": "Lookups in the decision cache by outcome.",
    "router_calls": "Calls of the router LLM by outcome: ok, or the kind of failure.",
    "router_spend_usd": "What the router LLM cost, in US dollars.",
    "downstream_spend_usd": "What executions cost, rejected attempts included, in US dollars.",
    "key_spend_usd": "What the requests of each API key cost, decisions included, in US dollars.",
    "best_target_spend_usd": "What the same executions would have cost at the best target.",
    "attempts": "Attempts at targets by outcome.",
    "escalations": "Answers that a cascade rejected and escalated, by the signal that said so.",
    "judgements": "Verdicts of the judge by outcome.",
    "hedges": "Second attempts started because the first was slow.",
    "audits": "Learned choices compared with the router LLM's, by outcome and task.",
    "shadow": "Choices compared with those of the strategy that decides alongside, by outcome.",
    "shadow_choice_usd": "What its choices, and the live ones beside them, should have cost.",
    "shadow_quality": "Sum of the estimated qualities (0 to 1) of both choices.",
    "shadow_estimated": "Comparisons of which both qualities were estimated.",
    "shadow_own_usd": "What deciding alongside cost by itself, in US dollars.",
    "explored": "Requests that another target than the chosen one served, to learn from it.",
    "withdrawals": "Times that learned preferences stopped answering a task on their own.",
    "encoder_tokens": "Tokens that the encoder's server counted.",
    "encoder_spend_usd": "What they cost, in US dollars.",
    "encoder_failures": "Texts that an encoder gave no vector for in time, by kind.",
    "stage_failures": "Stages that failed or overran, by kind; another stage decided.",
    "feedback": "Decisions that a key rated; its further ratings of one count as corrections.",
    "feedback_praise": "Sum of the scores of ratings of at least 0, and of corrections upwards.",
    "feedback_blame": "Sum of the scores below 0 and of corrections downwards, without the sign.",
    "feedback_ignored": "Ratings without effect on learning: one key may not move a task alone.",
    "catalog_reloads": "Catalogs taken over after an edit.",
    "model_fits": "Preference models that this process had fitted.",
    "upstream_misconfigured": "Attempts that failed for a reason on our side (key, model name).",
}
GAUGES = {
    "requests_in_flight": "HTTP requests being answered now.",
    "feedback_score": "Mean rating, -1 to 1.",
    "breaker_state": "1 for the state that a target's circuit breaker is in.",
    "router_breaker_state": "1 for the state of the circuit of each small LLM's server.",
    "confidence_evidence": "Outcomes that a target's calibrated confidence rests on.",
    "learned_trusted": "1 for each task that learned preferences answer alone.",
    "catalog_problems": "What is wrong with the newest edit of the catalog; 0 is good.",
}
SECONDS, TOKENS = semconv.SECONDS_BOUNDARIES, semconv.TOKEN_BOUNDARIES
OWN = semconv.OVERHEAD_BOUNDARIES


def declare(metrics: Metrics) -> None:
    """Declare every histogram, describe every counter and gauge."""
    for name, text in (*COUNTERS.items(), *GAUGES.items()):
        metrics.describe(name, text)
    for name, histogram in (
        (
            semconv.METRIC_OPERATION_DURATION,
            Histogram("s", SECONDS, "Time a call of a model took, router LLM and targets alike."),
        ),
        (
            semconv.METRIC_TIME_TO_FIRST_CHUNK,
            Histogram("s", SECONDS, "Time until the first chunk of a streamed answer."),
        ),
        (
            semconv.METRIC_TOKEN_USAGE,
            Histogram("{token}", TOKENS, "Tokens used by a call, input and output apart."),
        ),
        (
            semconv.METRIC_SERVER_DURATION,
            Histogram("s", semconv.HTTP_BOUNDARIES, "Time an HTTP request took."),
        ),
        (
            semconv.METRIC_DECISION_DURATION,
            Histogram("s", OWN, "Time a decision took, the router LLM's call included."),
        ),
        (
            semconv.METRIC_OVERHEAD_DURATION,
            Histogram("s", OWN, "Time of an HTTP request that was not spent waiting for models."),
        ),
    ):
        metrics.declare(name, histogram)
