"""GET /processes (contract §9)."""

from typing import Any

import pytest

from .support import EVERYTHING, Api


async def ids(api: Api, **query: Any) -> list[str]:
    response = await api.call("GET", "/processes", params=EVERYTHING | query)
    assert response.status_code == 200, response.text
    return [row["processId"] for row in response.json()["processes"]]


async def three(api: Api) -> list[str]:
    """Create processes a minute apart: accepted, failed, pending."""
    paths = [await api.started()]
    api.clock.advance(60)
    paths.append(await api.started("sandbox-outcome=failed"))
    api.clock.advance(60)
    paths.append(await api.process())
    return [path.split("/")[-1] for path in paths]


async def test_processes_come_newest_first_or_oldest_first(api: Api) -> None:
    made = await three(api)
    assert await ids(api) == await ids(api, order="createdAtDescending") == made[::-1]
    assert await ids(api, order="createdAtAscending") == made


async def test_pages_have_the_total_of_all(api: Api) -> None:
    made = await three(api)
    query = EVERYTHING | {"offset": 1, "limit": 1, "status": ""}
    body = (await api.call("GET", "/processes", params=query)).json()
    assert [row["processId"] for row in body["processes"]] == [made[1]]
    assert body["totalResults"] == 3
    assert body["filters"] == EVERYTHING | {"statusList": [], "offset": 1, "limit": 1, "order": "createdAtDescending"}


async def test_a_row_names_its_dossier_and_why_it_failed(api: Api) -> None:
    made = await three(api)
    body = (await api.call("GET", "/processes", params=EVERYTHING | {"status": "failed"})).json()
    (row,) = body["processes"]
    assert row["processId"] == made[1]
    assert row["dossier"]["externalReference"] == "aa-1"
    assert row["failReason"]["type"] == "upload_failed"


async def test_statuses_and_dates_filter(api: Api) -> None:
    made = await three(api)
    assert await ids(api, status=["failed", "pending"]) == [made[2], made[1]]
    assert await ids(api, startCreationDate="2023-11-14T22:14:20Z") == [made[2], made[1]]
    assert await ids(api, startCreationDate="2023-11-14T22:14:21Z") == [made[2]]
    assert await ids(api, endCreationDate="2023-11-14T22:13:20Z") == [made[0]]
    assert await ids(api, endCreationDate="2023-11-14T22:13:19Z") == []


async def test_after_thirty_days_a_process_is_not_listed_but_exists(api: Api) -> None:
    path = await api.started()
    api.clock.advance(30 * 24 * 3600 + 1)
    await api.log_in()
    assert await ids(api) == []
    assert (await api.read(path))["status"] == "accepted"


@pytest.mark.parametrize(
    "query",
    [
        {"startCreationDate": ""},
        {"startCreationDate": "yesterday"},
        {"startCreationDate": "2023-11-14T22:13:20+01:00"},
        {"startCreationDate": "2023-11-14T22:13:20Z", "endCreationDate": "2023-11-14T22:13:19Z"},
        {"status": "expired"},
        {"status": ["accepted", "ACCEPTED"]},
        {"offset": -1},
        {"offset": 200_001},
        {"offset": "one"},
        {"limit": 0},
        {"limit": 2001},
        {"order": "random"},
    ],
)
async def test_a_wrong_filter_is_400(api: Api, query: dict[str, Any]) -> None:
    assert (await api.call("GET", "/processes", params=EVERYTHING | query)).status_code == 400


async def test_the_start_date_is_required(api: Api) -> None:
    assert (await api.call("GET", "/processes")).status_code == 400
