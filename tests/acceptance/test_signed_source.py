"""The installed command with a git source that must be signed: what it acts on, and what it can prove later."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fetching import done, shows, started
from tests.acceptance.installed_command import Office
from tests.acceptance.signers import OpenPgp, Ssh
from tests.acceptance.sources import Repository
from tests.support.git import git
from tests.support.timeouts import eventually

pytestmark = pytest.mark.git_source

FORMS = {"ssh": Ssh, "gpg": OpenPgp}
REFUSED = {"unknown": "unknown-signer", "expired": "expired-key", "revoked": "revoked-key", None: "unsigned"}


@pytest.fixture(params=FORMS)
def signers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ssh | OpenPgp]:
    made = FORMS[request.param](tmp_path)
    yield made
    made.close()


def signed(source: Repository, signers: Ssh | OpenPgp, kind: str | None) -> str:
    """Commit the changes of the desk, signed by this kind of signer; the commit."""
    options = () if kind is None else signers.options(kind)
    git(source.desk, "add", "-A")
    git(source.desk, *options, "commit", "-q", "-m", "Change requests", *(("-S",) if kind else ()))
    return source.head()


@pytest.mark.sandbox(delay="100ms")
@pytest.mark.parametrize("mode", ["head", "each"])
def test_a_commit_without_a_signature_that_counts_is_not_acted_on(
    office: Office, source: Repository, signers: Ssh | OpenPgp, mode: str
) -> None:
    """[I2] Unsigned, unknown, expired and revoked: the last revision stays, the requests go on, the reason is reported.

    An unsigned commit below a signed head counts with `head`, and is refused with `each`.
    """
    office.settings |= signers.settings | {"SOURCE_VERIFY": mode}
    office.upload("anna")
    kept = signed(source, signers, "allowed")
    source.push()
    with office.running():
        done(office, "anna")
        office.acts_on(kept)
        for kind, reason in REFUSED.items():
            office.upload("mallory")
            refused = signed(source, signers, kind)
            source.push()
            shows(office, refused=refused, refused_commit=refused, refused_reason=reason, revision=kept)
            git(source.desk, "reset", "-q", "--hard", kept)
            source.push("--force")
            shows(office, refused=None)
        office.upload("bert")
        below = signed(source, signers, None)
        office.upload("cleo")
        head = signed(source, signers, "allowed")
        source.push()
        if mode == "head":
            done(office, "anna", "bert", "cleo")
        else:
            shows(office, refused=head, refused_commit=below, refused_reason="unsigned", revision=kept)
            assert office.run("approve", "--yes") == 0
            office.upload("dora")
            head = signed(source, signers, "allowed")
            source.push()
            shows(office, refused=head, refused_commit=below, revision=kept)  # an approval does not replace a signature
    assert set(office.seen()) == ({"anna", "bert", "cleo"} if mode == "head" else {"anna"})
    assert started(office) == len(office.seen())


@pytest.mark.sandbox(delay="100ms")
def test_the_signer_of_a_request_is_in_its_evidence_until_it_is_forgotten(
    office: Office, source: Repository, signers: Ssh | OpenPgp
) -> None:
    """[I5, I6] who-asked, certificate and export name the signer; the audit log verifies before and after `forget`."""
    office.settings |= signers.settings | {"SOURCE_VERIFY": "each"}
    office.upload("anna")
    commit = signed(source, signers, "allowed")
    source.push()
    with office.running():
        done(office, "anna")
        who = "allowed@example.test"
        (asked,) = office.json("audit", "query", "who-asked", "name=anna")["items"]
        assert commit in asked.values()
        assert any(who in str(value) for value in asked.values())
        ((proof,),) = (one["signed"] for one in office.json("audit", "certificate", "anna")["items"])
        assert (proof["generation"], proof["fileCommit"]) == (1, commit)
        assert who in proof["signedBy"]
        exported = office.folder / "export.jsonl"
        assert office.run("audit", "export", "--to", str(exported)) == 0
        assert "originDigests" in exported.read_text()
        assert who not in exported.read_text()  # a digest under the key of the store
        (source.specs / "anna.yaml").unlink()
        signed(source, signers, "allowed")
        source.push()
        uid = office.seen()["anna"]["uid"]
        eventually(lambda: office.run("forget", "anna", "--yes") == 0)  # refused until two scans missed the file
        (asked,) = office.json("audit", "query", "who-asked", f"name={uid}")["items"]
        assert not any(who in str(value) for value in asked.values())
        assert [one["signed"] for one in office.json("audit", "certificate", uid)["items"]] == [[]]
    assert office.run("audit", "verify") == 0
