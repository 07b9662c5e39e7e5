"""`run --once` on a real repository, and what the other commands then say."""

from pathlib import Path

from tests.cli.command_runner import FREE_PORT, Here, finish, spawn
from tests.support.bare_repository import BareRepository, Signing
from tests.support.git_servers import make_ssh_key
from verification.builders.request_files import capture, write

ONCE = ("run", "--sandbox", "--once", *FREE_PORT)


def test_a_repository_from_its_first_revision_to_its_loss(here: Here, tmp_path: Path) -> None:
    bare = BareRepository(tmp_path / "requests.git")
    first = bare.commit({"specs/a.yaml": capture("a"), "README": "not a request"})
    source = {"SOURCE_URL": bare.url, "SOURCE_PATH": "specs", "POLL_INTERVAL": "1s"}
    said = finish(spawn(here.folder, *ONCE, **source))
    assert (said.code, said.err) == (0, ""), said
    assert f"requests: {bare.url}, branch main, folder specs" in said.out.splitlines()
    here.env |= source
    (item,) = here("get", "-o", "json").json["items"]
    assert (item["name"], item["outcome"], item["commit"]) == ("a", "accepted", first)
    state = ("--state-url", f"sqlite:///{here.folder}/state/sandbox/agent.db")
    assert here("plan", *state, "-o", "json").json["revision"] == {"commit": first, "branch": "main", "refusal": None}
    assert here("diff", *state).code == 0
    checks = {
        one["check"]: one for one in here("doctor", "-o", "json", STATE_URL=state[1], CLIENT_ID="").json["checks"]
    }
    assert checks["git server"]["message"].endswith("the revision that the agent acts on")
    assert checks["source"]["message"].endswith("current: 1 file, 1 request")

    replaced = bare.commit({"specs/b.yaml": capture("b")}, parents=[])
    said = finish(spawn(here.folder, *ONCE, **source))
    assert said.code == 5, said
    assert f"The agent does not act on revision {replaced[:12]}, because it does not descend" in said.err
    assert here("plan", *state).code == 5
    assert f"The agent acts on revision {replaced[:12]}" in here("approve", "--dry-run", *state).out
    assert [item["name"] for item in here("get", "-o", "json").json["items"]] == ["a"]

    bare.folder.rename(tmp_path / "moved.git")
    said = finish(spawn(here.folder, *ONCE, **source))
    assert said.code == 1, said
    assert "The git server has no such repository" in said.err
    assert "The git server has no such repository" in here("get").out


def test_only_a_signed_revision_is_acted_on_with_relative_paths(here: Here, tmp_path: Path) -> None:
    """[I6] The signer is in no output."""
    bare, key = BareRepository(tmp_path / "requests.git"), make_ssh_key(tmp_path / "key")
    write(here.folder / "signers", f"alice@example.com {key.with_suffix('.pub').read_text()}").chmod(0o600)
    first = bare.commit({"a.yaml": capture("a")}, signing=Signing(str(key)))
    source = {"SOURCE_URL": bare.url, "SOURCE_VERIFY": "each", "SOURCE_ALLOWED_SIGNERS_FILE": "signers"}
    said = finish(spawn(here.folder, *ONCE, **source, POLL_INTERVAL="1s"))
    assert said.code == 0, said
    here.env |= source
    explained = here("explain", "a")
    fingerprint = explained.out.partition("signed by *** ")[2].partition(".")[0]
    assert fingerprint.startswith("SHA256:"), explained
    (item,) = here("explain", "a", "-o", "json").json["items"]
    assert item["origin"] == {"commit": first, "fileCommit": first, "signer": f"*** {fingerprint}"}
    assert "alice" not in said.out + said.err + explained.out
    unsigned = bare.commit({"b.yaml": capture("b")})
    said = finish(spawn(here.folder, *ONCE, **source))
    assert said.code == 5, said
    assert f"because commit {unsigned[:12]} has no signature" in said.err
    assert [one["name"] for one in here("get", "-o", "json").json["items"]] == ["a"]
