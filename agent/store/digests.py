"""Keyed digests of names, labels and authors in the events of their request [I5, I6].

Names, labels and authors are personal and erasable, so no event contains them. An event contains their HMAC-SHA256
instead, under the key next to the store, with a salt for each request (`requests.salt`). `audit verify` computes the
digests again from the tables. `forget` erases the salt with the name. Without the salt, not even the holder of the key
can test a guess.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.step import Author, Step
from agent.store.identity_key import Keys

NAME, LABELS, AUTHORS, FORGOTTEN = "nameDigest", "labelsDigest", "authorDigests", "forgotten"


@dataclass(frozen=True, slots=True)
class RequestDigests:
    """The digests of one request."""

    keys: Keys
    uid: str
    salt: str

    def name(self, source: str, name: str) -> str:
        """The digest of a name within its source."""
        return self._seal(NAME, source, name)

    def labels(self, labels: Iterable[Sequence[str]]) -> str:
        """The digest of all labels. Their order makes no difference."""
        return self._seal(LABELS, sorted(map(list, labels)))

    def author(self, author: Author) -> str:
        """The digest of the file of a generation and its author."""
        return self._seal(AUTHORS, *author)

    def _seal(self, kind: str, *parts: Any) -> str:
        return self.keys.seal(kind, self.uid, self.salt, *parts)


def request_digests(step: Step, salt: str | None, keys: Keys) -> tuple[str | None, dict[str, Any]]:
    """The salt of the request after this step, and the digests for its last event."""
    record = step.record
    if salt is None:
        if not record.name or not step.events:
            return None, {}
        sealer = RequestDigests(keys, record.uid, secrets.token_hex(16))
        whole = {NAME: sealer.name(record.source, record.name), LABELS: sealer.labels(record.desired.labels)}
        return sealer.salt, whole | _authors(sealer, step.authors)
    named, labeled, authors = step.name_changed, step.labels_changed, step.authors
    if not (named or labeled or authors):
        return salt, {}
    sealer = RequestDigests(keys, record.uid, salt)
    digests: dict[str, Any] = {}
    if named:
        digests[NAME] = sealer.name(record.source, record.name)
    if labeled:
        digests[LABELS] = sealer.labels(record.desired.labels)
    return salt, digests | _authors(sealer, authors)


def _authors(sealer: RequestDigests, authors: Iterable[Author]) -> dict[str, Any]:
    digests = {str(author[0]): sealer.author(author) for author in authors}
    return {AUTHORS: digests} if digests else {}


def forgotten_digest(keys: Keys, uid: str, seq: int) -> str:
    """The digest in the event of an erased name. It proves that the holder of the key wrote the event."""
    return keys.seal(FORGOTTEN, uid, seq)
