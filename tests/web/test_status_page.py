"""The status page over HTTP: its content, its access control, and the data that it never shows."""

import base64
import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from agent.core.personal_data import without_personal_data
from agent.core.record import HoldReason, Outcome, Phase
from agent.store.repository import columns
from agent.store.sqlite.connection import open_reader, sqlite3
from agent.web.summaries import with_full_stop
from tests.support.timeouts import PATIENT
from tests.web.live_server import BEARER, NASTY, TOKEN, Served, held, request, served, some
from verification.builders.lives import LINK, Life
from verification.builders.records import upload

FROM_ELSEWHERE = {"Host": "agent.example"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page"), some()) as found:
        yield found


def text(answer: httpx.Response) -> str:
    """The visible text of a page, in one line."""
    assert answer.status_code == 200, answer.text
    reader = Reader()
    reader.feed(answer.text)
    return re.sub(r"\s+", " ", " ".join(reader.parts))


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_front_page_shows_held_requests_first_with_the_reason_and_the_exact_command(page: Served) -> None:
    reported = text(page.see("/"))
    places = [reported.index(word) for word in ("Held for an operator", "Running", "Waiting", "Recent outcomes")]
    assert places == sorted(places)
    held_part = reported[places[0] : places[1]]
    assert "is-held" in held_part
    assert "refused-by-assure" in held_part
    assert "upload_images 400 base:client-problem; Bad Request" in held_part
    of_request = text(page.see(f"/requests/{page.uids['is-held']}"))
    assert "Assure's words base:client-problem; Bad Request" in of_request
    assert "assure-agent resolve is-held retry" in held_part
    assert "assure-agent resolve is-held abandon" in held_part
    assert "assure-agent/resolve:" in held_part
    assert "customer-1" in reported[places[3] :]


def test_the_front_page_shows_the_state_of_assure_the_budget_the_circuit_and_the_source(page: Served) -> None:
    reported = text(page.see("/"))
    assert "6, 2 failed" in reported
    assert "read process, unknown" in reported
    assert "42 of 50 starts left" in reported
    assert "Circuit closed" in reported
    assert "Refused documents 1" in reported
    page.observations |= {
        "circuit": "five answers in a row were 404",
        "paused": True,
        "ready": "ending",
        "budget": None,
    }
    try:
        reported = text(page.see("/"))
        assert "Circuit open" in reported
        assert "five answers in a row were 404" in reported
        assert "assure-agent resume" in reported
        assert "The agent is not ready: ending." in reported
        assert "No limit is set" in reported
    finally:
        page.observations |= {"circuit": None, "paused": False, "ready": None, "budget": (42, 50)}


def test_requests_are_found_by_name_by_label_and_by_both(page: Served) -> None:
    for query, found, other in (
        ("omer-1", "customer-1", "customer-2"),
        ("team=risk", "with-a-link", "customer-1"),
        ("team=onboarding omer-2", "customer-2", "customer-1"),
        ("team=onboarding WAITS", "waits", "customer-1"),
    ):
        reported = text(page.see("/?q=" + query.replace("=", "%3D").replace(" ", "+")))
        assert found in reported
        assert other not in reported
    assert "No request matches." in text(page.see("/?q=nobody"))
    assert "customer-1" in text(page.see("/?state=done"))
    assert "customer-1" not in text(page.see("/?state=held"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=team%3Donboarding&state=held", {"is-held"}),
        ("label=team%3Donboarding&phase=done&outcome=accepted", {"customer-0", "customer-1", "customer-2"}),
        ("label=team%3Donboarding&q=omer-2&outcome=accepted&state=done", {"customer-2"}),
        ("reason=refused-by-assure&label=team%3Donboarding", {"is-held"}),
        ("label=team%3Drisk&label=shop%3Dnl", {"with-a-link"}),
        ("state=held&outcome=accepted", set()),
        ("q=&state=waiting&phase=&label=", {"with-a-link", "waits", "kept"}),  # as a form with empty fields sends it
    ],
)
def test_filters_combine(page: Served, query: str, found: set[str]) -> None:
    listed = re.findall(r'<span class="name">(.+?)</span>', page.see(f"/?{query}").text)
    assert set(listed) == found


def test_filters_in_use_are_kept_by_the_next_search_and_can_be_removed(page: Served) -> None:
    answer = page.see("/?q=is&state=held&label=team%3Donboarding").text
    assert '<input type="hidden" name="state" value="held">' in answer
    assert 'href="./?q=is&amp;label=team%3Donboarding" aria-label="Remove the filter state: held"' in answer
    assert "<option selected>held</option>" in answer


@pytest.mark.parametrize(
    ("query", "reported"),
    [
        ("state=nonsense", "Expected one of held, active, waiting, suspended, done."),
        ("state=nonsense&q=is-held", "Unknown state"),
        ("state=HELD", "Unknown state"),
        ("phase=nowhere", f"Expected one of {', '.join(Phase)}."),
        ("outcome=good", f"Expected one of {', '.join(Outcome)}."),
        ("reason=why", f"Expected one of {', '.join(HoldReason)}."),
        ("label=team", "Expected KEY=VALUE."),
        ("stat=held", "Unknown parameter"),
        ("state=held&state=done", "Only label may be given more than once."),
        ("state=held&after=zzz", "Invalid page"),
        ("q=a&after=1.0-3", "Invalid page"),
        ("state=held&after=1.0-3&before=1.0-3", "Invalid page"),
        ("label=%3D&q=", "Invalid label"),
    ],
)
def test_an_unknown_filter_is_a_bad_request_that_names_the_known_values(
    page: Served, query: str, reported: str
) -> None:
    answer = page.see(f"/?{query}")
    assert answer.status_code == 400
    assert reported in answer.text


def test_long_lists_have_pages_that_lead_to_the_end_and_back(tmp_path: Path) -> None:
    lives = [request(f"long-{number:03d}", Phase.RESULT, labels={"team": "a"}) for number in range(230)]
    refusals = [(f"f{number:03d}.yaml", 1, 1, "no", "try", None) for number in range(230)]
    with served(tmp_path, lives, refusals=refusals) as found:
        for path, item in (
            ("/?state=waiting", r'<span class="name">(.+?)</span>'),
            ("/?label=team%3Da&phase=result", r'<span class="name">(.+?)</span>'),
            ("/refused", r"<code>(f\d+\.yaml)"),
        ):
            pages, where = [], path
            while where:
                pages.append(found.see(where).text)
                where = linked(pages[-1], "next", where)
            listed = [re.findall(item, one) for one in pages]
            assert [len(one) for one in listed] == [100, 100, 30], path
            assert len(set(itertools.chain(*listed))) == 230
            back = [pages[-1]]
            where = linked(back[-1], "prev", path)
            while where:
                back.append(found.see(where).text)
                where = linked(back[-1], "prev", where)
            assert [re.findall(item, one) for one in back[::-1]] == listed
        assert len(re.findall(r"<code>(f\d+\.yaml)", found.see("/refused?page=99").text)) == 30
        for wrong in ("page=0", "page=x", "page=1&page=2", "pages=2"):
            assert found.see(f"/refused?{wrong}").status_code == 400


def linked(text: str, relation: str, path: str) -> str:
    """The target of the link with this relation; empty if there is none."""
    match = re.search(f'<a rel="{relation}" href="([^"]+)"', text)
    return urljoin(path, match[1].replace("&amp;", "&")) if match else ""


def test_refused_documents_are_listed_with_place_reason_and_remedy(page: Served) -> None:
    assert 'href="./refused"' in page.see("/").text
    reported = text(page.see("/refused"))
    assert "a.yaml:1:1" in reported
    assert "no. Try: try." in reported
    assert page.get("/refused", {"Authorization": ""}).status_code == 401


def test_no_sentence_ends_with_two_full_stops(page: Served) -> None:
    page.observations |= {"circuit": "nobody answers.", "ready": "ending."}
    try:
        for path in ("/", "/refused", "/?state=held", *(f"/requests/{uid}" for uid in page.uids.values())):
            assert ".." not in text(page.see(path)).replace("...", "")
    finally:
        page.observations |= {"circuit": None, "ready": None}
    assert with_full_stop("Did you mean `a`?") == "Did you mean `a`?"


@pytest.mark.parametrize("path", ["/", "/?state=done", "/refused", "/requests/{}"])
def test_every_link_of_a_page_leads_below_the_prefix_that_a_proxy_adds(page: Served, path: str) -> None:
    path = path.format(page.uids["is-held"])
    reader = Reader()
    reader.feed(page.see(path).text)
    links = [one for _, attributes in reader.tags for key in ("href", "src", "action") if (one := attributes.get(key))]
    assert links
    for link in links:
        led = urljoin(f"https://ops.example/assure{path}", link)
        assert led.startswith("https://ops.example/assure/"), link
        assert page.see(led.removeprefix("https://ops.example/assure")).status_code == 200, link


def test_headings_go_down_by_one_level_and_every_button_has_a_name_of_its_own(page: Served) -> None:
    """axe: heading-order; and the commands that buttons copy are in their names."""
    for path in ("/", "/?state=held", "/refused", *(f"/requests/{uid}" for uid in page.uids.values())):
        answer = page.see(path).text
        levels = [int(level) for level in re.findall(r"<h([1-6])", answer)]
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), (path, levels)
        buttons = re.findall(r'<button type="button" class="copy"([^>]*)>', answer)
        names = [re.search('aria-label="Copy (.+?)"', button) for button in buttons]
        assert all(names)
        assert len({name[1] for name in names if name}) == len(buttons)


def test_the_page_of_a_request_shows_phases_attempts_history_next_step_and_command(page: Served) -> None:
    reported = text(page.see(f"/requests/{page.uids['is-held']}"))
    for parts in (
        "Next step",
        "dossier 2.0s process 1.0s images 9m 5",
        "upload the images",
        "refused HTTP 400",
        "HTTP status 400",
        "trace id t-77",
        "SHA-256 of the body 0123456789abcdef",
        "Effect refused",
        "held refused-by-assure",
        "assure-agent resolve is-held retry",
        "assure-agent explain is-held",
        "team=onboarding",
    ):
        assert parts in reported, parts
    done = text(page.see(f"/requests/{page.uids['customer-1']}"))
    assert "Decision of Assure accepted" in done
    assert "None. The request is finished." in done


def test_no_capture_link_is_shown_but_the_command_for_it(page: Served) -> None:
    """[I6]"""
    answer = page.see(f"/requests/{page.uids['with-a-link']}")
    assert LINK not in answer.text
    assert "capture.example" not in answer.text
    assert "shop.example" not in answer.text, "nor where the person comes back to"
    assert "assure-agent get with-a-link --link" in text(answer)
    for path in ("/", "/?q=link", "/?state=waiting"):
        assert LINK not in page.see(path).text


def test_no_path_of_an_image_or_a_file_is_shown(page: Served) -> None:
    """[I6]"""
    for path in ("/", *(f"/requests/{uid}" for uid in page.uids.values())):
        found = page.see(path).text
        assert "front.jpg" not in found
        assert "somebody" not in found
        assert "a.yaml" not in found


def test_hostile_names_and_labels_are_text_everywhere(page: Served) -> None:
    for path in ("/", f"/requests/{page.uids[NASTY]}", "/?q=" + httpx.QueryParams({"q": NASTY})["q"], "/?state=held"):
        answer = page.see(path)
        assert NASTY not in answer.text
        reader = Reader()
        reader.feed(answer.text)
        scripts = [attributes for tag, attributes in reader.tags if tag == "script"]
        assert [set(attributes) for attributes in scripts] == [{"src", "defer"}]
        assert "49" not in "".join(reader.parts).replace("h-49", ""), "no template in a name is evaluated"
    reported = text(page.see(f"/requests/{page.uids[NASTY]}"))
    assert NASTY in reported
    assert f"nasty={NASTY}" in reported
    assert "resolve '<script>" in reported, "the command is quoted for a shell"


def test_the_content_security_policy_allows_only_the_pages_own_files(page: Served) -> None:
    for path in ("/", f"/requests/{page.uids['waits']}", "/requests/nobody", "/assets/page.css"):
        policy = page.see(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
    for path in ("/", f"/requests/{page.uids['is-held']}"):
        reader = Reader()
        reader.feed(page.see(path).text)
        for tag, attributes in reader.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "./").startswith(("./", "../", "#")), (tag, attributes)
    for name in ("page.css", "page.js", "icon.svg"):
        assert page.see(f"/assets/{name}").status_code == 200
        assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", page.see(f"/assets/{name}").text)


@pytest.mark.parametrize(
    ("headers", "sees"),
    [
        ({}, False),  # from this machine, without token and session: a forwarder may have sent it
        (BEARER, True),
        (FROM_ELSEWHERE, False),
        (FROM_ELSEWHERE | BEARER, True),
        (FROM_ELSEWHERE | {"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}, True),
        (FROM_ELSEWHERE | {"Authorization": "Basic " + base64.b64encode(f"{TOKEN}:".encode()).decode()}, False),
        (FROM_ELSEWHERE | {"Authorization": "Basic ???"}, False),
        (FROM_ELSEWHERE | {"Authorization": "Bearer wrong"}, False),
    ],
)
def test_the_token_opens_the_page_under_any_name(page: Served, headers: dict[str, str], sees: bool) -> None:
    """Design §11; sessions are in test_auth.py."""
    for path in ("/", f"/requests/{page.uids['waits']}", "/?q=customer"):
        answer = page.get(path, headers)
        assert answer.status_code == (200 if sees else 401)
        assert ("waits" in answer.text or "customer-1" in answer.text) is sees


def test_an_agent_without_a_token_accepts_none(tmp_path: Path) -> None:
    with served(tmp_path, some()[:1], token="") as bare:
        for headers in (FROM_ELSEWHERE, FROM_ELSEWHERE | {"Authorization": "Bearer "[:-1]}, FROM_ELSEWHERE | BEARER):
            answer = bare.get("/", headers)
            assert answer.status_code == 403, "an empty token is none"
            assert "ASSURE_AGENT_API_TOKEN" in answer.text


def test_it_is_read_only(page: Served) -> None:
    for path in ("/", f"/requests/{page.uids['waits']}", "/assets/page.js"):
        for method in ("POST", "PUT", "DELETE"):
            assert page.get(path, method=method).status_code == 405


@pytest.mark.parametrize(
    "path", ["/requests/nobody", "/requests/..%2F", "/assets/base.html", "/assets/..%2Fpage.py", "/x"]
)
def test_a_page_that_is_not_there_is_not_found(page: Served, path: str) -> None:
    assert page.see(path).status_code == 404


@pytest.mark.parametrize("path", ["/x", "/requests/a/b"])
def test_an_unknown_path_is_a_page_for_a_browser_and_a_problem_for_a_program(page: Served, path: str) -> None:
    seen = page.get(path, {"Accept": "text/html,application/xhtml+xml"})
    assert (seen.status_code, "<h1>Not found</h1>" in seen.text) == (404, True)
    assert page.get(path).headers["content-type"] == "application/problem+json"


def test_a_forgotten_request_is_on_no_page(tmp_path: Path) -> None:
    """[I6]"""
    gone = request("to-be-forgotten", Phase.DONE, labels={"team": "canary-team"})
    with served(tmp_path, [gone, request("stays", Phase.DONE)]) as found:
        connection = sqlite3.connect(tmp_path / "agent.db", isolation_level=None)
        record = without_personal_data(gone.record)
        connection.execute("UPDATE requests SET name = NULL, record = ?", (columns(record)["record"],))
        connection.close()
        for path in ("/", "/?state=done", f"/requests/{gone.record.uid}"):
            assert "to-be-forgotten" not in found.see(path).text
        assert found.see(f"/requests/{gone.record.uid}").status_code == 404


def test_no_page_reads_100_000_requests_to_show_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in thousands of steps of SQLite's virtual machine, which do not depend on the load.

    The requests are copies of a few, made in SQL: to process each one would take minutes.
    """
    lives = [request("a", Phase.DONE), request("b", Phase.RESULT), request("c", Phase.IMAGES), held("d")]
    steps: list[int] = []

    def counted(path: Path) -> object:
        connection = open_reader(path)
        connection.set_progress_handler(lambda: steps.append(1), 1000)
        return connection

    monkeypatch.setattr("agent.store.sqlite.readonly.open_reader", counted)
    with (
        served(tmp_path, lives) as found,
        httpx.Client(base_url=found.url, headers=BEARER, trust_env=False, timeout=PATIENT) as client,
    ):
        connection = sqlite3.connect(tmp_path / "agent.db", isolation_level=None)
        connection.executescript(COPIES)
        connection.close()
        for path in (
            "/",
            "/?state=done",
            "/?q=copy-0999",
            "/?q=nobody",
            "/?q=batch%3D7",
            "/?q=all%3Dyes+copy-09",
            "/?outcome=accepted",
            "/?outcome=rejected",
            "/?outcome=accepted&label=batch%3D7",
            "/?reason=refused-by-assure&phase=images",
            f"/requests/{found.uids['d']}",
            "/api/requests?label=batch%3D7&phase=done",
            "/api/requests?label=all%3Dyes&phase=process",
            "/api/requests?label=all%3Dyes&label=batch%3D7",
            "/api/requests/copy-012345-a",
        ):
            steps.clear()
            assert client.get(path).status_code == 200
            print(path, len(steps))
            assert len(steps) < 700, path


COPIES = """
PRAGMA synchronous=OFF;
BEGIN;
WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 25000)
INSERT INTO requests (uid, name, source, version, seq, head, generation, mode, process_type, phase, state, outcome,
    hold_reason, dossier_id, process_id, reference, present, moving, priority, due_at, admitted_at, opened_at, read_at,
    queued, progress_at, delete_at, record)
SELECT printf('%06x-%s', n * 7919 % 16777213, uid), printf('copy-%06d-%s', n, name), source, version, seq, head,
    generation, mode, process_type, phase, state, outcome, hold_reason, dossier_id, process_id, reference, present,
    moving, priority, due_at, admitted_at, opened_at, read_at, queued, progress_at + n, delete_at,
    replace(replace(record, '"name":"' || name || '"', '"name":"' || printf('copy-%06d-%s', n, name) || '"'),
        '"uid":"' || uid || '"', '"uid":"' || printf('%06x-%s', n * 7919 % 16777213, uid) || '"')
FROM requests, n;
INSERT INTO labels SELECT 'all', 'yes', uid FROM requests WHERE name LIKE 'copy%';
INSERT INTO labels SELECT 'batch', CAST(substr(name, 6, 6) % 1000 AS TEXT), uid FROM requests WHERE name LIKE 'copy%';
COMMIT;
"""


def test_synthetic_records_equal_those_of_the_store() -> None:
    """Guards the test above: a record is found under its own uid and name."""
    record = Life(desired=upload()).record
    text = columns(record)["record"]
    assert f'"name":"{record.name}"' in text
    assert f'"uid":"{record.uid}"' in text
