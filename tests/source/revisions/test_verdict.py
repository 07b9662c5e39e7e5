"""The verdict on a fetched revision: its lineage, and the signatures of its commits."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.core.source_revision import RevisionRefusal
from agent.source.revisions.provenance import RevisionProvenance
from agent.source.revisions.signatures import SignatureVerifier
from agent.source.revisions.verdict import Verify, refusal
from tests.support.signing import SignedRepository, expire, gpg, revoke

UNSIGNED = RevisionRefusal.UNSIGNED
UNKNOWN = RevisionRefusal.UNKNOWN_SIGNER
NOT_DESCENDED = RevisionRefusal.NOT_DESCENDED

Verdict = Callable[..., tuple[RevisionRefusal, str] | None]


@pytest.fixture
def verdict(signed: SignedRepository, ssh: SimpleNamespace, tmp_path: Path) -> Verdict:
    """The verdict on the head of the clone; alice and bob may sign."""
    allowed = tmp_path / "allowed"
    allowed.write_text(f"alice@example.com {ssh.alice.public}\nbob@example.com {ssh.bob.public}\n")
    verifier = SignatureVerifier(signed.mirror, allowed, None, None, tmp_path / "own")

    def judge(
        verify: Verify, acted: str | None = None, approved: str | None = None, path: str = "requests"
    ) -> tuple[RevisionRefusal, str] | None:
        mirror = signed.pushed()
        return refusal(mirror, verifier if verify != "off" else None, verify, path, signed.head(), acted, approved)

    return judge


def test_a_descendant_is_acted_on(signed: SignedRepository, verdict: Verdict) -> None:
    first = signed.commit()
    assert verdict("off") is None
    assert verdict("off", acted=first) is None
    signed.commit()
    assert verdict("off", acted=first) is None


def test_a_force_push_needs_approval_of_exactly_this_revision(signed: SignedRepository, verdict: Verdict) -> None:
    first = signed.commit()
    acted = signed.commit(files={"requests/a.yaml": "1"})
    signed.pushed()
    signed.git("reset", "-q", "--hard", first)
    assert verdict("off", acted=acted) == (NOT_DESCENDED, first)  # an older revision
    pushed = signed.commit(files={"requests/a.yaml": "2"})
    assert verdict("off", acted=acted) == (NOT_DESCENDED, pushed)
    assert verdict("off", acted=acted, approved=first) == (NOT_DESCENDED, pushed)
    assert verdict("off", acted=acted, approved=pushed[:12]) == (NOT_DESCENDED, pushed)
    assert verdict("off", acted=acted, approved=pushed) is None


def test_a_revision_that_the_mirror_does_not_know_needs_approval(signed: SignedRepository, verdict: Verdict) -> None:
    head = signed.commit()
    assert verdict("off", acted="0" * 40) == (NOT_DESCENDED, head)
    assert verdict("off", acted="0" * 40, approved=head) is None
    assert verdict("each", acted="0" * 40, approved=head) is None  # as a first revision


def test_an_approved_revision_still_needs_signatures(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    first = signed.commit(ssh.alice)
    acted = signed.commit(ssh.alice, {"requests/a.yaml": "1"})
    signed.pushed()
    signed.git("reset", "-q", "--hard", first)
    unsigned = signed.commit(files={"requests/a.yaml": "2"})
    assert verdict("each", acted=acted, approved=unsigned) == (UNSIGNED, unsigned)
    assert verdict("head", acted=acted, approved=unsigned) == (UNSIGNED, unsigned)


def test_head_judges_the_head_only(signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace) -> None:
    acted = signed.commit(ssh.alice)
    signed.commit(files={"requests/a.yaml": "1"})
    signed.commit(ssh.alice)
    assert verdict("head", acted=acted) is None
    assert verdict("head") is None
    by_other = signed.commit(ssh.other)
    assert verdict("head", acted=acted) == (UNKNOWN, by_other)
    unsigned = signed.commit()
    assert verdict("head") == (UNSIGNED, unsigned)
    assert verdict("head", acted=unsigned) == (UNSIGNED, unsigned)


def test_each_judges_every_new_commit_of_the_folder(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    signed.commit(files={"requests/a.yaml": "1"})
    acted = signed.commit(ssh.alice, {"requests/a.yaml": "2"})
    signed.commit(files={"elsewhere/b.yaml": "1", "requests.yaml": "1"})  # unsigned, outside of the folder
    assert verdict("each", acted=acted) is None
    assert verdict("each", acted=acted, path="") == (UNSIGNED, signed.head())
    signed.commit(ssh.bob, {"requests/b.yaml": "1"})
    assert verdict("each", acted=acted) is None
    unsigned = signed.commit(files={"requests/a.yaml": "3"})
    assert verdict("each", acted=acted) == (UNSIGNED, unsigned)
    signed.commit(ssh.alice, {"requests/a.yaml": "4"})  # a signed commit on top does not cover it
    assert verdict("each", acted=acted) == (UNSIGNED, unsigned)
    assert verdict("each", acted=unsigned) is None


def test_a_first_revision_is_judged_by_its_documents(signed: SignedRepository, verdict: Verdict) -> None:
    signed.commit(files={"requests/a.yaml": "1"})
    assert verdict("each") is None


@pytest.mark.parametrize("change", ["delete", "rename", "revert", "mode", "link", "replace the folder"])
def test_every_kind_of_change_counts(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace, change: str
) -> None:
    signed.commit(ssh.alice, {"requests/a.yaml": "1"})
    acted = signed.commit(ssh.alice, {"requests/a.yaml": "2"})
    folder = signed.clone / "requests"
    if change == "delete":
        (folder / "a.yaml").unlink()
    elif change == "rename":
        (folder / "a.yaml").rename(folder / "b.yaml")
    elif change == "revert":
        signed.git("revert", "--no-commit", "HEAD")
    elif change == "mode":
        (folder / "a.yaml").chmod(0o755)
    elif change == "link":
        (folder / "b.yaml").symlink_to("a.yaml")
    else:
        folder.rename(signed.clone / "others")
        folder.symlink_to("others")
    unsigned = signed.commit()
    assert verdict("each", acted=acted) == (UNSIGNED, unsigned)


def merge(signed: SignedRepository, *branches: str, **options: object) -> str:
    signed.git("merge", "-q", "--no-ff", "-m", "a merge", *branches, **options)  # type: ignore[arg-type]
    return signed.head()


def branched(signed: SignedRepository, ssh: SimpleNamespace) -> str:
    """Two signed branches that both change the folder; the clone is on `main`. The commit before both."""
    acted = signed.commit(ssh.alice, {"requests/a.yaml": "1", "requests/b.yaml": "1", "requests/c.yaml": "1"})
    signed.git("checkout", "-q", "-b", "topic")
    signed.commit(ssh.bob, {"requests/b.yaml": "2"})
    signed.git("checkout", "-q", "main")
    signed.commit(ssh.alice, {"requests/a.yaml": "2"})
    return acted


def test_a_clean_merge_by_anybody_passes_with_each_and_not_with_head(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    acted = branched(signed, ssh)
    merged = merge(signed, "topic")
    assert verdict("each", acted=acted) is None
    assert verdict("head", acted=acted) == (UNSIGNED, merged)


def test_a_merge_of_an_unsigned_branch_is_refused(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    acted = branched(signed, ssh)
    signed.git("checkout", "-q", "topic")
    unsigned = signed.commit(files={"requests/c.yaml": "2"})
    signed.git("checkout", "-q", "main")
    merge(signed, "topic", key=ssh.alice)
    assert verdict("each", acted=acted) == (UNSIGNED, unsigned)
    assert verdict("head", acted=acted) is None


@pytest.mark.parametrize("key", [None, "bob"])
@pytest.mark.parametrize(
    "evil",
    [
        {"requests/a.yaml": "3"},
        {"requests/d.yaml": "1"},
        {"requests/c.yaml": None},
        {"requests/b.yaml": "1"},  # as in one parent: takes back what the other brought
        {"requests/b.yaml": None},
    ],
)
def test_a_merge_that_changes_a_file_is_judged(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace, evil: dict[str, str | None], key: str | None
) -> None:
    acted = branched(signed, ssh)
    merge(signed, "--no-commit", "topic")
    by = getattr(ssh, key) if key is not None else None
    merged = signed.commit(by, evil)
    assert verdict("each", acted=acted) == (None if by is not None else (UNSIGNED, merged))


def test_an_unsigned_merge_cannot_bring_back_an_old_state(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    old = signed.commit(ssh.alice, {"requests/a.yaml": "1"})
    acted = signed.commit(ssh.alice, {"requests/a.yaml": "2", "requests/b.yaml": "1"})
    tree = signed.git("rev-parse", f"{old}^{{tree}}")
    rolled_back = signed.git("commit-tree", "-p", acted, "-p", old, "-m", "a merge", tree)
    signed.git("reset", "-q", "--hard", rolled_back)
    assert verdict("each", acted=acted) == (UNSIGNED, rolled_back)


def test_an_octopus_and_a_merge_of_merges_pass(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    acted = branched(signed, ssh)
    for name in ("one", "two"):
        signed.git("checkout", "-q", "-b", name, acted)
        signed.commit(ssh.bob, {f"requests/{name}.yaml": "1"})
    signed.git("checkout", "-q", "main")
    octopus = merge(signed, "topic", "one", "two")
    assert len(signed.git("rev-parse", f"{octopus}^@").split()) == 4
    assert verdict("each", acted=acted) is None
    signed.git("checkout", "-q", "-b", "three", "one")
    merge(signed, "topic")
    signed.commit(ssh.alice, {"requests/three.yaml": "1"})
    signed.git("checkout", "-q", "main")
    merge(signed, "three")
    assert verdict("each", acted=acted) is None
    signed.commit(files={"requests/two.yaml": None})
    assert verdict("each", acted=acted) == (UNSIGNED, signed.head())


def test_a_merge_with_another_repository_brings_only_what_is_new(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    acted = signed.commit(ssh.alice, {"requests/a.yaml": "1"})
    signed.git("checkout", "-q", "--orphan", "foreign")
    signed.git("rm", "-q", "-r", "--cached", ".")
    (signed.clone / "requests/a.yaml").unlink()
    signed.commit(ssh.bob, {"requests/b.yaml": "1"})
    foreign = signed.head()
    signed.git("checkout", "-q", "main")
    merge(signed, "--allow-unrelated-histories", "foreign")
    assert verdict("each", acted=acted) is None
    tree = signed.git("rev-parse", f"{foreign}^{{tree}}")
    dropped = signed.git("commit-tree", "-p", acted, "-p", foreign, "-m", "a merge", tree)
    signed.git("reset", "-q", "--hard", dropped)
    assert verdict("each", acted=acted) == (UNSIGNED, dropped)


def test_a_squash_counts_as_the_commit_of_its_author(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    acted = branched(signed, ssh)
    before = signed.head()
    signed.git("merge", "-q", "--squash", "topic")
    unsigned = signed.commit()
    assert verdict("each", acted=acted) == (UNSIGNED, unsigned)
    signed.git("reset", "-q", "--hard", before)
    signed.git("merge", "-q", "--squash", "topic")
    signed.commit(ssh.alice)
    assert verdict("each", acted=acted) is None


def test_a_rebase_drops_signatures_unless_it_signs(
    signed: SignedRepository, verdict: Verdict, ssh: SimpleNamespace
) -> None:
    acted = branched(signed, ssh)
    signed.git("checkout", "-q", "-b", "rebased", "topic")
    signed.git("rebase", "-q", "main")
    assert verdict("each", acted=acted) == (UNSIGNED, signed.head())
    signed.git("checkout", "-q", "-b", "again", "topic")
    signed.git("rebase", "-q", "main", key=ssh.bob)
    assert verdict("each", acted=acted) is None


@pytest.mark.parametrize("tool", ["ssh", "pgp"])
def test_each_reason_refuses_in_both_modes_and_for_documents(
    signed: SignedRepository, request: pytest.FixtureRequest, tmp_path: Path, tool: str
) -> None:
    keys = request.getfixturevalue(tool)
    signed.commit(keys.alice, {"requests/a.yaml": "0"})
    commits = {
        UNSIGNED: signed.commit(files={"requests/a.yaml": "1"}),
        UNKNOWN: signed.commit(keys.other, {"requests/a.yaml": "2"}),
        RevisionRefusal.EXPIRED_KEY: signed.commit(keys.expired, {"requests/a.yaml": "3"}),
        RevisionRefusal.REVOKED_KEY: signed.commit(keys.revoked, {"requests/a.yaml": "4"}),
        RevisionRefusal.BAD_SIGNATURE: signed.forged(
            signed.commit(keys.alice, {"requests/a.yaml": "5"}), "a change", "another change"
        ),
        None: signed.commit(keys.alice, {"requests/a.yaml": "6"}),
    }
    mirror = signed.pushed()
    verifier = SignatureVerifier(mirror, *signer_files(tmp_path, tool, keys), tmp_path / "own")
    for reason, commit in commits.items():
        expected = None if reason is None else (reason, commit)
        parent = signed.git("rev-parse", f"{commit}^")
        assert refusal(mirror, verifier, "head", "requests", commit, parent, None) == expected
        assert refusal(mirror, verifier, "each", "requests", commit, parent, None) == expected
        about = RevisionProvenance(mirror, verifier, commit, "requests", each=True).provenance(["a.yaml"])["a.yaml"]
        assert (about.refusal, about.file_commit) == (reason, commit)
        assert (about.signer is None) == (reason is not None)


def signer_files(folder: Path, tool: str, keys: SimpleNamespace) -> tuple[Path | None, Path | None, Path | None]:
    """The files of allowed signers, of revoked ones, and the keyring."""
    allowed, revoked, keyring = folder / "allowed", folder / "revoked", folder / "keys.gpg"
    if tool == "pgp":
        expire(keys.expired)
        revoke(keys.revoked)
        gpg(
            keys.home,
            "--output",
            str(keyring),
            "--export",
            *(key.fingerprint for key in (keys.alice, keys.expired, keys.revoked)),
        )
        return None, None, keyring
    revoked.write_text(f"{keys.revoked.public}\n")
    allowed.write_text(
        f"alice@example.com {keys.alice.public}\nrevoked@example.com {keys.revoked.public}\n"
        f'expired@example.com valid-before="20200101Z" {keys.expired.public}\n'
    )
    return allowed, revoked, None


def test_without_a_verifier_nothing_is_verified(signed: SignedRepository, ssh: SimpleNamespace) -> None:
    head = signed.commit(ssh.alice)
    found = refusal(signed.pushed(), None, "head", "", head, None, None)
    assert found == (RevisionRefusal.UNVERIFIED, head)
