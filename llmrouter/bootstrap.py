"""The composition root: the only file that names concrete classes.

Everything with a life (store, session, watcher, writers) is entered into one AsyncExitStack, so a
start that fails half-way and a stop both unwind in order.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from llmrouter.api.app import create_app
from llmrouter.api.body_limits import DEFAULT_TIMEOUTS, BodyLimits, Timeouts
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.load_shedding import LoadShedder
from llmrouter.api.middleware.hosts import HostPolicy, host_policy
from llmrouter.auth.api_keys import Authenticator, parse_keys
from llmrouter.auth.managed_keys import ManagedKeys
from llmrouter.catalog.canary.live_canary import LiveCanary
from llmrouter.catalog.edit_policy import EditPolicy, key_patterns
from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.catalog.loader import Overrides
from llmrouter.domain.chat import ANONYMOUS, Caller
from llmrouter.domain.completion import Completion
from llmrouter.domain.decision import Audit, Decision, Feedback, RoutingContext, ShadowComparison
from llmrouter.domain.decision_story import explained
from llmrouter.domain.embedding_space import EncoderSpec
from llmrouter.domain.interfaces import Embeddings, Stage, Store
from llmrouter.domain.serialization import decode_decision, encode_decision
from llmrouter.errors import LLMRouterError, NotFound, StoreFailed
from llmrouter.execution.cascade.confidence_store import StoredRecord
from llmrouter.execution.cascade.implicit_feedback import (
    Escalation,
    EscalationOptions,
    ImplicitFeedback,
)
from llmrouter.execution.cascade.verification import Verifier
from llmrouter.execution.concurrency import ConcurrencyLimiter
from llmrouter.execution.executor import Execution, Executor, ExecutorOptions
from llmrouter.fastpath import response
from llmrouter.features.extractor import Extractor
from llmrouter.features.fingerprint import Fingerprinter
from llmrouter.features.prompt_view import bounded_view
from llmrouter.gateway import Gateway, GatewayDependencies
from llmrouter.journal.journal import Journal, JournalOptions
from llmrouter.journal.stories import Stories
from llmrouter.judging.cache import CachePolicy, JudgementCache
from llmrouter.judging.estimates import Estimates
from llmrouter.judging.judge import Judge
from llmrouter.judging.judgements import StoredJudgements
from llmrouter.judging.outcomes import StoredOutcomes
from llmrouter.learning.encoders.local import LocalEmbeddings
from llmrouter.learning.encoders.remote import Encoders
from llmrouter.learning.online.online_learner import LearnerOptions, OnlineLearner
from llmrouter.learning.online.outcome_labels import outcomes
from llmrouter.observation import DecisionPages, Figures
from llmrouter.preview import Place, Previewer
from llmrouter.ratelimit.key_limits import RateLimiter
from llmrouter.ratelimit.policies import parse_policies, policies_of, restricted
from llmrouter.routing.pipeline import RoutingPipeline
from llmrouter.routing.stages.default import Default
from llmrouter.routing.stages.exploration import Budget, Exploration
from llmrouter.routing.stages.judged import JudgedStage, Judging, LearnedOnly
from llmrouter.routing.stages.rules import Rules, StartCascade
from llmrouter.routing.stages.session_affinity import SessionAffinity, SessionFollower
from llmrouter.routing.stages.shadow import Shadow
from llmrouter.routing.utility import Utility
from llmrouter.routing.worth import Worth
from llmrouter.settings import Settings, is_loopback, listed
from llmrouter.store.decision_log import DecisionLog
from llmrouter.store.factory import open_store
from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.telemetry.worker_pages import WorkerPages
from llmrouter.upstream.client import UpstreamClient
from llmrouter.upstream.embeddings import OpenAIEmbeddings
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.protocols.registry import rewritten
from llmrouter.upstream.router_client import RouterClient
from llmrouter.usage.store import UsageStore
from llmrouter.util.addresses import AddressPolicy, address_policy
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)


SECRET = "secret:fingerprint"  # noqa: S105 - the name of a key in the store
METRICS_DIR = "LLMROUTER_METRICS_DIR"  # set by the parent of several workers
NEAR_ENTRIES = 2_000  # judgements, and choices made of them, kept decoded; the store holds the rest


class Misconfigured(LLMRouterError):
    """The service cannot start with these settings; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a built service shows to who runs it."""

    app: web.Application
    gateway: Gateway
    admission: LoadShedder
    telemetry: Telemetry
    holder: CatalogHolder


def overrides() -> Overrides | None:
    """What `llmrouter demo` and `llmrouter run` tell their workers, or None.

    `LLMROUTER_DEMO_UPSTREAM` is where the demo points every target;
    `LLMROUTER_EMBEDDED_UPSTREAMS` is a JSON object of the embedded models' base URLs.
    """
    if url := os.environ.get("LLMROUTER_DEMO_UPSTREAM"):
        return Overrides(base_url=url, api_key_env=None)
    if embedded := os.environ.get("LLMROUTER_EMBEDDED_UPSTREAMS"):
        return Overrides(embedded=json.loads(embedded))
    return None


def check_exposure(settings: Settings) -> None:
    """Refuse to be reachable from elsewhere without keys. Raises Misconfigured."""
    if not settings.api_keys.get_secret_value() and not is_loopback(settings.host):
        raise Misconfigured(
            f"refusing to listen on {settings.host} without API keys: set LLMROUTER_API_KEYS "
            "(name:key:tier,…), or bind to 127.0.0.1"
        )


def _store(settings: Settings) -> Store:
    try:
        return open_store(settings.store, shared=settings.workers > 1)
    except StoreFailed as failure:
        raise Misconfigured(f"LLMROUTER_STORE: {failure}") from None


async def shared_secret(store: Store) -> bytes:
    """The key of all fingerprints, one per store: every replica must compute the same ones."""
    try:
        known = await store.get(SECRET)
        if known is None and await store.increment(f"{SECRET}:claim", 1, 60.0) == 1:
            await store.put(SECRET, secrets.token_hex(32).encode(), None)
        for _ in range(20):
            known = known or await store.get(SECRET)
            if known is not None:
                break
            await asyncio.sleep(0.05)  # a neighbour that starts too is writing it
    except StoreFailed as failure:
        log.warning("the store is not usable, cached decisions end with this process: %s", failure)
        known = None
    return (known or secrets.token_hex(32).encode())[:64]


@asynccontextmanager
async def service(
    settings: Settings, environ: Mapping[str, str] | None = os.environ
) -> AsyncIterator[Service]:
    """A running service without a socket. Raises CatalogInvalid or Misconfigured.

    Targets whose key is not in `environ` are unusable; with None all keys count as set.
    """
    check_exposure(settings)
    async with AsyncExitStack() as stack:
        allowed = _edits(settings)
        holder = CatalogHolder(settings.prompts, overrides(), environ, allowed)
        store = _store(settings)
        stack.push_async_callback(store.close)
        telemetry = Telemetry(fast=settings.fastpath)
        telemetry.start()
        stack.push_async_callback(telemetry.close)
        canary = LiveCanary(store, settings.prompts, holder.usable, overrides(), allowed=allowed)
        stories = Stories(store, comments=settings.record_prompts)
        keeping = Background()
        stack.push_async_callback(keeping.close, 0.0)
        for work in (canary.run, stories.run):
            keeping.start(work(), work.__qualname__)
        watching = (canary, stories)
        gateway, figures, pasts = await _gateway(
            settings, stack, store, telemetry, holder, watching
        )
        admission = LoadShedder(settings.max_in_flight)
        place = Place(settings.prompts, settings.store, overrides(), allowed)
        keyring, limits, managed = _keys(settings, store, telemetry)
        await managed.refresh()
        keeping.start(managed.run(), "keys")
        counting = Background()
        stack.push_async_callback(counting.close, 0.0)
        counting.start(limits.run(), limits.run.__qualname__)

        async def find(decision_id: str, caller: Caller) -> Mapping[str, Any] | None:
            try:
                decision = explained(await gateway.find(decision_id, caller))
            except NotFound:
                return None
            return {**decision, **await stories.find(decision_id)}

        pages = None
        if (folder := os.environ.get(METRICS_DIR)) is not None:
            pages = WorkerPages(Path(folder), telemetry.metrics_text)
            sharing = Background()
            stack.push_async_callback(sharing.close, 0.0)
            sharing.start(pages.run(), "metrics")

        response.usable = response.usable and settings.fastpath
        app = create_app(
            Dependencies(
                gateway=gateway,
                telemetry=telemetry,
                catalog=holder,
                stats=figures.stats,
                series=figures.series,
                metrics=None if pages is None else pages.page,
                keyring=keyring,
                managed_keys=managed,
                limits=limits,
                admission=admission,
                editor=holder,
                canary=canary,
                check=holder.check,
                preview=Previewer(holder, place).preview,
                find_decision=find,
                decisions=pasts.page,
                max_body_bytes=int(settings.max_body_mb * 1024 * 1024),
                answer_model=settings.answer_model,
                hosts=_hosts(settings),
                store_problem=lambda: getattr(store, "problem", None),
                public_details=settings.public_details,
                timeouts=_timeouts(settings),
                body_limits=BodyLimits(
                    messages=settings.max_messages,
                    parts=settings.max_parts,
                    tools=settings.max_tools,
                    json_values=settings.max_json_values,
                    json_depth=settings.max_json_depth,
                ),
            )
        )
        yield Service(app, gateway, admission, telemetry, holder)


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        header_s=settings.header_timeout_s,
        idle_s=settings.idle_timeout_s,
        body_silence_s=min(DEFAULT_TIMEOUTS.body_silence_s, settings.body_timeout_s),
        body_s=settings.body_timeout_s,
    )


def _edits(settings: Settings) -> EditPolicy:
    """What edits over HTTP may have the service read and reach. Raises Misconfigured."""
    try:
        keys = key_patterns(listed(settings.catalog_keys))
    except ValueError as error:
        raise Misconfigured(f"LLMROUTER_CATALOG_KEYS: {error}") from None
    return EditPolicy(keys, address_policy(listed(settings.catalog_hosts)), settings.catalog_files)


def _hosts(settings: Settings) -> HostPolicy:
    open_to_all = not settings.api_keys.get_secret_value()
    policy = host_policy(settings.hosts, settings.cors_origins, settings.host)
    if open_to_all and "*" in policy.names | policy.origins:
        raise Misconfigured(
            "without API keys every web page could call this service: name the hosts and origins "
            "in LLMROUTER_HOSTS and LLMROUTER_CORS_ORIGINS in place of *, or set LLMROUTER_API_KEYS"
        )
    return policy


async def _gateway(
    settings: Settings,
    stack: AsyncExitStack,
    store: Store,
    telemetry: Telemetry,
    holder: CatalogHolder,
    watching: tuple[LiveCanary, Stories],
) -> tuple[Gateway, Figures, DecisionPages]:
    secret = await shared_secret(store)
    fingerprinter = Fingerprinter(secret)
    journal = Journal(store, JournalOptions(record_prompts=settings.record_prompts))
    ledger = DecisionLog(store, encode_decision, decode_decision)
    health = TargetHealth()
    addresses = address_policy(listed(settings.catalog_hosts))
    relay = UpstreamClient(fast=settings.fastpath, addresses=addresses)
    stack.push_async_callback(relay.close)
    told = os.environ, telemetry.current_headers
    chat = RouterClient(*told, fast=settings.fastpath, addresses=addresses)
    stack.push_async_callback(chat.close)
    record, books = StoredRecord(store), UsageStore(store)

    def embedded(model: str, tokens: int) -> None:
        cost_usd = tokens * holder.current.learned.encoder_price / 1_000_000
        telemetry.count("encoder_tokens", tokens, {})
        telemetry.count("encoder_spend_usd", cost_usd, {})
        telemetry.stats.encoder_usd += cost_usd
        journal.embedded(model, tokens, cost_usd)
        books.embedded(model, cost_usd)

    encoders = Encoders(
        lambda: holder.current.learned,
        _embeddings(telemetry, embedded, addresses),
        lambda failure: telemetry.count("encoder_failures", 1, {"kind": failure.kind}),
    )
    stack.push_async_callback(encoders.close)
    learner = OnlineLearner(
        store,
        telemetry,
        lambda: holder.current.learned.target_agreement,
        LearnerOptions(secret=secret),
        encoders,
    )
    _watch_health(telemetry, health, chat)
    _watch_catalog(telemetry, holder)
    telemetry.gauge("store_unavailable", lambda: {(): float(bool(getattr(store, "problem", None)))})
    _watch_confidence(telemetry, record)
    telemetry.gauge("learned_trusted", lambda: {(("task", t),): 1.0 for t in learner.trusted})
    canary = watching[0]
    judged_outcomes, worth = StoredOutcomes(store), Worth()
    _watch_judging(telemetry, judged_outcomes, worth)
    graded = JudgingRecord(judged_outcomes, worth)
    everyone = EventFanOut(journal, learner, record, books, (*watching, graded))
    verifier = Verifier(judge=chat, record=record)
    background = Background()
    stack.push_async_callback(background.close)
    follow = SessionFollower(store, background)
    executor = Executor(relay, telemetry, health, _execution(settings, verifier, everyone, follow))
    policy = CachePolicy(settings.cache_ttl_s, NEAR_ENTRIES, observe=telemetry.cache)
    judgements = StoredJudgements(
        Judge(chat, telemetry, bounded_view, background),
        JudgementCache(store, fingerprinter.cache_key, background, policy),
    )
    estimates = Estimates(judged_outcomes)
    asked = Judging(
        estimates, Utility(learner.costs.expected_usd), background, observe=telemetry.cache
    )
    judging = replace(
        asked,
        worth=worth,
        preferences=learner,
        prepare=learner.prepare,
        heard=everyone.audited,
        entries=NEAR_ENTRIES,
    )
    alone: dict[str, tuple[Stage, ...]] = {
        "rules": (Rules(),),
        "learned": (LearnedOnly(judging),),
        "llm": (JudgedStage(judgements, asked),),
        "cascade": (StartCascade(),),
    }

    def shadowed(one: ShadowComparison) -> None:
        telemetry.shadowed(one)
        journal.shadowed(one)

    judged = JudgedStage(judgements, judging)
    afresh = Shadow(judged, alone, learner.prospects, shadowed, background)
    budget = Budget(store, background)
    exploring = Exploration(afresh, learner.prospects, budget, telemetry)
    pipelines: dict[str, tuple[Stage, ...]] = {
        **alone,
        "auto": (Rules(), SessionAffinity(exploring, store)),
    }
    rooms = GatewayDependencies(
        canary=canary,
        catalog=holder,
        measure=Extractor(fingerprinter),
        router=RoutingPipeline(pipelines, telemetry, Default()),
        executor=executor,
        ledger=ledger,
        health=health,
        observer=telemetry,
        journal=everyone,
        sessions=follow.memory,
        keep_feedback=journal.keep_feedback,
        escalate=Escalation(
            holder, telemetry, store, background, EscalationOptions(heard=everyone.heard)
        ),
    )
    standing = Background()
    stack.push_async_callback(standing.close, 0.0)
    figures = Figures(store, telemetry, books, lambda: learner.trusted, graded.public)
    rounds = (ledger.run, journal.run, holder.watch, learner.run, record.run, books.run)
    standing.start(judged_outcomes.run(), "judged outcomes")
    for work in rounds:
        standing.start(work(), work.__qualname__)
    standing.start(encoders.warm(), "encoder")
    standing.start(figures.run(), "figures")
    gateway = Gateway(rooms)
    return gateway, figures, DecisionPages(journal, gateway)


def _embeddings(
    telemetry: Telemetry, spent: Callable[[str, int], None], addresses: AddressPolicy
) -> Callable[[EncoderSpec, str | None], Embeddings]:
    def make(spec: EncoderSpec, key_env: str | None) -> Embeddings:
        if spec.kind == "local":
            return LocalEmbeddings(spec.model)
        told = telemetry.current_headers, partial(spent, spec.model)
        return OpenAIEmbeddings(spec, key_env, os.environ, *told, addresses=addresses)

    return make


def _execution(
    settings: Settings, verifier: Verifier, everyone: EventFanOut, follow: SessionFollower
) -> ExecutorOptions:
    def finished(execution: Execution) -> None:
        if execution.completion is not None:
            everyone.completed(execution.decision, execution.completion)
            if execution.target is not None and execution.order.session is not None:
                follow(execution.order.session, execution.decision, execution.target)

    return ExecutorOptions(
        limits=ConcurrencyLimiter(settings.target_concurrency),
        verifier=verifier,
        finished=finished,
        rewrite=rewritten,
    )


def _watch_health(telemetry: Telemetry, health: TargetHealth, chat: RouterClient) -> None:
    """What `/metrics` shows of circuit breakers: the targets', and those of small LLMs' servers."""
    telemetry.gauge(
        "breaker_state",
        lambda: {(("state", s), ("target", t)): 1.0 for t, s in health.states().items()},
    )
    telemetry.gauge(
        "router_breaker_state",
        lambda: {(("server", url), ("state", s)): 1.0 for url, s in chat.circuits().items()},
    )


def _watch_confidence(telemetry: Telemetry, record: StoredRecord) -> None:
    """What `/metrics` shows of the record behind cascades' confidence."""
    telemetry.gauge(
        "confidence_evidence",
        lambda: {(("measure", m), ("target", t)): n for (t, m), n in record.evidence().items()},
    )


def _watch_judging(telemetry: Telemetry, judged: StoredOutcomes, worth: Worth) -> None:
    """What `/metrics` shows of calibration, and of calls that were not worth making."""
    telemetry.gauge(
        "judge_calibration_error", lambda: {(): float(judged.public()["calibration_error"])}
    )
    telemetry.gauge(
        "router_skips", lambda: {(("reason", kind),): float(n) for kind, n in worth.skips.items()}
    )
    telemetry.gauge("router_skip_regret", lambda: {(): worth.regret})


def _watch_catalog(telemetry: Telemetry, holder: CatalogHolder) -> None:
    """What `/metrics` shows of the catalog's edits."""
    telemetry.gauge("catalog_problems", lambda: {(): float(len(holder.problems))})
    holder.on_change.append(lambda _: telemetry.count("catalog_reloads", 1, {}))


def _keys(
    settings: Settings, store: Store, telemetry: Telemetry
) -> tuple[Authenticator, RateLimiter, ManagedKeys]:
    try:
        keys = parse_keys(settings.api_keys.get_secret_value())
    except ValueError as error:
        raise Misconfigured(f"LLMROUTER_API_KEYS: {error}") from None
    try:
        policies = parse_policies(settings.key_limits)
        keys = restricted(keys, policies)
    except ValueError as error:
        raise Misconfigured(f"LLMROUTER_KEY_LIMITS: {error}") from None
    admin = settings.admin_key.get_secret_value() or None
    names = {key.name for key in keys} or {ANONYMOUS.name}
    if strangers := sorted(policies.keys() - names - {"*", "admin"}):
        raise Misconfigured(
            f"LLMROUTER_KEY_LIMITS: there is no key called {', '.join(strangers)}; "
            f"there are {', '.join(sorted(names))}, and * for the rest"
        )
    keyring = Authenticator(keys, admin, isolate=settings.isolate_tenants)
    limits = RateLimiter(policies, store, telemetry.count)
    managed = ManagedKeys(
        store,
        keyring,
        lambda wanted: limits.manage(policies_of(wanted)),
        lambda made: restricted(made, policies),
    )
    return keyring, limits, managed


class JudgingRecord:
    """Has calibration and the accounts of asking know what was decided and what came of it."""

    def __init__(self, judged: StoredOutcomes, worth: Worth) -> None:
        self._judged = judged
        self._worth = worth

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """An answer will cost what was estimated."""
        self._worth.decided(decision.estimate.cost_usd)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """Verified answers grade their targets."""
        for one in outcomes(completion):
            self._judged.observe(decision, {one.target: one.grade}, one.weight)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """A caller's word grades the target that was chosen, and the one preferred."""
        grades = {decision.target: (feedback.score + 1.0) / 2.0}
        if feedback.preferred is not None:
            grades[feedback.preferred] = 1.0
        self._judged.observe(decision, grades, caller=feedback.caller)

    def public(self) -> Mapping[str, Any]:
        """For `/stats`."""
        return {**self._judged.public(), "worth_asking": self._worth.public()}


class EventFanOut:
    """Tells the journal, the learner, the record of confidence and the books; all only note."""

    def __init__(
        self,
        journal: Journal,
        learner: OnlineLearner,
        record: StoredRecord,
        books: UsageStore,
        watching: tuple[LiveCanary, Stories, JudgingRecord],
    ) -> None:
        self._watching = watching
        self._journal = journal
        self._learner = learner
        self._record = record
        self._books = books

    def decided(self, decision: Decision, context: RoutingContext) -> None:
        """A decision was made."""
        self._journal.decided(decision, context)
        self._learner.decided(decision, context)
        self._books.decided(decision, context)
        self._watching[-1].decided(decision, context)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution ended."""
        self._journal.completed(decision, completion)
        self._learner.completed(decision, completion)
        self._books.completed(decision, completion)
        for one in self._watching:
            one.completed(decision, completion)

    def observe_feedback(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback arrived, and the journal has it already."""
        self._learner.observe_feedback(decision, feedback)
        self._record.observe_feedback(decision.decision_id, feedback.score)
        self._books.observe_feedback(decision, feedback)
        for one in self._watching:
            one.observe_feedback(decision, feedback)

    def heard(self, sign: ImplicitFeedback) -> None:
        """A caller showed that the answer of an earlier decision was not good enough."""
        if sign.decision_id:
            self._record.observe_feedback(sign.decision_id, -1.0)
            self._learner.observe_retry(sign.decision_id, sign.caller.name)

    def audited(self, audit: Audit) -> None:
        """The router LLM said behind a request what it would have decided."""
        self._journal.audited(audit)
        self._books.audited((audit.tenant, audit.task, audit.target), audit.cost_usd)
