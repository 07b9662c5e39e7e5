"""Whether the agent may act on a fetched revision: its lineage and its signatures."""

from typing import Literal

from agent.core.source_revision import RevisionRefusal
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
    """Why the agent may not act on `head`, and the commit that is the reason; None if it may.

    `acted` is the revision that the agent acts on, `approved` the one that the operator approved.
    """
    raise NotImplementedError
