"""The HTTP endpoints /metrics, /healthz and /readyz (design §11, §12)."""

import os
import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.core.answer import Operation
from agent.core.drop_reasons import Dropped
from agent.core.event_result import EventResult
from agent.core.hook_result import HookResult
from agent.core.record import HoldReason, Outcome, Phase
from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.platform.endpoint_health import EndpointCause
from agent.platform.metric_tables import LISTENERS
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import Begin
from tests.support.timeouts import PATIENT
from verification.builders.request_files import IDENTITY_CARD

NAMES = {
    "requests",
    "outcomes",
    "request_duration_seconds",
    "phase_duration_seconds",
    "api_requests",
    "api_request_duration_seconds",
    "starts",
    "held",
    "oldest_unprogressed_seconds",
    "open_dossiers",
    "oldest_open_dossier_seconds",
    "deletion_delay_seconds",
    "deletions_overdue",
    "images_undeleted",
    "claims_overdue",
    "paused",
    "log_lines_lost",
    "possible_orphans",
    "orphans_undeleted",
    "events",
    "last_event_timestamp_seconds",
    "connections_dropped",
    "deliveries",
    "deliveries_pending",
    "source_files",
    "source_last_sync_timestamp_seconds",
    "source_scan_complete",
    "moved",
    "source_hooks",
    "source_fetches",
    "source_fetch_duration_seconds",
    "source_interval_seconds",
    "source_fetched_timestamp_seconds",
    "source_fetch_failing",
    "source_revision_refused",
    "source_lagging",
    "source_revision_timestamp_seconds",
    "start_budget_remaining",
    "database_away",
    "circuit_open",
    "endpoint_trouble",
    "clock_confirmed",
    "clock_skew_seconds",
    "commit_duration_seconds",
    "commit_batch_size",
    "store_bytes",
    "store_free_bytes",
    "backup_timestamp_seconds",
    "backup_interval_seconds",
    "replicas",
    "fenced",
    "lease_remaining_seconds",
    "requests_driven",
    "database_behind",
    "oldest_snapshot_seconds",
    "build_info",
}
OF_A_DATABASE = {"oldest_snapshot_seconds"}  # a state file has no transactions of others
OF_A_DISK = {"store_free_bytes"}  # a server does not report it
PROCESS = {
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
}
LABELS = {
    "phase": set(Phase),
    "state": {"active", "waiting", "held", "suspended", "done", "seen", "refused", "waiting_withdrawal", "passed_over"},
    "mode": {"upload", "capture"},
    "process_type": {"document", "documentSelfie"},
    "outcome": set(Outcome),
    "operation": set(Operation),
    "result": {"done", "refused", "busy", "unknown", *EventResult, "delivered", "failed", "dropped"}
    | {*HookResult, "ok", *FetchFailure},
    "reason": {*HoldReason, *Dropped, *RevisionRefusal},
    "listener": set(LISTENERS),
    "endpoint": {"assure", "token"},  # and each sink, by a digest of its URL
    "cause": {*EndpointCause, *FetchFailure},
    "version": {"0.1.0"},
}

Samples = dict[tuple[str, tuple[str, ...]], float]


async def get(world: World, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False, timeout=PATIENT) as client:
        return await client.get(path)


async def metrics(world: World) -> Samples:
    """All current samples: (name without prefix, label values in the order of the label names) -> value."""
    response = await get(world, "/metrics")
    assert response.status_code == 200
    samples: Samples = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = tuple(str(value) for _, value in sorted(sample.labels.items()))
            samples[sample.name.removeprefix("assure_agent_"), labels] = sample.value
    return samples


async def test_every_metric_has_its_documented_name_and_label_values(world: World) -> None:
    """[I6] No label contains a name or an id."""
    world.upload("customer-4711", labels={"team": "onboarding"})
    world.upload("customer-4712", document_id=IDENTITY_CARD)
    world.capture("customer-4713")
    (world.specs / "broken-4714.yaml").write_text("nonsense")
    async with world.running(http=True):
        await world.clock.advance(60)
        text = (await get(world, "/metrics")).text
    every = text_string_to_metric_families(text)
    families = [family for family in every if not family.name.endswith("_created")]  # the library's own
    names = {family.name for family in families}
    unknown = OF_A_DATABASE if world.server is None else OF_A_DISK
    assert names - PROCESS == {f"assure_agent_{name}" for name in set(NAMES) - unknown}
    assert names >= PROCESS or sys.platform != "linux"
    assert all(family.documentation for family in families)
    for family in families:
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label == "le" or value in LABELS[label], (sample.name, label)
    secrets = [record.uid for record in world.records().values()]
    secrets += [str(record.dossier_id) for record in world.records().values()]
    secrets += [*world.records(), "onboarding", "broken-4714", "front.jpg", world.sandbox.config.client_id]
    assert [secret for secret in secrets if secret in text] == []


async def test_the_values_agree_with_the_store(world: World) -> None:
    world.upload("a")
    world.upload("b", "sandbox-outcome=rejected", processType="documentSelfie")
    world.upload("c", document_id=IDENTITY_CARD)
    world.capture("d")
    async with world.running(http=True):
        await world.clock.advance(100)
        found = await metrics(world)
    assert found["outcomes_total", ("upload", "accepted", "document")] == 1
    assert found["outcomes_total", ("upload", "rejected", "documentSelfie")] == 1
    assert found["outcomes_total", ("capture", "accepted", "document")] == 1
    assert (found["starts_total", ("upload",)], found["starts_total", ("capture",)]) == (2, 1)
    assert found["requests", ("done", "done")] == 3
    assert found["requests", ("images", "held")] == 1
    assert found["held", ("back-image-required",)] == 1
    assert found["open_dossiers", ()] == 1
    assert found["oldest_open_dossier_seconds", ()] == 100
    assert found["api_requests_total", ("create_dossier", "done")] == 4
    assert found["api_requests_total", ("start_verification", "done")] == 2
    assert found["request_duration_seconds_count", ("upload", "accepted")] == 1
    assert found["source_files", ("seen",)] == 4
    assert found["commit_duration_seconds_count", ()] > 10
    assert found["store_bytes", ()] > 10_000
    if world.server is None:
        free = os.statvfs(world.state.parent)
        assert found["store_free_bytes", ()] == pytest.approx(free.f_frsize * free.f_bavail, rel=0.5)


async def test_outcomes_and_starts_survive_a_restart(world: World) -> None:
    for name in ("a", "b"):
        world.upload(name)
    async with world.running(http=True):
        await world.clock.advance(60)
    world.upload("c", "sandbox-outcome=failed")
    async with world.running(http=True):
        before = await metrics(world)
        assert before["outcomes_total", ("upload", "accepted", "document")] == 2
        await world.clock.advance(60)
        found = await metrics(world)
    assert found["outcomes_total", ("upload", "accepted", "document")] == 2
    assert found["outcomes_total", ("upload", "failed", "document")] == 1
    assert found["starts_total", ("upload",)] == 3


async def test_failed_calls_are_counted_by_result(world: World) -> None:
    world.sandbox.faults.add(
        [
            rule("createDossier", "reset-after"),
            rule("createProcess", "429"),
            rule("setImages", "503", acts=False),
        ]
    )
    world.upload("a", document_id=4)
    world.upload("b")
    async with world.running(http=True):
        await world.clock.advance(120)
        found = await metrics(world)
    assert found["api_requests_total", ("create_dossier", "unknown")] == 1
    assert found["api_requests_total", ("create_process", "busy")] == 1
    assert found["api_requests_total", ("create_process", "refused")] == 1
    assert found["api_requests_total", ("upload_images", "unknown")] == 1
    assert found["held", ("refused-by-assure",)] == 1


async def test_a_possible_orphan_and_a_late_deletion_are_measured(world: World) -> None:
    for _ in range(100):
        world.sandbox.world.create_dossier({})
    world.sandbox.faults.add([rule("createDossier", "reset-before"), rule("deleteDossier", "500", every=1)])
    world.upload("a")
    async with world.running(http=True):
        await world.clock.advance(1_200)
        found = await metrics(world)
        assert found["possible_orphans", ()] == 1
        assert found["deletions_overdue", ()] == 1
        assert found["oldest_unprogressed_seconds", ()] > 900


async def test_the_agent_is_healthy_and_ready_after_the_first_scan(world: World) -> None:
    async with world.running(http=True):
        healthy, ready = await get(world, "/healthz"), await get(world, "/readyz")
    assert (healthy.status_code, healthy.text) == (200, "ok\n")
    assert (ready.status_code, ready.text) == (200, "ok\n")


async def test_the_agent_is_healthy_but_not_ready_without_its_source(world: World) -> None:
    world.specs.rmdir()
    async with world.running(http=True) as agent:
        healthy, ready = await get(world, "/healthz"), await get(world, "/readyz")
        assert healthy.status_code == 200
        assert (ready.status_code, ready.text) == (503, "the source cannot be read\n")
        world.specs.mkdir()
        await agent.scan()
        assert (await get(world, "/readyz")).status_code == 200


@pytest.mark.parametrize("path", ["/api", "/api/requests", "/api/requests/a", "/api/openapi.json", "/docs"])
async def test_nothing_else_is_served_without_a_token(begin: Begin, path: str) -> None:
    """[I6]"""
    world = await begin()
    world.upload("a")
    async with world.running(http=True):
        response = await get(world, path)
    assert response.status_code == 404
    assert "accepted" not in response.text
