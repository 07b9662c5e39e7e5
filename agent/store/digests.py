"""Keyed digests of names, labels and origins of files in the events of their request [I5, I6].

Names, labels and origins are personal and erasable, so no event contains them. An event contains their HMAC-SHA256
instead, under the key next to the store, with a salt for each request (`requests.salt`). `audit verify` computes the
digests again from the tables. `forget` erases the salt with the name. Without the salt, not even the holder of the key
can test a guess.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.record import Origin
from agent.core.step import GenerationOrigin, Step
from agent.store.identity_key import Keys

NAME, LABELS, ORIGINS, FORGOTTEN = "nameDigest", "labelsDigest", "originDigests", "forgotten"


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

    def origin(self, generation: int, file: str, origin: Origin) -> str:
        """The digest of the file of a generation and its origin: the author, the last commit and its signer."""
        return self._seal(ORIGINS, generation, file, origin.author, origin.file_commit, origin.signer)

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
        return sealer.salt, whole | _origins(sealer, step.origins)
    named, labeled, origins = step.name_changed, step.labels_changed, step.origins
    if not (named or labeled or origins):
        return salt, {}
    sealer = RequestDigests(keys, record.uid, salt)
    digests: dict[str, Any] = {}
    if named:
        digests[NAME] = sealer.name(record.source, record.name)
    if labeled:
        digests[LABELS] = sealer.labels(record.desired.labels)
    return salt, digests | _origins(sealer, origins)


def _origins(sealer: RequestDigests, origins: Iterable[GenerationOrigin]) -> dict[str, Any]:
    digests = {str(origin[0]): sealer.origin(*origin) for origin in origins}
    return {ORIGINS: digests} if digests else {}


def forgotten_digest(keys: Keys, uid: str, seq: int) -> str:
    """The digest in the event of an erased name. It proves that the holder of the key wrote the event."""
    return keys.seal(FORGOTTEN, uid, seq)
