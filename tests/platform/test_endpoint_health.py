"""The trouble of each endpoint is reported by log, metric, page, readiness and commands (issue 14.2)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.core.answer import NEW_TOKENS_REFUSED, NOT_SENT, Answer, Busy, Done, Evidence, Refused, Unknown
from agent.core.answer import Trouble as Failure
from agent.core.record import Outcome
from agent.platform.endpoint_health import (
    ASSURE,
    RECOVERY_SECONDS,
    TOKEN,
    EndpointCause,
    EndpointHealth,
    EndpointTrouble,
    from_json,
    trouble_of,
)
from tests.daemon.test_metrics import get, metrics
from tests.support.environment import World
from tests.support.faults import rule

FINE: Done[Any] = Done(value=(), evidence=Evidence(status=200))
DOWN = Unknown(evidence=Evidence(status=503, cause="server-error"))


class Time:
    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> float:
        return self.at

    wait: Callable[..., Any]


def kept() -> tuple[EndpointHealth, Time, list[tuple[str, EndpointCause | None, EndpointCause | None]]]:
    time, received = Time(), list[tuple[str, EndpointCause | None, EndpointCause | None]]()
    endpoints = EndpointHealth(
        {ASSURE: "https://a.example", TOKEN: "https://t.example", "sink-1": "https://s.example"}, time
    )
    endpoints.subscribe(
        lambda name, before, after: received.append((name, before and before.cause, after and after.cause))
    )
    return endpoints, time, received


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (FINE, None),
        (Refused(evidence=Evidence(status=404, cause="error-body")), None),
        (Refused(evidence=Evidence(status=400, cause="error-body")), None),
        (Refused(evidence=Evidence(cause="bad-id")), None),
        (Busy(evidence=Evidence(cause=NOT_SENT)), None),
        (Busy(evidence=Evidence(status=503, trouble=Failure.NO_TOKEN)), None),
        (Refused(evidence=Evidence(status=401, cause="invalid_client")), EndpointCause.CREDENTIALS),
        (Refused(evidence=Evidence(status=400, cause="invalid_scope")), EndpointCause.CREDENTIALS),
        (Busy(evidence=Evidence(status=401, cause=NEW_TOKENS_REFUSED)), EndpointCause.CREDENTIALS),
        (Refused(evidence=Evidence(status=413, cause="not-acted")), EndpointCause.STATUS_4XX),
        (Busy(evidence=Evidence(status=429, cause="not-now")), EndpointCause.THROTTLED),
        (Unknown(evidence=Evidence(status=302, cause="unexpected-status")), EndpointCause.STATUS_3XX),
        (Unknown(evidence=Evidence(status=200, cause="unreadable")), EndpointCause.UNREADABLE),
        (DOWN, EndpointCause.STATUS_5XX),
        (Unknown(evidence=Evidence(trouble=Failure.TIMEOUT, cause="timeout")), EndpointCause.TIMEOUT),
        (Unknown(evidence=Evidence(trouble=Failure.RESET, cause="reset")), EndpointCause.RESET),
        (
            Busy(evidence=Evidence(trouble=Failure.CONNECT, cause="tls-certificate-has-expired")),
            EndpointCause.TLS_VALIDITY,
        ),
        (Busy(evidence=Evidence(trouble=Failure.CONNECT, cause="dns")), EndpointCause.DNS),
    ],
)
def test_a_failed_answer_has_one_cause(answer: Answer[Any], cause: EndpointCause | None) -> None:
    found = trouble_of(answer)
    assert (found and found.cause) == cause


def test_a_trouble_is_reported_once_and_ends_after_some_seconds_without_a_failure() -> None:
    endpoints, time, received = kept()
    for number in range(400):
        endpoints.record_answer(ASSURE, DOWN if number % 4 == 0 else FINE)
        time.at += 0.05
    assert received == [(ASSURE, None, EndpointCause.STATUS_5XX)], "a line for the noise, not for each failure"
    time.at += RECOVERY_SECONDS
    endpoints.end_recovered()
    assert received[1:] == [(ASSURE, EndpointCause.STATUS_5XX, None)]
    assert endpoints.current == {}


def test_another_cause_is_reported_at_most_once_a_minute_and_credentials_at_once() -> None:
    endpoints, time, received = kept()
    for second in range(50):
        time.at += 1
        endpoints.record(ASSURE, EndpointTrouble(cause=EndpointCause.TIMEOUT if second % 2 else EndpointCause.RESET))
    assert [after for _, _, after in received] == [EndpointCause.RESET]
    endpoints.record(ASSURE, EndpointTrouble(cause=EndpointCause.CREDENTIALS, status=401))
    assert received[-1] == (ASSURE, EndpointCause.RESET, EndpointCause.CREDENTIALS)
    assert endpoints.denied is not None
    endpoints.record_answer(ASSURE, FINE)
    assert received[-1] == (ASSURE, EndpointCause.CREDENTIALS, None), "one success proves that the client is accepted"


@pytest.mark.parametrize(
    ("name", "denied"), [(TOKEN, True), (ASSURE, True), ("sink-1", False)], ids=["token", "assure", "sink"]
)
def test_the_third_401_in_a_row_means_rejected_credentials_except_for_a_sink(name: str, denied: bool) -> None:
    endpoints, _, _ = kept()
    for _ in range(2):
        endpoints.record(name, EndpointTrouble(cause=EndpointCause.STATUS_4XX, status=401))
    assert endpoints.denied is None
    endpoints.record(name, EndpointTrouble(cause=EndpointCause.STATUS_4XX, status=401))
    assert (endpoints.denied is not None) == denied
    assert endpoints.current[name].status == 401


def test_a_failed_report_does_not_harm_a_call() -> None:
    endpoints, _, _ = kept()

    def full(*_: object) -> None:
        raise OSError("no space left")

    endpoints.subscribe(full)
    endpoints.record_answer(ASSURE, DOWN)
    assert endpoints.current[ASSURE].cause is EndpointCause.STATUS_5XX


async def test_an_invalid_secret_is_reported_within_seconds_and_work_resumes(
    world: World,
) -> None:
    """[I1] The log, the metric, readiness and other commands report it, and do not promise an automatic recovery."""
    world.upload("a", "sandbox-delay=20s")
    async with world.running(http=True) as agent:
        await world.clock.advance(5)
        assert (await get(world, "/readyz")).status_code == 200
        known = world.sandbox.config.client_secret
        object.__setattr__(world.sandbox.config, "client_secret", "rotated")
        world.sandbox.tokens.revoke_all()
        world.upload("b")
        await agent.scan()
        await world.clock.advance(2)
        ready = await get(world, "/readyz")
        assert ready.status_code == 503
        assert "invalid_client" in ready.text
        assert (await metrics(world))["endpoint_trouble", ("credentials", "token")] == 1
        (line,) = [entry for entry in world.logs if entry["event"] == "endpoint trouble"]
        assert (line["log_level"], line["cause"], line["status"]) == ("error", "credentials", 401)
        assert "until you correct" in line["hint"]
        await world.clock.rest()
        ((note,),) = world.rows("SELECT value FROM meta WHERE key = 'remembered/endpoints'")
        ((name, _, sentence),) = from_json(note)
        assert name == "the token endpoint"
        assert "not accepted (HTTP 401, invalid_client)" in sentence
        assert world.rows("SELECT value FROM meta WHERE key = 'remembered/circuit'") == [("credentials",)]
        asked = world.calls.count("token")
        await world.clock.advance(3600)
        assert world.calls.count("token") - asked < 100, (
            "the agent requests a token once a minute, not for each request"
        )
        object.__setattr__(world.sandbox.config, "client_secret", known)
        await world.clock.advance(120)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
        assert (await get(world, "/readyz")).status_code == 200
        assert json.loads(world.rows("SELECT value FROM meta WHERE key = 'remembered/endpoints'")[0][0]) == []
    world.check()
    world.check_nothing_left()


async def test_one_failed_token_answer_costs_half_a_second_and_opens_no_circuit(world: World) -> None:
    """[I9] Issue 14.4: sixty requests wait for one token, and count its failure once."""
    for number in range(60):
        world.upload(f"a-{number}")
    world.sandbox.faults.add([rule("token", "503", nth=2, count=2)])
    async with world.running() as agent:
        world.sandbox.tokens.revoke_all()
        await world.clock.advance(3)
        assert agent._throttle.opened is None
        await world.clock.advance(60)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert [entry for entry in world.logs if "circuit" in entry["event"]] == []
    world.check()


@pytest.mark.parametrize("status", [405, 413, 414, 415, 431, 501])
async def test_a_status_that_proves_a_refusal_is_held_with_its_evidence(world: World, status: int) -> None:
    """[I1] Without the hold, the agent would repeat the call for 24 hours."""
    world.upload("a")
    world.upload("b")
    world.sandbox.faults.add([rule("setImages", "html", nth=1, status=status)])
    await world.settle()
    records = list(world.records().values())
    (held,) = [record for record in records if record.hold is not None]
    assert held.hold is not None
    assert str(status) in held.hold.evidence
    assert sum(world.ledger.calls[name] for name in ("setImages",)) == 2
    assert [record.outcome for record in records if record is not held] == [Outcome.ACCEPTED]


async def test_such_a_status_does_not_prove_the_refusal_of_a_start(world: World) -> None:
    """[I2] A start is billed, so a read must confirm the status (design §5)."""
    world.upload("a")
    world.sandbox.faults.add([rule("startVerification", "html", nth=1, status=405, acts=True)])
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert world.starts("a") == 1
    world.check()


async def test_the_404_that_confirms_a_deletion_is_logged_as_done(world: World) -> None:
    """The 404 is an expected answer, not a refusal."""
    world.upload("a")
    await world.settle()
    (line,) = [entry for entry in world.logs if entry["event"] == "phase" and entry["phase"] == "done"]
    assert line["result"] == "done"
