"""The API for programs: its content, its access control, and its description."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from agent.core.record import Phase
from tests.web.live_server import BEARER, NASTY, TOKEN, Served, served, some
from verification.builders.lives import LINK

DESCRIPTION = Path(__file__).parents[2] / "docs/openapi.json"
schema = schemathesis.openapi.from_path(DESCRIPTION)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api"), some()) as found:
        yield found


def get(api: Served, path: str) -> Any:
    answer = api.get(path, BEARER)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


@schema.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_running_server_matches_its_description(case: Any, api: Served) -> None:
    """Any request, valid or not, gets a documented answer."""
    answer = case.call(base_url=api.url, headers=BEARER)
    case.validate_response(answer)
    assert answer.status_code < 500


def test_the_description_is_served_as_it_is_checked_in(api: Served) -> None:
    assert get(api, "/api/openapi.json") == json.loads(DESCRIPTION.read_text())


def test_one_request_comes_with_its_link_phase_outcome_and_conditions(api: Served) -> None:
    reported = get(api, "/api/requests/with-a-link")
    assert (reported["link"], reported["phase"], reported["outcome"]) == (LINK, "result", None)
    assert reported["observedGeneration"] == reported["generation"] == 1
    assert {one["type"]: one["status"] for one in reported["conditions"]} == {
        "Ready": "False",
        "Reconciling": "True",
        "Stalled": "False",
    }
    done = get(api, "/api/requests/customer-1")
    assert (done["link"], done["phase"], done["outcome"]) == (None, "done", "accepted")
    held = get(api, "/api/requests/is-held")
    assert (held["state"], held["reason"]) == ("held", "refused-by-assure")
    assert held["holdEvidence"] == "upload_images 400 base:client-problem; Bad Request"
    assert (reported["holdEvidence"], held["deadline"] > held["admittedAt"]) == (None, True)


def test_lists_are_filtered_by_labels_and_phase_and_hold_no_link(api: Served) -> None:
    """[I6]"""
    text = api.get("/api/requests", BEARER).text
    assert "secret-link" not in text
    assert "link" not in json.loads(text)["items"][0]
    assert names(api, "label=team=onboarding") == {"customer-0", "customer-1", "customer-2", "waits", "is-held"}
    assert names(api, "label=team=onboarding&phase=done") == {"customer-0", "customer-1", "customer-2"}
    assert names(api, "label=team=risk&label=shop=nl") == {"with-a-link"}
    assert names(api, "label=team=risk&label=shop=de") == set()
    assert names(api, "outcome=accepted&label=team=onboarding") == {"customer-0", "customer-1", "customer-2"}
    assert names(api, "outcome=accepted&phase=deletion") == {"kept"}
    assert names(api, "reason=refused-by-assure") == {"is-held", NASTY}
    assert names(api, "reason=refused-by-assure&outcome=accepted") == set()
    assert names(api, "phase=images") == {"runs", "is-held", NASTY}
    assert names(api, "label=nasty=" + httpx_quoted(NASTY)) == {NASTY}


def names(api: Served, query: str) -> set[str]:
    return {item["name"] for item in get(api, f"/api/requests?{query}")["items"]}


def httpx_quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


@pytest.mark.parametrize(
    "query", ["", "&label=team=onboarding", "&phase=done", "&outcome=accepted", "&label=team=onboarding&phase=done"]
)
def test_pages_have_every_request_once(api: Served, query: str) -> None:
    whole = get(api, f"/api/requests?limit=500{query}")["items"]
    seen, cursor = [], ""
    while cursor is not None:
        page = get(api, f"/api/requests?limit=2{query}" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["cursor"]
    assert seen == whole


@pytest.mark.parametrize(
    "query",
    [
        "phase=nowhere",
        "outcome=good",
        "outcome=",
        "reason=why",
        "reason=refused-by-assure&reason=refused-by-assure",
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=-1",
        "label=team",
        "label==x",
        "cursor=%00",
        "cursor=",
        "cursor=zzz",
        "lable=team=x",
        "phase=done&phase=images",
    ],
)
def test_an_invalid_query_is_a_problem_response(api: Served, query: str) -> None:
    answer = api.get(f"/api/requests?{query}", BEARER)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


PATHS = ("/api/requests", "/api/requests/customer-1", "/api/openapi.json", "/api/x", "/api")
WRONG = ("", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é")


@pytest.mark.parametrize("path", PATHS)
def test_without_the_right_token_nothing_is_reported(api: Served, path: str) -> None:
    """[I6] Not even if the request exists."""
    for headers in ({}, *({"Authorization": header.encode("latin-1")} for header in WRONG)):
        answer = api.get(path, headers)  # type: ignore[arg-type]
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.text == api.get("/api/requests/nobody").text


def test_without_an_api_token_there_is_no_api(tmp_path: Path) -> None:
    with served(tmp_path, [], token="") as bare:
        for path in PATHS:
            for headers in ({}, BEARER, {"Authorization": "Bearer"}):
                assert bare.get(path, headers).status_code == 404


def test_it_is_read_only(api: Served) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert api.get("/api/requests/customer-1", BEARER, method).status_code == 405
    assert get(api, "/api/requests/customer-1")["phase"] == Phase.DONE


@pytest.mark.parametrize(
    "name", ["nobody", "..%2F..%2Fetc", "%00", "a" * 3000, "%F0%9F%98%80", "with-a-link%00", "' OR 1=1"]
)
def test_an_unknown_name_is_not_found(api: Served, name: str) -> None:
    assert api.get(f"/api/requests/{name}", BEARER).status_code == 404
