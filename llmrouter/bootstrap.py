"""The composition root: the only file that names concrete classes.

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
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from llmrouter.api.admission import Admission
from llmrouter.api.app import create_app
from llmrouter.api.keys import Keyring, parse_keys
from llmrouter.api.limits import Limits, parse_policies, restricted
from llmrouter.api.services import Services
from llmrouter.catalog.loader import Overrides
from llmrouter.catalog.watch import CatalogHolder
from llmrouter.domain.background import Background
from llmrouter.domain.chat import ANONYMOUS, Caller
from llmrouter.domain.codec import decode_decision, encode_decision
from llmrouter.domain.decision import Audit, Decision, Feedback, Question, Shadowed
from llmrouter.domain.encoder import EncoderSpec
from llmrouter.domain.ports import Embeddings, Stage, Store
from llmrouter.domain.reply import Completion
from llmrouter.errors import LLMRouterError, NotFound, StoreFailed
from llmrouter.execution.executor import Execution, Executor, ExecutorOptions
from llmrouter.execution.limits import TargetLimits
from llmrouter.execution.record import StoredRecord
from llmrouter.execution.verify import Verifier
from llmrouter.gateway import Gateway, Rooms, explained
from llmrouter.learning.books import Books
from llmrouter.learning.fetched import Encoders
from llmrouter.learning.journal import Journal, JournalOptions
from llmrouter.learning.learner import Learner, LearnerOptions
from llmrouter.learning.local import LocalEmbeddings
from llmrouter.preview import Place, Previewer
from llmrouter.routing.cached import Cached, CachePolicy
from llmrouter.routing.default import Default
from llmrouter.routing.escalate import Escalation, EscalationOptions, Sign
from llmrouter.routing.explore import Budget, Explore
from llmrouter.routing.llm import LLM
from llmrouter.routing.preference import Behind, LearnedOnly, Preference, Prepared
from llmrouter.routing.router import Router
from llmrouter.routing.rules import Rules, StartCascade
from llmrouter.routing.session import Session
from llmrouter.routing.shadow import Shadow
from llmrouter.settings import Settings, is_loopback
from llmrouter.signals.extract import Extractor
from llmrouter.signals.fingerprint import Fingerprinter
from llmrouter.signals.view import bounded_view
from llmrouter.store.ledger import Ledger
from llmrouter.store.open import open_store
from llmrouter.telemetry.otel import Telemetry
from llmrouter.upstream.embeddings import OpenAIEmbeddings
from llmrouter.upstream.health import TargetHealth
from llmrouter.upstream.relay import Relay
from llmrouter.upstream.router_client import OpenAIChat

log = logging.getLogger(__name__)


SECRET = "secret:fingerprint"  # noqa: S105 - the name of a key in the store
NEAR_ENTRIES = 2_000  # cached decisions kept decoded, 1.3 KB each; the store holds the rest


class Misconfigured(LLMRouterError):
    """The service cannot start with these settings; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a built service shows to who runs it."""

    app: web.Application
    gateway: Gateway
    admission: Admission
    telemetry: Telemetry
    holder: CatalogHolder


def overrides() -> Overrides | None:
    """Where `llmrouter demo` points every target, or None: `LLMROUTER_DEMO_UPSTREAM`."""
    url = os.environ.get("LLMROUTER_DEMO_UPSTREAM")
    return Overrides(base_url=url, api_key_env=None) if url else None


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
async def service(settings: Settings) -> AsyncIterator[Service]:
    """A running service without a socket. Raises CatalogInvalid or Misconfigured."""
    check_exposure(settings)
    async with AsyncExitStack() as stack:
        holder = CatalogHolder(settings.prompts, overrides())
        store = _store(settings)
        stack.push_async_callback(store.close)
        telemetry = Telemetry()
        telemetry.start()
        stack.push_async_callback(telemetry.close)
        gateway, books = await _gateway(settings, stack, store, telemetry, holder)
        admission = Admission(settings.max_in_flight)
        place = Place(settings.prompts, settings.store, overrides())
        keyring, limits = _keys(settings, store, telemetry)
        if limits is not None:
            counting = Background()
            stack.push_async_callback(counting.close, 0.0)
            counting.start(limits.run(), limits.run.__qualname__)

        async def stats(caller: Caller) -> Mapping[str, Any]:
            weekly = await books.snapshot(caller.tenant)
            return {**telemetry.figures(caller.tenant), "today_and_last_week": weekly}

        async def find(decision_id: str, caller: Caller) -> Mapping[str, Any] | None:
            try:
                return explained(await gateway.find(decision_id, caller))
            except NotFound:
                return None

        app = create_app(
            Services(
                gateway=gateway,
                telemetry=telemetry,
                catalog=holder,
                stats=stats,
                keyring=keyring,
                limits=limits,
                admission=admission,
                editor=holder,
                preview=Previewer(holder, place).preview,
                find_decision=find,
                max_body_bytes=int(settings.max_body_mb * 1024 * 1024),
            )
        )
        yield Service(app, gateway, admission, telemetry, holder)


async def _gateway(
    settings: Settings,
    stack: AsyncExitStack,
    store: Store,
    telemetry: Telemetry,
    holder: CatalogHolder,
) -> tuple[Gateway, Books]:
    secret = await shared_secret(store)
    fingerprinter = Fingerprinter(secret)
    journal = Journal(store, JournalOptions(record_prompts=settings.record_prompts))
    ledger = Ledger(store, encode_decision, decode_decision)
    health = TargetHealth()
    relay = Relay()
    stack.push_async_callback(relay.close)
    chat = OpenAIChat(os.environ, telemetry.current_headers)
    stack.push_async_callback(chat.close)
    record, books = StoredRecord(store), Books(store)

    def embedded(model: str, tokens: int) -> None:
        cost_usd = tokens * holder.current.learned.encoder_price / 1_000_000
        telemetry.count("encoder_tokens", tokens, {})
        telemetry.count("encoder_spend_usd", cost_usd, {})
        telemetry.stats.encoder_usd += cost_usd
        journal.embedded(model, tokens, cost_usd)
        books.embedded(model, cost_usd)

    encoders = Encoders(
        lambda: holder.current.learned,
        _embeddings(telemetry, embedded),
        lambda failure: telemetry.count("encoder_failures", 1, {"kind": failure.kind}),
    )
    stack.push_async_callback(encoders.close)
    learner = Learner(
        store,
        telemetry,
        lambda: holder.current.learned.target_agreement,
        LearnerOptions(secret=secret),
        encoders,
    )
    _watch_health(telemetry, health, chat)
    _watch_catalog(telemetry, holder)
    _watch_confidence(telemetry, record)
    telemetry.gauge("learned_trusted", lambda: {(("task", t),): 1.0 for t in learner.trusted})
    everyone = Everyone(journal, learner, record, books)
    verifier = Verifier(judge=chat, record=record)
    executor = Executor(relay, telemetry, health, _execution(settings, verifier, everyone))
    llm = LLM(chat, telemetry, bounded_view)
    background = Background()
    stack.push_async_callback(background.close)
    policy = CachePolicy(settings.cache_ttl_s, NEAR_ENTRIES, observe=telemetry.cache)

    def cached(inner: Stage) -> Cached:
        return Cached(inner, store, fingerprinter.cache_key, background, policy)

    alone: dict[str, tuple[Stage, ...]] = {
        "rules": (Rules(),),
        "learned": (Prepared(LearnedOnly(learner), learner.prepare),),
        "llm": (llm,),
        "cascade": (StartCascade(),),
    }

    def shadowed(one: Shadowed) -> None:
        telemetry.shadowed(one)
        journal.shadowed(one)

    behind = Behind(
        background, second=LLM(chat, telemetry, bounded_view, first_order=1), heard=everyone.audited
    )
    preference = Prepared(Preference(learner, llm, behind), learner.prepare)
    afresh = Shadow(preference, alone, learner.prospects, shadowed, background)
    budget = Budget(store, background)
    exploring = Explore(cached(afresh), learner.prospects, budget, telemetry)
    pipelines: dict[str, tuple[Stage, ...]] = {
        **alone,
        "llm": (cached(llm),),
        "auto": (Rules(), Session(exploring, store)),
    }
    rooms = Rooms(
        catalog=holder,
        measure=Extractor(fingerprinter),
        router=Router(pipelines, telemetry, Default()),
        executor=executor,
        ledger=ledger,
        health=health,
        observer=telemetry,
        journal=everyone,
        escalate=Escalation(
            holder, telemetry, store, background, EscalationOptions(heard=everyone.heard)
        ),
    )
    standing = Background()
    stack.push_async_callback(standing.close, 0.0)
    rounds = (ledger.run, journal.run, holder.watch, chat.warm, learner.run, record.run, books.run)
    for work in rounds:
        standing.start(work(), work.__qualname__)
    standing.start(encoders.warm(), "encoder")
    return Gateway(rooms), books


def _embeddings(
    telemetry: Telemetry, spent: Callable[[str, int], None]
) -> Callable[[EncoderSpec, str | None], Embeddings]:
    def make(spec: EncoderSpec, key_env: str | None) -> Embeddings:
        if spec.kind == "local":
            return LocalEmbeddings(spec.model)
        told = telemetry.current_headers, partial(spent, spec.model)
        return OpenAIEmbeddings(spec, key_env, os.environ, *told)

    return make


def _execution(settings: Settings, verifier: Verifier, everyone: Everyone) -> ExecutorOptions:
    def finished(execution: Execution) -> None:
        if execution.completion is not None:
            everyone.completed(execution.decision, execution.completion)

    return ExecutorOptions(
        limits=TargetLimits(settings.target_concurrency),
        verifier=verifier,
        finished=finished,
    )


def _watch_health(telemetry: Telemetry, health: TargetHealth, chat: OpenAIChat) -> None:
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


def _watch_catalog(telemetry: Telemetry, holder: CatalogHolder) -> None:
    """What `/metrics` shows of the catalog's edits."""
    telemetry.gauge("catalog_problems", lambda: {(): float(len(holder.problems))})
    holder.on_change.append(lambda _: telemetry.count("catalog_reloads", 1, {}))


def _keys(settings: Settings, store: Store, telemetry: Telemetry) -> tuple[Keyring, Limits | None]:
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
    keyring = Keyring(keys, admin, isolate=settings.isolate_tenants)
    return keyring, Limits(policies, store, telemetry.count) if policies else None


class Everyone:
    """Tells the journal, the learner, the record of confidence and the books; all only note."""

    def __init__(
        self, journal: Journal, learner: Learner, record: StoredRecord, books: Books
    ) -> None:
        self._journal = journal
        self._learner = learner
        self._record = record
        self._books = books

    def decided(self, decision: Decision, question: Question) -> None:
        """A decision was made."""
        self._journal.decided(decision, question)
        self._learner.decided(decision, question)
        self._books.decided(decision, question)

    def completed(self, decision: Decision, completion: Completion) -> None:
        """An execution ended."""
        self._journal.completed(decision, completion)
        self._learner.completed(decision, completion)
        self._books.completed(decision, completion)

    def rated(self, decision: Decision, feedback: Feedback) -> None:
        """Feedback arrived."""
        self._journal.rated(decision, feedback)
        self._learner.rated(decision, feedback)
        self._record.rated(decision.decision_id, feedback.score)
        self._books.rated(decision, feedback)

    def heard(self, sign: Sign) -> None:
        """A caller showed that the answer of an earlier decision was not good enough."""
        if sign.decision_id:
            self._record.rated(sign.decision_id, -1.0)
            self._learner.doubted(sign.decision_id, sign.caller.name)

    def audited(self, audit: Audit) -> None:
        """The router LLM said behind a request what it would have decided."""
        self._journal.audited(audit)
        self._books.audited((audit.tenant, audit.task, audit.target), audit.cost_usd)
