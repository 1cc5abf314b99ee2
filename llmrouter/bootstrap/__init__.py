"""The composition root: the only package that names concrete classes.

Everything with a life (store, session, watcher, writers) is entered into one AsyncExitStack, so a
start that fails half-way and a stop both unwind in order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from llmrouter.api.app import create_app
from llmrouter.api.body_limits import BodyLimits
from llmrouter.api.dependencies import Dependencies
from llmrouter.api.load_shedding import LoadShedder
from llmrouter.bootstrap.checks import (
    Misconfigured,
    check_exposure,
    edits_of,
    hosts_of,
    keys_of,
    overrides,
    store_of,
    timeouts_of,
)
from llmrouter.bootstrap.events import EventFanOut, JudgingRecord
from llmrouter.bootstrap.gauges import watch_catalog, watch_confidence, watch_health, watch_judging
from llmrouter.bootstrap.stages import StageParts, pipelines
from llmrouter.bootstrap.trial import Trial
from llmrouter.catalog.canary.live_canary import LiveCanary
from llmrouter.catalog.live_catalog import CatalogHolder
from llmrouter.domain.chat import Caller
from llmrouter.domain.decision import ShadowComparison
from llmrouter.domain.decision_story import explained
from llmrouter.domain.embedding_space import EncoderSpec
from llmrouter.domain.interfaces import Embeddings, Store
from llmrouter.domain.serialization import decode_decision, encode_decision
from llmrouter.errors import NotFound, StoreFailed
from llmrouter.execution.cascade.confidence_store import StoredRecord
from llmrouter.execution.cascade.implicit_feedback import (
    Escalation,
    EscalationOptions,
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
from llmrouter.journal.ratings import Ratings
from llmrouter.journal.stories import Stories
from llmrouter.judging.cache import CachePolicy, JudgementCache
from llmrouter.judging.estimates import Estimates
from llmrouter.judging.judge import Judge
from llmrouter.judging.judgements import StoredJudgements
from llmrouter.judging.outcomes import StoredOutcomes
from llmrouter.learning.encoders.local import LocalEmbeddings
from llmrouter.learning.encoders.remote import Encoders
from llmrouter.learning.online.online_learner import LearnerOptions, OnlineLearner
from llmrouter.learning.online.rollback import roll_back
from llmrouter.observation.decision_pages import DecisionPages
from llmrouter.observation.figures import Figures
from llmrouter.observation.frontier import Frontier
from llmrouter.preview import Place, Previewer
from llmrouter.routing.pipeline import RoutingPipeline
from llmrouter.routing.stages.default import Default
from llmrouter.routing.stages.judged import Judging
from llmrouter.routing.stages.session_affinity import SessionFollower
from llmrouter.routing.utility import Utility
from llmrouter.routing.worth import Worth
from llmrouter.settings import Settings, base_of, listed
from llmrouter.store.decision_log import DecisionLog
from llmrouter.telemetry.telemetry import Telemetry
from llmrouter.telemetry.worker_pages import WorkerPages
from llmrouter.upstream.client import UpstreamClient
from llmrouter.upstream.embeddings import OpenAIEmbeddings
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.local_probe import LocalProbe
from llmrouter.upstream.protocols.registry import rewritten
from llmrouter.upstream.router_client import RouterClient
from llmrouter.usage.store import UsageStore
from llmrouter.util.addresses import AddressPolicy, address_policy
from llmrouter.util.tasks import Background

log = logging.getLogger(__name__)

__all__ = [
    "METRICS_DIR",
    "Misconfigured",
    "Service",
    "check_exposure",
    "overrides",
    "service",
    "shared_secret",
]


SECRET = "secret:fingerprint"  # noqa: S105 - the name of a key in the store
METRICS_DIR = "LLMROUTER_METRICS_DIR"  # set by the parent of several workers
NEAR_ENTRIES = 2_000  # judgements, and choices made of them, kept decoded; the store holds the rest


@dataclass(frozen=True, slots=True)
class Service:
    """What a built service shows to who runs it."""

    app: web.Application
    gateway: Gateway
    admission: LoadShedder
    telemetry: Telemetry
    holder: CatalogHolder


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
        allowed = edits_of(settings)
        holder = CatalogHolder(settings.prompts, overrides(), environ, allowed)
        store = store_of(settings)
        stack.push_async_callback(store.close)
        telemetry = Telemetry(fast=settings.fastpath)
        telemetry.start()
        stack.push_async_callback(telemetry.close)
        canary = LiveCanary(store, settings.prompts, holder.usable, overrides(), allowed=allowed)
        stories = Stories(store, record_prompts=settings.record_prompts)
        keeping = Background()
        stack.push_async_callback(keeping.close, 0.0)
        for work in (canary.run, stories.run):
            keeping.start(work(), work.__qualname__)
        watching = (canary, stories)
        built = await _gateway(settings, stack, store, telemetry, holder, watching)
        gateway, figures, pasts = built.gateway, built.figures, built.pages
        admission = LoadShedder(settings.max_in_flight)
        place = Place(settings.prompts, settings.store, overrides(), allowed)
        keyring, limits, managed = keys_of(settings, store, telemetry)
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
            return {**decision, **await stories.find(decision_id, caller)}

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
                frontier=Frontier(pasts, holder).show,
                trial=Trial(built.rooms, holder).decide,
                learning=built.learner.public,
                roll_back=partial(roll_back, store),
                records_prompts=settings.record_prompts,
                max_body_bytes=int(settings.max_body_mb * 1024 * 1024),
                answer_model=settings.answer_model,
                hosts=hosts_of(settings),
                base_path=base_of(settings.base_path),
                store_problem=lambda: store.problem,
                public_details=settings.public_details,
                timeouts=timeouts_of(settings),
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


class Built(NamedTuple):
    """A gateway and what is read of it."""

    gateway: Gateway
    figures: Figures
    pages: DecisionPages
    rooms: GatewayDependencies
    learner: OnlineLearner


async def _gateway(
    settings: Settings,
    stack: AsyncExitStack,
    store: Store,
    telemetry: Telemetry,
    holder: CatalogHolder,
    watching: tuple[LiveCanary, Stories],
) -> Built:
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
        LearnerOptions(secret=secret, fits=lambda: holder.current.learned.enabled),
        encoders,
    )
    watch_health(telemetry, health, chat)
    watch_catalog(telemetry, holder)
    telemetry.gauge("store_unavailable", lambda: {(): float(bool(store.problem))})
    watch_confidence(telemetry, record)
    telemetry.gauge("learned_trusted", lambda: {(("task", t),): 1.0 for t in learner.trusted})
    canary = watching[0]
    judged_outcomes, worth = StoredOutcomes(store), Worth()
    watch_judging(telemetry, judged_outcomes, worth)
    graded = JudgingRecord(judged_outcomes, worth)
    everyone = EventFanOut(journal, learner, record, books, (*watching, graded))
    verifier = Verifier(judge=chat, record=record)
    background = Background()
    stack.push_async_callback(background.close)
    follow = SessionFollower(store, background)
    executor = Executor(relay, telemetry, health, _execution(settings, verifier, everyone, follow))
    policy = CachePolicy(settings.cache_ttl_s, NEAR_ENTRIES, observe=telemetry.cache)
    judgements = StoredJudgements(
        Judge(chat, telemetry, bounded_view, background, store=store),
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

    def shadowed(one: ShadowComparison) -> None:
        telemetry.shadowed(one)
        journal.shadowed(one)

    parts = StageParts(judgements, judging, asked, learner, store, telemetry, background, shadowed)
    measure = Extractor(fingerprinter)
    rooms = GatewayDependencies(
        canary=canary,
        catalog=holder,
        measure=measure,
        router=RoutingPipeline(pipelines(parts), telemetry, Default()),
        executor=executor,
        ledger=ledger,
        health=health,
        observer=telemetry,
        journal=everyone,
        sessions=follow.memory,
        keep_feedback=Ratings(store, journal.keep_feedback).keep,
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
    standing.start(measure.warm(), "patterns")
    told_where = overrides()
    if told_where is not None and told_where.embedded:
        probe = LocalProbe(lambda: holder.current, health)
        await probe.look()
        standing.start(probe.run(), "local servers")
    standing.start(figures.run(), "figures")
    gateway = Gateway(rooms)
    return Built(gateway, figures, DecisionPages(journal, ledger), rooms, learner)


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
