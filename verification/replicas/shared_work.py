"""The duties of the replicas and their circuit breaker, in the model of the database."""

import math
from typing import Any
from uuid import UUID

import orjson

from verification.replicas.database import DatabaseModel

_RECENT = 10.0  # the age of a search for images, in its spans, after which it counts no more


class ReplicatedDatabase(DatabaseModel):
    """The server, with all its functions."""

    def take_duty(self, epoch: UUID, name: str, every: float) -> bool | None:
        """Take periodic work."""
        if not self.holds_lease(epoch):
            return None
        now, (holder, next_at) = self.now(), self.shared.duties.get(name, (None, 0.0))
        free = holder == epoch or holder not in self.shared.replicas
        if next_at <= now or next_at > now + every or free:
            self.shared.duties[name] = epoch, now + every
            return True
        return False

    def hold_turn(self, epoch: UUID, name: str) -> bool | None:
        """Take or keep a turn."""
        if not self.holds_lease(epoch):
            return None
        holder, _ = self.shared.duties.get(name, (None, 0.0))
        if holder != epoch and holder in self.shared.replicas:
            return False
        self.shared.duties[name] = epoch, self.now()
        return True

    def release_turn(self, epoch: UUID, name: str) -> None:
        """Give a turn back."""
        holder, next_at = self.shared.duties.get(name, (None, 0.0))
        if holder == epoch:
            self.shared.duties[name] = None, next_at

    def note_missing_image(self, epoch: UUID, uid: str, moment: float, enough: int, seconds: float) -> bool | None:
        """Note a search without a result."""
        if not self.holds_lease(epoch):
            return None
        notes, oldest = self.shared.missing_images, moment - _RECENT * seconds
        since, searches = notes.get((uid, epoch), (moment, 0))
        notes[uid, epoch] = (since, searches + 1) if since > oldest else (moment, 1)
        found = [
            one for key, one in notes.items() if key[0] == uid and key[1] in self.shared.replicas and one[0] > oldest
        ]
        several = len(found) >= min(2, max(1, len(self._living())))
        return several and sum(one[1] for one in found) >= enough and min(one[0] for one in found) <= moment - seconds

    def found_images(self, epoch: UUID, uid: str) -> None:
        """Forget the searches."""
        if self.holds_lease(epoch):
            notes = self.shared.missing_images
            self.shared.missing_images = {key: one for key, one in notes.items() if key[0] != uid}

    # -- the circuit breaker -----------------------------------------------------------------------------------------

    def open_circuit(
        self, epoch: UUID, cause: str, since: float, interval: float, probe_at: float, urgent: bool
    ) -> bool | None:
        """Open the circuit."""
        if not self.holds_lease(epoch):
            return None
        circuit = self.shared.circuit
        if not (circuit.get("cause") is None or self._is(cause, since) or urgent):
            return False
        circuit |= {"cause": cause, "since": since, "interval_seconds": interval, "probe_at": probe_at}
        return True

    def reschedule_probe(self, epoch: UUID, cause: str, since: float, interval: float, probe_at: float) -> bool | None:
        """Set the next probe."""
        if not self.holds_lease(epoch):
            return None
        if self._is(cause, since):
            self.shared.circuit |= {"interval_seconds": interval, "probe_at": probe_at}
        return self._is(cause, since)

    def close_circuit(self, epoch: UUID, cause: str, since: float) -> bool | None:
        """Close this circuit."""
        if not self.holds_lease(epoch):
            return None
        if not self._is(cause, since):
            return False
        self.shared.circuit["cause"] = None
        self.shared.missing_dossiers.clear()
        return True

    def take_probe(self, epoch: UUID, cause: str, since: float, moment: float, next_at: float) -> bool | None:
        """Take the due probe."""
        if not self.holds_lease(epoch):
            return None
        due = self._is(cause, since) and self.shared.circuit["probe_at"] <= moment
        if due:
            self.shared.circuit["probe_at"] = next_at
        return due

    def pause_calls(self, epoch: UUID, begin: float, end: float) -> bool | None:
        """Pause all calls."""
        if not self.holds_lease(epoch):
            return None
        circuit = self.shared.circuit
        known_begin, known_end = circuit.get("pause_begin", begin), circuit.get("pause_end", -math.inf)
        longer = bool(known_end < end or known_begin > begin)
        if longer:
            circuit |= {"pause_begin": begin, "pause_end": end}
        return longer

    def trust_missing(self, epoch: UUID, begin: float, end: float) -> bool | None:
        """Trust missing dossiers."""
        if not self.holds_lease(epoch):
            return None
        circuit = self.shared.circuit
        cause = circuit.get("cause")
        circuit |= {"trust_begin": begin, "trust_end": end, "cause": None if cause == "missing" else cause}
        self.shared.missing_dossiers.clear()
        return True

    def count_missing(self, epoch: UUID, dossier: str, most: int) -> Any:
        """Count an unexpected 404."""
        if not self.holds_lease(epoch):
            return None
        missing = self.shared.missing_dossiers
        missing[dossier] = min(missing.get(dossier, 0) + 1, most)
        return orjson.dumps(missing).decode()

    def found_dossier(self, epoch: UUID) -> bool | None:
        """Forget the missing dossiers."""
        if not self.holds_lease(epoch):
            return None
        self.shared.missing_dossiers.clear()
        return True

    def _is(self, cause: str, since: float) -> bool:
        circuit = self.shared.circuit
        return circuit.get("cause") == cause and circuit.get("since") == since
