"""The verdict on a fetched revision, by its lineage and its signatures."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from dulwich.object_format import SHA1, SHA256

from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.source.git_objects import Damaged, Missing, Objects
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.merges import decides
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.signatures import SignatureVerifier

Verify = Literal["off", "head", "each"]


def refusal(
    mirror: Mirror,
    verifier: SignatureVerifier | None,
    verify: Verify,
    path: str,
    head: str,
    acted: str | None,
    approved: str | None,
) -> tuple[RevisionRefusal, str] | None:
    """Why the agent may not act on `head`, and the commit that is the reason; None if it may. Raises FetchError.

    `acted` is the revision that the agent acts on, `approved` the one that the operator approved.
    """
    known = acted is not None and (acted == head or mirror.has(acted))
    if acted is not None and approved != head and not (known and _descends(mirror, acted, head)):
        return RevisionRefusal.NOT_DESCENDED, head
    if verify == "off":
        return None
    if verify == "head":
        judged: Sequence[str] = [head]
    elif acted is not None and known and acted != head:
        judged = _changes(mirror, path, acted, head)
    else:
        judged = []  # of a first revision, the last commit of each document counts
    signatures = verifier.verify(judged) if verifier is not None else {}
    for commit in judged:
        signature = signatures.get(commit)
        reason = signature.refusal if signature is not None else RevisionRefusal.UNVERIFIED
        if reason is not None:
            return reason, commit
    return None


def _descends(mirror: Mirror, acted: str, head: str) -> bool:
    return acted == head or mirror.is_ancestor(acted, head)


def _changes(mirror: Mirror, path: str, acted: str, head: str) -> list[str]:
    """The new commits that change something below the path, and the new merges that decide something there."""
    listed = mirror.run("rev-list", "--merges", "--reverse", "--topo-order", f"{acted}..{head}")
    merges = dict.fromkeys(listed.decode().split())
    ordinary = [commit for commit in mirror.commits_since(acted, head, path) if commit not in merges]

    @cache
    def bases(one: str, two: str) -> list[str]:
        return mirror.run("merge-base", "--all", one, two, codes=(0, 1)).decode().split()

    try:
        with Objects(str(mirror.objects), SHA1 if len(head) == SHA1.hex_length else SHA256) as objects:
            return ordinary + [merge for merge in merges if decides(objects, path, merge, bases)]
    except (Missing, Damaged, RecursionError) as error:
        raise FetchError(FetchFailure.DAMAGED, "a commit or a folder cannot be read") from error
