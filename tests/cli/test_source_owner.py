"""Request files of other users (issue 13.5): reported without SOURCE_OWNER, refused with it, by every command."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.sandbox import SandboxServer
from tests.cli.command_runner import FREE_PORT, CommandResult, Here
from verification.builders.request_files import upload, write

US = str(os.geteuid())
NOBODY = 65_534


def hard_linked(path: Path) -> None:
    os.link(path, path.with_name("of-another.txt"))


def writable(path: Path) -> None:
    path.chmod(0o666)


def of_nobody(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def group_writable(path: Path) -> None:
    path.chmod(0o664)


def in_a_folder_of_all(path: Path) -> None:
    path.parent.chmod(0o777)


REPORTED: list[tuple[Callable[[Path], None], str]] = [
    (hard_linked, "of/a.yaml: the file has 2 hard links"),
    (writable, "of/a.yaml: other users can write the file (mode 0666)"),
    (in_a_folder_of_all, "of/: other users can write the folder (mode 0777)"),
]
REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (hard_linked, "of/a.yaml:1:1: the file has 2 hard links"),
    (writable, "of/a.yaml:1:1: other users can write the file (mode 0666)"),
    (group_writable, "of/a.yaml:1:1: other users can write the file (mode 0664)"),
    (in_a_folder_of_all, "of/:1:1: other users can write the folder (mode 0777)"),
    pytest.param(  # type: ignore[list-item]
        of_nobody,
        "of/a.yaml:1:1: the file belongs to uid 65534",
        marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"),
    ),
]


@pytest.fixture
def request_file(here: Here) -> Path:
    """A valid request file in a folder of the source."""
    path = write(here.folder / "specs/of/a.yaml", upload("a", {"front": "front.jpg"}))
    path.chmod(0o644)
    for folder in (path.parent, path.parent.parent):
        folder.chmod(0o755)
    return path


def run_once(here: Here, remote: SandboxServer, **env: str) -> CommandResult:
    return here("run", "--once", *FREE_PORT, BASE_URL=remote.url, POLL_INTERVAL="1s", LOG_FORMAT="json", **env)


def writers(here: Here, **env: str) -> tuple[str, str]:
    checks = here("doctor", "--offline", "-o", "json", **env).json["checks"]
    return next((check["state"], check["message"]) for check in checks if check["check"] == "source, writers")


def test_a_file_that_only_its_owner_can_change_is_accepted(
    here: Here, request_file: Path, remote: SandboxServer
) -> None:
    request_file.parent.chmod(0o1777)  # as /tmp: only the owner of a file can replace it
    assert writers(here)[0] == "ok"
    said = run_once(here, remote)
    assert said.code == 0
    assert "other users can change" not in said.err + said.out


@pytest.mark.parametrize(("expose", "words"), REPORTED)
def test_a_file_that_others_can_change_is_reported_and_admitted(
    here: Here, request_file: Path, remote: SandboxServer, expose: Callable[[Path], None], words: str
) -> None:
    expose(request_file)
    state, message = writers(here)
    assert (state, message.startswith(words)) == ("warning", True), message
    assert here("validate", "specs").code == 0
    said = run_once(here, remote)
    assert said.code == 0
    reported = (said.err + said.out).count("other users can change request files")
    assert reported == 1, "logged once, not at each scan"
    assert '"count":1' in said.err.replace(" ", "")
    assert "a.yaml" not in said.err, "the log names no file"


@pytest.mark.parametrize(("expose", "words"), REFUSED)
def test_with_source_owner_every_command_refuses_such_a_file(
    here: Here, request_file: Path, remote: SandboxServer, expose: Callable[[Path], None], words: str
) -> None:
    here.env["SOURCE_OWNER"] = US
    assert here("validate", "specs").code == 0
    expose(request_file)
    said = here("validate", "specs")
    assert said.code == 5
    assert f"specs/{words}" in said.out
    assert ". Try: " in said.out
    said = here("plan")
    assert said.code == 5
    assert words in " ".join(said.out.split())
    said = run_once(here, remote)
    assert said.code == 5
    assert words in said.out
    assert remote.ledger.dossiers == {}, "nothing was sent"
    checks = here("doctor", "--offline", "-o", "json").json["checks"]
    assert next(check["state"] for check in checks if check["check"] == "source") == "warning"


@pytest.mark.parametrize("expose", [hard_linked, writable, group_writable])
def test_a_file_that_is_validated_by_its_name_is_refused_as_well(
    here: Here, request_file: Path, expose: Callable[[Path], None]
) -> None:
    expose(request_file)
    assert here("validate", "specs/of/a.yaml", SOURCE_OWNER=US).code == 5
    assert here("validate", "specs/of/a.yaml").code == 0


@pytest.mark.parametrize(
    ("expose", "gone"),
    [(hard_linked, False), (writable, False), (in_a_folder_of_all, False), (in_a_folder_of_all, True)],
)
def test_a_refused_file_keeps_its_admitted_generation(
    here: Here, request_file: Path, remote: SandboxServer, expose: Callable[[Path], None], gone: bool
) -> None:
    here.env["SOURCE_OWNER"] = US
    request_file.write_text(upload("a", {"front": "front.jpg"}, suspend=True))
    assert run_once(here, remote).code == 0
    before = here("get", "a", "-o", "json").json["items"]
    request_file.write_text(upload("other", {"front": "front.jpg"}))
    expose(request_file)
    if gone:
        request_file.unlink()  # by others: in such a folder an absence proves nothing
    for _ in range(2):
        assert run_once(here, remote).code == 5
        assert here("get", "a", "-o", "json").json["items"] == before
    assert remote.ledger.dossiers == {}


def test_the_links_of_a_kubernetes_volume_are_accepted(
    here: Here, request_file: Path, remote: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ConfigMap has files of root behind links, in a read-only folder with mode 0777."""
    volume = here.folder / "volume"
    write(volume / "..2026_11_30/a.yaml", request_file.read_bytes()).chmod(0o644)
    (volume / "..data").symlink_to("..2026_11_30")
    (volume / "a.yaml").symlink_to("..data/a.yaml")
    volume.chmod(0o777)
    here.env |= {"SOURCE_OWNER": US, "SPECS_DIR": "volume"}
    assert here("plan").code == 5
    read_only = os.statvfs_result((*tuple(os.statvfs(volume))[:8], os.ST_RDONLY, 255))
    monkeypatch.setattr("agent.source.ownership.os.statvfs", lambda _: read_only)
    assert here("validate", "volume").code == 0
    assert run_once(here, remote).code == 0
    assert here("get", "a", "-o", "json").json["items"][0]["outcome"] == "accepted"


def test_owners_are_names_or_uids_and_an_unknown_user_is_an_error(here: Here, request_file: Path) -> None:
    for value in ("root", f"root,{US}", f" {US} ", "0, 65534"):
        assert here("validate", "specs", SOURCE_OWNER=value).code == (0 if os.geteuid() == 0 or US in value else 5)
    assert here("validate", "specs", SOURCE_OWNER=str(os.geteuid() + 1)).code == 5
    here("validate", "specs", SOURCE_OWNER="no-such-user").is_one_clear_error(
        "ASSURE_AGENT_SOURCE_OWNER", "no-such-user"
    )
