"""The last commit of each request file of a revision, and its signer."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.core.source_revision import RevisionRefusal
from agent.source import git_last_commit
from agent.source.git_last_commit import Gap
from agent.source.git_provenance import Provenance
from agent.source.revisions import provenance as module
from agent.source.revisions.provenance import RevisionProvenance
from agent.source.revisions.signatures import SignatureVerifier
from tests.support.signing import SignedRepository

UNSIGNED = RevisionRefusal.UNSIGNED
UNVERIFIED = RevisionRefusal.UNVERIFIED


class Query:
    """A query for the head of the clone; alice and bob may sign."""

    def __init__(self, signed: SignedRepository, ssh: SimpleNamespace, folder: Path) -> None:
        self.signed, allowed = signed, folder / "allowed"
        allowed.write_text(f"alice@example.com {ssh.alice.public}\nbob@example.com {ssh.bob.public}\n")
        self.verifier = SignatureVerifier(signed.mirror, allowed, None, None, folder / "own")
        self.signers = {key: f"{key}@example.com {getattr(ssh, key).fingerprint}" for key in ("alice", "bob")}

    def about(self, *files: str, path: str = "requests", each: bool = True) -> Mapping[str, Provenance]:
        """The provenance of these files."""
        verifier = self.verifier if each else None
        mirror = self.signed.pushed()
        return RevisionProvenance(mirror, verifier, self.signed.head(), path, each).provenance(files)

    def by(self, key: str, file_commit: str) -> Provenance:
        """The provenance of a file that a key signed."""
        head = self.signed.head()
        return Provenance(
            commit=head, dirty=False, author="Somebody", file_commit=file_commit, signer=self.signers[key]
        )

    def refused(self, refusal: RevisionRefusal, file_commit: str) -> Provenance:
        """The provenance of a file without a signature that counts."""
        head = self.signed.head()
        return Provenance(commit=head, dirty=False, author="Somebody", file_commit=file_commit, refusal=refusal)

    def unproved(self, gap: Gap) -> Provenance:
        """The provenance of a file of unknown origin."""
        return Provenance(commit=self.signed.head(), dirty=False, gap=gap, refusal=UNVERIFIED)


@pytest.fixture
def query(signed: SignedRepository, ssh: SimpleNamespace, tmp_path: Path) -> Query:
    return Query(signed, ssh, tmp_path)


def test_each_file_has_its_last_commit_and_its_signer(
    signed: SignedRepository, query: Query, ssh: SimpleNamespace
) -> None:
    first = signed.commit(ssh.alice, {"requests/a.yaml": "1", "requests/team/b.yaml": "1", "requests/c.yaml": "1"})
    second = signed.commit(ssh.bob, {"requests/a.yaml": "2"})
    third = signed.commit(files={"requests/c.yaml": "2"})
    signed.commit(files={"elsewhere.yaml": "1"})
    assert query.about("a.yaml", "team/b.yaml", "c.yaml") == {
        "a.yaml": query.by("bob", second),
        "team/b.yaml": query.by("alice", first),
        "c.yaml": query.refused(UNSIGNED, third),
    }
    assert query.about("requests/a.yaml", path="") == {"requests/a.yaml": query.by("bob", second)}


def test_without_each_only_the_author_is_known(signed: SignedRepository, query: Query) -> None:
    head = signed.commit(files={"requests/a.yaml": "1"})
    found = query.about("a.yaml", each=False)
    assert found == {"a.yaml": Provenance(commit=head, dirty=False, author="Somebody")}


def test_a_file_without_known_origin_is_refused(signed: SignedRepository, query: Query, ssh: SimpleNamespace) -> None:
    signed.commit(ssh.alice, {"requests/a.yaml": "1", "requests/b\\c.yaml": "1"})
    for name in ("missing.yaml", "b\\c.yaml", "a.yaml/b.yaml", "", "../requests/a.yaml", "/a.yaml"):
        found = query.about(name)[name]
        assert (found.refusal, found.signer, found.file_commit) == (UNVERIFIED, None, None), name
    found = RevisionProvenance(signed.mirror, None, signed.head(), "requests", each=True).provenance(["a.yaml"])
    assert found["a.yaml"].refusal == UNVERIFIED


def test_a_copy_or_a_rename_of_a_signed_file_needs_a_signature(
    signed: SignedRepository, query: Query, ssh: SimpleNamespace
) -> None:
    signed.commit(ssh.alice, {"requests/a.yaml": "1"})
    (signed.clone / "requests/a.yaml").rename(signed.clone / "requests/b.yaml")
    renamed = signed.commit()
    assert query.about("b.yaml") == {"b.yaml": query.refused(UNSIGNED, renamed)}


def test_a_merge_counts_for_what_no_parent_has(signed: SignedRepository, query: Query, ssh: SimpleNamespace) -> None:
    text = "".join(f"{line}\n" for line in range(20))
    signed.commit(ssh.alice, {"requests/a.yaml": "1", "requests/b.yaml": "1", "requests/both.yaml": text})
    signed.git("checkout", "-q", "-b", "topic")
    theirs = signed.commit(ssh.bob, {"requests/b.yaml": "2", "requests/both.yaml": f"first\n{text}"})
    signed.git("checkout", "-q", "main")
    ours = signed.commit(ssh.alice, {"requests/a.yaml": "2", "requests/both.yaml": f"{text}last\n"})
    signed.git("merge", "-q", "-m", "a merge", "topic")
    assert query.about("a.yaml", "b.yaml", "both.yaml") == {
        "a.yaml": query.by("alice", ours),
        "b.yaml": query.by("bob", theirs),
        "both.yaml": query.refused(UNSIGNED, signed.head()),
    }


def test_of_links_each_one_needs_a_signature(signed: SignedRepository, query: Query, ssh: SimpleNamespace) -> None:
    folder = signed.clone / "requests"
    target = signed.commit(ssh.alice, {"requests/.v1/a.yaml": "1"}, at="2026-01-01T00:00:00Z")
    (folder / "data").symlink_to(".v1")
    (folder / "a.yaml").symlink_to("data/a.yaml")
    links = signed.commit(ssh.bob, at="2026-01-02T00:00:00Z")
    names = ("a.yaml", "data/a.yaml")
    assert query.about(*names) == dict.fromkeys(names, query.by("bob", links))
    target = signed.commit(ssh.alice, {"requests/.v1/a.yaml": "2"}, at="2026-01-03T00:00:00Z")
    assert query.about(*names) == dict.fromkeys(names, query.by("alice", target))
    unsigned = signed.commit(files={"requests/.v1/a.yaml": "3"}, at="2026-01-04T00:00:00Z")
    assert query.about(*names) == dict.fromkeys(names, query.refused(UNSIGNED, unsigned))
    signed.commit(ssh.alice, {"requests/.v1/a.yaml": "4"})
    (folder / "data").unlink()
    (folder / "data").symlink_to("./.v1")
    unsigned = signed.commit(at="2020-01-01T00:00:00Z")
    assert query.about(*names) == dict.fromkeys(names, query.refused(UNSIGNED, unsigned))


@pytest.mark.parametrize("target", ["../outside.yaml", "/etc/passwd", "a.yaml", "b.yaml", ".", "missing", "x" * 4000])
def test_a_link_out_of_the_folder_or_in_a_circle_is_refused(
    signed: SignedRepository, query: Query, ssh: SimpleNamespace, target: str
) -> None:
    signed.commit(files={"outside.yaml": "1", "requests/c.yaml": "1"})
    (signed.clone / "requests/a.yaml").symlink_to(target)
    (signed.clone / "requests/b.yaml").symlink_to("a.yaml")
    signed.commit(ssh.alice)
    assert [query.about(name)[name].refusal for name in ("a.yaml", "b.yaml")] == [UNVERIFIED] * 2


def test_many_files_share_one_walk(
    signed: SignedRepository, query: Query, ssh: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FEW", 4)
    names = [f"{number}.yaml" for number in range(12)]
    first = signed.commit(ssh.alice, {f"requests/{name}": "1" for name in names})
    for number in range(20):
        signed.commit(files={"elsewhere.yaml": str(number)})
    steps = list[bytes]()
    original = git_last_commit.Lineage._step

    def step(lineage: git_last_commit.Lineage, objects: object, name: bytes, *rest: object) -> None:
        steps.append(name)
        original(lineage, objects, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(git_last_commit.Lineage, "_step", step)
    mirror = signed.pushed()
    one = RevisionProvenance(mirror, query.verifier, signed.head(), "requests", each=True)
    expected = query.by("alice", first)
    for start in (0, 6):
        assert one.provenance(names[start : start + 6]) == dict.fromkeys(names[start : start + 6], expected)
    two = RevisionProvenance(mirror, query.verifier, signed.head(), "requests", each=True, earlier=one)
    assert two.provenance(names) == dict.fromkeys(names, expected)
    assert len(steps) == 21
    head = signed.commit(files={"requests/1.yaml": "2"})
    signed.pushed()
    three = RevisionProvenance(mirror, query.verifier, head, "requests", each=True, earlier=two)
    assert three.provenance(["1.yaml"]) == {"1.yaml": query.refused(UNSIGNED, head)}


def test_a_walk_without_time_refuses_and_goes_on_later(
    signed: SignedRepository, query: Query, ssh: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.yaml" for number in range(module._FEW + 1)]
    first = signed.commit(ssh.alice, {f"requests/{name}": "1" for name in names})
    signed.commit(files={"elsewhere.yaml": "1"})
    mirror = signed.pushed()
    with monkeypatch.context() as patched:
        patched.setattr(module, "PROOF_SECONDS", 0.0)
        one = RevisionProvenance(mirror, query.verifier, signed.head(), "requests", each=True)
        assert one.provenance(names) == dict.fromkeys(names, query.unproved(Gap.SLOW))
    two = RevisionProvenance(mirror, query.verifier, signed.head(), "requests", each=True, earlier=one)
    assert two.provenance(names) == dict.fromkeys(names, query.by("alice", first))


def test_an_incomplete_or_damaged_history_refuses(signed: SignedRepository, query: Query, ssh: SimpleNamespace) -> None:
    first = signed.commit(ssh.alice, {"requests/a.yaml": "1"})
    signed.commit(ssh.alice, {"requests/b.yaml": "1"})
    assert query.about("a.yaml") == {"a.yaml": query.by("alice", first)}
    signed.mirror.run("unpack-objects", "-q", stdin=packed(signed))
    loose = signed.mirror.objects / first[:2] / first[2:]
    loose.chmod(0o600)
    loose.write_bytes(b"damaged")
    head = RevisionProvenance(signed.mirror, query.verifier, signed.head(), "requests", each=True)
    assert head.provenance(["a.yaml"]) == {"a.yaml": query.unproved(Gap.DAMAGED)}
    loose.unlink()
    head = RevisionProvenance(signed.mirror, query.verifier, signed.head(), "requests", each=True)
    assert head.provenance(["a.yaml"]) == {"a.yaml": query.unproved(Gap.MISSING)}


def packed(signed: SignedRepository) -> bytes:
    """A pack with all objects of the mirror; the packs of the mirror are moved away."""
    (pack,) = (signed.mirror.objects / "pack").glob("*.pack")
    content = pack.read_bytes()
    (signed.mirror.objects / "pack").rename(signed.mirror.objects / "moved")
    (signed.mirror.objects / "pack").mkdir()
    return content
