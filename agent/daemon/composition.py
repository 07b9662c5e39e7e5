"""Build the parts of an agent, one function per room, without I/O and without decisions."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from agent.admission import Admission, AdmissionRules
from agent.admission.revision_sync import RevisionSync, state_of
from agent.admission.source_turn import SourceTurn
from agent.admission.triggers import SyncTriggers
from agent.assure.account import account_of, addresses, client_config
from agent.assure.client import AssureClient
from agent.assure.document_type_cache import DocumentTypeCache
from agent.assure.http.send_deadline import SendDeadline
from agent.assure.rate_limit import RateLimiter
from agent.assure.throttle import Throttle
from agent.assure.token import TokenAnswer
from agent.controller.erasure import Erasure
from agent.controller.interpreter import Interpreter
from agent.controller.orphan_collector import OrphanCollector
from agent.controller.reconciler import Reconciler
from agent.controller.recovery import StoreRecovery
from agent.controller.start_budget import StartBudget
from agent.core.answer import Operation
from agent.core.source_revision import RevisionState
from agent.core.step import Step
from agent.daemon.backups import Backups
from agent.daemon.commands import CommandHandler
from agent.daemon.health import AgentHealth
from agent.daemon.maintenance import Maintenance
from agent.daemon.telemetry import Telemetry
from agent.platform.endpoint_health import ASSURE, TOKEN, EndpointHealth
from agent.platform.kernel_timer import KernelTimer
from agent.platform.metrics import Metrics
from agent.platform.settings import Settings
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, Command, Remote
from agent.source.choice import source_of
from agent.source.folder_source import FolderSource
from agent.store import open_reading, open_store
from agent.store.contract import Store
from agent.store.reading.reading import Reading
from agent.web.agent_status import AgentStatus
from agent.web.recent_calls import RecentCalls
from agent.web.service import HttpService, sink_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonParts:
    """The parts that all rooms use."""

    settings: Settings
    store: Store
    rules: AdmissionRules
    metrics: Metrics
    telemetry: Telemetry
    health: AgentHealth
    endpoints: EndpointHealth
    shutdown: Shutdown
    clock: Clock
    revision: Callable[[], Awaitable[RevisionState | None]]  # the state of a git source; None for a folder


@dataclass(frozen=True, slots=True, kw_only=True)
class AssureParts:
    """The parts that call Assure."""

    rate_limiter: RateLimiter
    client: AssureClient
    throttle: Throttle  # the rate limit and the circuit breaker
    remote: Remote  # the client behind the throttle
    document_types: DocumentTypeCache
    recent_calls: RecentCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionParts:
    """The sync of the source with the store, and what triggers it."""

    admission: Admission
    triggers: SyncTriggers
    revisions: RevisionSync | None  # of a git source

    @property
    def fetch_now(self) -> Callable[[], None] | None:
        """Fetches the git source at once; None for a folder."""
        return self.revisions.fetch_now if self.revisions is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerParts:
    """The loop that drives requests, and the parts that work for it."""

    reconciler: Reconciler
    budget: StartBudget
    recovery: StoreRecovery
    orphans: OrphanCollector


async def build_store(settings: Settings, metrics: Metrics, account: str = "", rebind: bool = False) -> Store:
    """Open the store and bind it to `account`, by default the client id at the base URL. Raises StoreError."""
    return await open_store(settings, account or account_of(settings), metrics.committed, rebind, sink_ids(settings))


def _open_statistics(settings: Settings, store: Store) -> Reading:
    store.refuse_away()
    return open_reading(settings)


def build_common(
    settings: Settings, store: Store, metrics: Metrics, clock: Clock, on_step: Callable[[Step], None]
) -> CommonParts:
    """Build telemetry and health. `on_step` receives every committed step."""
    telemetry, shutdown = Telemetry(metrics, on_step, store.keys.digest), Shutdown()
    endpoints = EndpointHealth(addresses(settings), clock)
    metrics.endpoints(addresses(settings))
    if settings.source_url:
        metrics.git_source(settings.source_interval)
    revision = state_of(settings, store)
    health = AgentHealth(settings, store, telemetry, shutdown, endpoints, clock, revision)
    endpoints.subscribe(health.endpoint_changed)
    metrics.database(lambda: store.away, lambda: store.behind)
    metrics.register_store(partial(_open_statistics, settings, store))
    store.watch(shutdown.fail, health.database_changed)
    return CommonParts(
        settings=settings,
        store=store,
        rules=AdmissionRules.of(settings, store.keys.agent_id()),
        metrics=metrics,
        telemetry=telemetry,
        health=health,
        endpoints=endpoints,
        shutdown=shutdown,
        clock=clock,
        revision=revision,
    )


def build_assure(common: CommonParts, on_date: Callable[[float | None, float], None]) -> AssureParts:
    """Build the client and its throttling. `on_date` receives the `Date` of each answer and the call's duration."""
    settings, clock, endpoints = common.settings, common.clock, common.endpoints
    recent_calls = RecentCalls(clock)

    def record_call(operation: Operation, result: str, seconds: float) -> None:
        common.metrics.called(operation, result, seconds)
        recent_calls.record_call(operation, result, seconds)

    def record_token_answer(answer: TokenAnswer) -> None:
        endpoints.record_answer(TOKEN, answer)
        throttle.token_answered(answer)

    rate_limiter = RateLimiter(settings.rate_limit, clock)
    client = AssureClient(
        client_config(settings),
        clock,
        record_call,
        acquire=rate_limiter.acquire,
        on_token_answer=record_token_answer,
        on_answer=partial(endpoints.record_answer, ASSURE),
        on_date=on_date,
        may_change=common.store.confirm_ownership,
        send_deadline=_send_deadline(common.store),
    )
    is_own, on_change = common.rules.is_own_reference, common.health.circuit_changed
    throttle = Throttle(
        client, rate_limiter, clock, random.random, is_own, on_change, client.authenticate, common.store.circuit
    )
    remote = client.through(throttle)
    return AssureParts(
        throttle=throttle,
        rate_limiter=rate_limiter,
        client=client,
        remote=remote,
        document_types=DocumentTypeCache(remote, common.store, clock),
        recent_calls=recent_calls,
    )


def _send_deadline(store: Store) -> SendDeadline | None:
    """None: no other process can take over the store while this one lives, also while it is stopped."""
    return SendDeadline(lambda: store.lease_until, KernelTimer.create()) if store.shared else None


def build_controller(common: CommonParts, assure: AssureParts, on_step: Callable[[Step], None]) -> ControllerParts:
    """Build the reconciler, the start budget, and the searches for lost dossiers."""
    settings, store, clock = common.settings, common.store, common.clock
    budget = StartBudget(settings.max_starts_per_day, store, clock)
    common.metrics.start_budget(lambda: budget.left)
    remote = assure.remote
    interpreter = Interpreter(
        remote, common.rules.images, assure.document_types, budget, clock, random.random, store.claims.keyring
    )
    reconciler = Reconciler(
        store,
        interpreter,
        clock,
        settings.policy,
        settings.concurrency,
        random.random,
        on_step,
        common.telemetry.bug,
        assure.throttle,
        common.telemetry.moved,
    )
    common.metrics.replica(lambda: store.lease_remaining, lambda: reconciler.driven)
    sole = not settings.agent_id
    return ControllerParts(
        reconciler=reconciler,
        budget=budget,
        recovery=StoreRecovery(store, store.recoveries, remote, reconciler, clock, common.rules.agent_id, sole),
        orphans=OrphanCollector(store, remote, clock),
    )


def build_admission(common: CommonParts, assure: AssureParts, reconciler: Reconciler) -> AdmissionParts:
    """Build the sync of the source with the store."""
    settings, store, clock, telemetry = common.settings, common.store, common.clock, common.telemetry
    source, types = source_of(settings), assure.document_types
    turn = SourceTurn(settings.source_name, source, store, telemetry.source_lagging)
    admission = Admission(
        source, common.rules, store, reconciler, store.keys, types, clock, telemetry.sync_finished, turn
    )
    triggers = SyncTriggers(admission, common.shutdown, clock)
    revisions = None
    if not isinstance(source, FolderSource):
        revisions = RevisionSync(
            source,
            settings.source_name,
            settings.source_interval,
            admission,
            triggers,
            store,
            clock,
            random.random,
            common.shutdown,
            telemetry.refreshed,
        )
    return AdmissionParts(admission=admission, triggers=triggers, revisions=revisions)


def build_commands(
    common: CommonParts,
    reconciler: Reconciler,
    parts: AdmissionParts,
    on_command: Callable[[Command], Awaitable[None]],
    page_link: Callable[[], str],
) -> CommandHandler:
    """Build the commands of the operator."""
    return CommandHandler(
        common.store,
        reconciler,
        parts.admission,
        common.clock,
        common.settings.source_name,
        on_command,
        page_link,
        common.revision,
        parts.fetch_now,
    )


def build_erasure(common: CommonParts, reconciler: Reconciler, admission: Admission) -> Erasure:
    """Build the deletion of images and claims that are due."""
    images = (common.settings.images_dir, common.settings.max_image_bytes)
    return Erasure(common.store, reconciler, images, admission.exclusive, common.clock, admission.take_turn)


def build_maintenance(
    common: CommonParts, assure: AssureParts, orphans: OrphanCollector, erasure: Erasure
) -> Maintenance:
    """Build the periodic tasks that no request waits for."""
    settings, store, clock = common.settings, common.store, common.clock
    common.metrics.backups(settings.backup_interval if settings.backup_dir is not None else 0.0)
    backups = Backups(
        store, clock, settings.local_path, settings.backup_dir, settings.backup_interval, settings.backup_keep
    )
    return Maintenance(store, assure.throttle, orphans, backups, erasure, common.telemetry, clock)


def build_web(
    common: CommonParts, assure: AssureParts, controller: ControllerParts, fetch_now: Callable[[], None] | None
) -> HttpService:
    """Build the HTTP server: status page, API, metrics, Assure Events and hooks. A hook calls `fetch_now`."""
    settings, health = common.settings, common.health
    limit, budget, reconciler = settings.max_starts_per_day, controller.budget, controller.reconciler
    status = AgentStatus(
        source=settings.source_name,
        policy=settings.policy,
        clock=common.clock,
        recent_calls=assure.recent_calls,
        ready=health.not_ready_reason,
        paused=lambda: reconciler.paused,
        budget=lambda: (budget.left or 0, limit) if limit else None,
        circuit=health.circuit_reason,
        troubles=health.troubles,
        revision=common.revision,
        web_page=settings.source_web_url,
        epoch=common.store.epoch,
    )
    return HttpService(
        settings,
        common.store,
        common.metrics,
        status,
        common.endpoints,
        reconciler.deliver,
        fetch_now,
        random.random,
        common.shutdown.fail,
    )
