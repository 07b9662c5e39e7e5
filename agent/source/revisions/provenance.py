"""The provenance of request files in a revision: the revision, the last commit of each file, its author and signer."""

from collections.abc import Collection, Mapping

from agent.source.git_provenance import Provenance
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.signatures import SignatureVerifier


class RevisionProvenance:
    """A query for the files of one revision, as `GitQuery` for a checkout."""

    def __init__(
        self, mirror: Mirror, verifier: SignatureVerifier | None, commit: str, path: str, each: bool
    ) -> None: ...

    def provenance(self, files: Collection[str]) -> Mapping[str, Provenance]:
        """The provenance of each file. Never raises.

        With `each`, a file whose last commit is not signed by an allowed signer has a `refusal`.
        """
        raise NotImplementedError
