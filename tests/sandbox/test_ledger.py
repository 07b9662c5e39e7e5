"""The ledger on which other tests rely: its counts and its violations."""

from agent.sandbox.faults.rules import Kind, Rule

from .conftest import Begin
from .support import Api


async def test_the_ledger_reports_the_life_of_a_dossier(api: Api) -> None:
    path = await api.started()
    for pause in (3, 2, 10):
        api.clock.advance(pause)
        await api.read(path)
    api.clock.advance(1)
    dossier = path.split("/processes", maxsplit=1)[0]
    await api.call("DELETE", dossier)
    report = (await api.http.get("/sandbox/ledger")).json()
    assert report["calls"] == {
        "token": 1,
        "createDossier": 1,
        "createProcess": 1,
        "setImages": 1,
        "startVerification": 1,
        "getProcess": 3,
        "deleteDossier": 1,
    }
    assert report["violations"] == []
    assert report["dossiers"] == [
        {
            "dossierId": dossier.split("/")[-1],
            "externalReference": "aa-1",
            "createdAt": "2023-11-14T22:13:20Z",
            "deletedAt": "2023-11-14T22:13:36Z",
            "resultRead": True,
            "captures": 0,
            "processes": [
                {
                    "processId": path.split("/")[-1],
                    "status": "accepted",
                    "decidedAt": "2023-11-14T22:13:30Z",
                    "starts": 1,
                    "reads": 3,
                    "minReadGap": 2.0,
                }
            ],
        }
    ]


async def test_refused_and_spoiled_calls_count_too(begin: Begin) -> None:
    api = await begin(faults=(Rule(operation="getDossiers", kind=Kind.INTERNAL, nth=2),))
    await api.call("GET", "/dossiers", headers={"Authorization": "Bearer unknown"})
    await api.call("GET", "/dossiers")
    await api.call("GET", "/dossiers")
    assert api.server.ledger.calls["getDossiers"] == 3


async def test_a_result_is_read_by_a_final_answer_that_arrived(begin: Begin) -> None:
    api = await begin(faults=(Rule(operation="getProcess", kind=Kind.INTERNAL, nth=2, acts=True),))
    path = await api.started()
    await api.read(path)
    assert not api.entry()["resultRead"]
    api.clock.advance(10)
    assert (await api.call("GET", path)).status_code == 500
    assert not api.entry()["resultRead"]
    await api.read(path)
    assert api.entry()["resultRead"]
    assert api.entry()["processes"][0]["reads"] == 3


async def test_a_dossiers_final_status_is_a_result_too(api: Api) -> None:
    path = await api.started()
    api.clock.advance(10)
    await api.read(path.split("/processes", maxsplit=1)[0])
    assert api.entry()["resultRead"]


async def test_deleting_everything_works_and_is_a_violation(api: Api) -> None:
    for reference in ("a", "b"):
        await api.dossier(reference)
    assert (await api.call("DELETE", "/dossiers/all")).status_code == 204
    assert [violation["kind"] for violation in api.server.ledger.violations] == ["delete-all"]
    assert api.server.world.dossiers == {}
    assert all(row["deletedAt"] for row in api.server.ledger.report()["dossiers"])


async def test_an_unknown_field_is_a_violation_that_names_the_field_only(api: Api) -> None:
    await api.call("POST", "/dossiers", json={"externalReference": "r", "secretName": "Jane"})
    assert api.server.ledger.violations == [
        {
            "kind": "unknown-field",
            "operation": "createDossier",
            "externalReference": None,
            "detail": "secretName",
            "at": "2023-11-14T22:13:20Z",
        }
    ]


async def test_reset_forgets_what_happened_but_not_what_exists(api: Api) -> None:
    gone = await api.dossier("gone")
    await api.call("DELETE", f"/dossiers/{gone}")
    path = await api.started(dossier=await api.dossier("stays"))
    await api.call("POST", path)
    assert (await api.http.post("/sandbox/ledger/reset")).status_code == 204
    report = api.server.ledger.report()
    assert (report["calls"], report["violations"]) == ({}, [])
    (row,) = report["dossiers"]
    assert (row["externalReference"], row["processes"][0]["starts"]) == ("stays", 0)
    api.clock.advance(10)
    await api.read(path)
    assert api.entry("stays")["resultRead"]
