"""The signers of commits, by an allowed-signers file (SSH) or a keyring (OpenPGP).

git itself verifies, in one process for many commits. Each commit is read here first: git stops at a signature of an
unknown kind. It also reports a signature that it could not check as no signature.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

from dulwich.object_format import SHA1, SHA256

from agent.core.errors import AgentError
from agent.core.source_revision import RevisionRefusal
from agent.source.git_objects import Damaged, Missing, Objects
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.signers import CannotVerify, Signers

_FORMAT = "%H%x00%G?%x00%GS%x00%GF%x00%GG"  # with -z, each field ends with a NUL
_FIELDS = 5
_OTHER_USE = "not permitted for use in signature namespace"  # ssh-keygen about a key that may sign, but no commits
_TOGETHER = 100  # commits of one process
_SECONDS = 120.0  # for all commits of one call
_REMEMBERED_SECONDS = 600.0  # of a refusal, and of an OpenPGP signature: its key may expire
_REMEMBERED = 100_000
_LARGEST_SIGNATURE = 64 << 10  # bytes
_LONGEST_NAME = 200
_LONGEST_KEY = 64
_BY_LETTER = {
    "B": RevisionRefusal.BAD_SIGNATURE,
    "E": RevisionRefusal.UNKNOWN_SIGNER,
    "U": RevisionRefusal.UNKNOWN_SIGNER,
    "X": RevisionRefusal.EXPIRED_KEY,
    "Y": RevisionRefusal.EXPIRED_KEY,
    "R": RevisionRefusal.REVOKED_KEY,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """The result for one commit: either a signer (principal or user id, and the key's fingerprint), or a refusal."""

    signer: str | None
    refusal: RevisionRefusal | None


UNVERIFIED = Signature(None, RevisionRefusal.UNVERIFIED)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of git about a commit: the letter of `%G?`, the signer's name, and the key's fingerprint."""

    letter: str
    name: str
    key: str


class SignatureVerifier:
    """Verifies commits of a mirror.

    A good SSH signature is remembered until the files of signers change, any other result for ten minutes at most.
    """

    def __init__(
        self,
        mirror: Mirror,
        allowed_signers: Path | None,
        revoked_signers: Path | None,
        keyring: Path | None,
        folder: Path,  # for copies of the files, and for gpg's own files
    ) -> None:
        self._mirror = mirror
        self._signers = Signers(allowed_signers, revoked_signers, keyring, folder)
        self._known: dict[str, tuple[float, Signature]] = {}  # until when, by the monotonic clock

    def problem(self) -> AgentError | None:
        """Why no signature can be checked now; None if they can. It reads the files of signers again."""
        try:
            if self._signers.refresh():
                self._known.clear()
        except CannotVerify as error:
            self._known.clear()
            return error
        return None

    def verify(self, commits: Collection[str]) -> Mapping[str, Signature]:
        """The signature of each commit. Never raises: a commit that cannot be checked is UNVERIFIED."""
        if not commits:
            return {}
        if self.problem() is not None:
            return dict.fromkeys(commits, UNVERIFIED)
        now = monotonic()
        self._forget(now)
        new = [commit for commit in dict.fromkeys(commits) if commit not in self._known]
        try:
            found = self._refused_at_once(new)
            signed = [commit for commit in new if commit not in found]
            found |= self._checked(signed, now + _SECONDS)
        except (FetchError, OSError):
            found = {}
        for commit, signature in found.items():
            if signature != UNVERIFIED:
                lasting = signature.signer is not None and signature.signer.rpartition(" ")[2].startswith("SHA256:")
                self._known[commit] = (inf if lasting else now + _REMEMBERED_SECONDS), signature
        return {commit: self._known[commit][1] if commit in self._known else UNVERIFIED for commit in commits}

    def _forget(self, now: float) -> None:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        for commit in [one for one, (until, _) in self._known.items() if now > until]:
            del self._known[commit]

    def _refused_at_once(self, commits: Sequence[str]) -> dict[str, Signature]:
        """The commits that git need not check, each with its refusal."""
        lengths = (SHA1.hex_length, SHA256.hex_length)
        found = dict.fromkeys((commit for commit in commits if len(commit) not in lengths), UNVERIFIED)
        for form in (SHA1, SHA256):
            names = [commit for commit in commits if len(commit) == form.hex_length]
            if not names:
                continue
            header = b"gpgsig" if form is SHA1 else b"gpgsig-sha256"
            with Objects(str(self._mirror.objects), form) as objects:
                for name in names:
                    refusal = self._refusal(objects, name, header)
                    if refusal is not None:
                        found[name] = Signature(None, refusal)
        return found

    def _refusal(self, objects: Objects, name: str, header: bytes) -> RevisionRefusal | None:
        """Why git need not check a commit."""
        try:
            signatures = list(_signatures(objects.commit(name.encode()).as_raw_string(), header))
        except (Missing, Damaged):
            return RevisionRefusal.UNVERIFIED
        if not signatures:
            return RevisionRefusal.UNSIGNED
        kind = signatures[0].partition(b"\n")[0].rstrip()
        if len(signatures) > 1 or len(signatures[0]) > _LARGEST_SIGNATURE or not kind.startswith(b"-----BEGIN "):
            return RevisionRefusal.BAD_SIGNATURE
        return None if kind in self._signers.kinds else RevisionRefusal.UNKNOWN_SIGNER

    def _checked(self, commits: Sequence[str], deadline: float) -> dict[str, Signature]:
        """The signatures of signed commits. A commit that git could not check is absent."""
        answers = dict(self._answers(commits, deadline, revocations=True))
        bad = [commit for commit, one in answers.items() if one.letter == "B"]  # also for a revoked SSH key
        without = dict(self._answers(bad, deadline, revocations=False)) if self._signers.has_revocations else {}
        revoked = {commit for commit, one in without.items() if one.letter == "G"}
        return {
            commit: Signature(None, RevisionRefusal.REVOKED_KEY) if commit in revoked else self._signature(one)
            for commit, one in answers.items()
            if one.letter == "G" or one.letter in _BY_LETTER
        }

    def _answers(self, commits: Sequence[str], deadline: float, revocations: bool) -> Iterator[tuple[str, _Answer]]:
        """Ask git about signed commits. If it fails for many commits, it is asked about fewer."""
        for start in range(0, len(commits), _TOGETHER):
            waiting = [commits[start : start + _TOGETHER]]
            while waiting and monotonic() < deadline:
                part = waiting.pop()
                try:
                    yield from self._ask(part, revocations)
                except FetchError:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]] if half else []

    def _ask(self, commits: Sequence[str], revocations: bool) -> Iterator[tuple[str, _Answer]]:
        output = self._mirror.run(
            *("log", "-z", "--no-walk=unsorted", "--stdin", "--no-mailmap", "--no-notes", "--no-show-signature"),
            *("--no-patch", "--encoding=UTF-8", f"--format=tformat:{_FORMAT}"),
            stdin="".join(f"{commit}\n" for commit in commits).encode(),
            variables=self._signers.variables(revocations),
        )
        fields = output.decode(errors="replace").split("\0")[:-1]
        if len(fields) != _FIELDS * len(commits):
            return
        for at, commit in enumerate(commits):
            named, letter, name, key, text = fields[_FIELDS * at : _FIELDS * (at + 1)]
            if named == commit:
                yield commit, _Answer("U" if letter == "B" and _OTHER_USE in text else letter, name, key)

    def _signature(self, answer: _Answer) -> Signature:
        if answer.letter in "GU" and self._signers.is_revoked(answer.key):
            return Signature(None, RevisionRefusal.REVOKED_KEY)
        if answer.letter == "U" and self._signers.was_limited(answer.key):
            return Signature(None, RevisionRefusal.EXPIRED_KEY)
        if answer.letter != "G" or not answer.key:
            return Signature(None, _BY_LETTER.get(answer.letter, RevisionRefusal.UNKNOWN_SIGNER))
        return Signature(f"{_plain(answer.name, _LONGEST_NAME)} {_plain(answer.key, _LONGEST_KEY)}".strip(), None)


def _signatures(commit: bytes, header: bytes) -> Iterator[bytes]:
    """The signatures in the header of a commit, as git reads them."""
    found: list[bytes] | None = None
    for line in commit.partition(b"\n\n")[0].split(b"\n"):
        if found is not None and line.startswith(b" "):
            found.append(line[1:])
            continue
        if found is not None:
            yield b"\n".join(found)
        found = [line[len(header) + 1 :]] if line.startswith(header + b" ") else None
    if found is not None:
        yield b"\n".join(found)


def _plain(text: str, longest: int) -> str:
    """The printable characters of a text, at most so many."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())[:longest]
