"""The provenance of request files in a revision: the revision, the last commit of each file, its author and signer."""

import os
import posixpath
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from dulwich.object_format import SHA1, SHA256

from agent.core.source_revision import RevisionRefusal
from agent.source.git_last_commit import Gap, Lineage
from agent.source.git_objects import Entry, Missing, Objects, TooLong
from agent.source.git_provenance import TIMEOUT_SECONDS, Provenance
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.selection import LONGEST_TARGET, MOST_LINKS
from agent.source.revisions.signatures import UNVERIFIED, Signature, SignatureVerifier

PROOF_SECONDS = 60.0  # for all files of one scan, if each of them needs a signer

_FEW = 100  # up to so many files have walks of their own; more of them share one walk for all files of the revision
_FOLDER = 0o040000


@dataclass(frozen=True, slots=True)
class _Origin:
    """The last commits of a file and of the links that lead to it, the newest first, and the author of the newest."""

    commits: Sequence[str]
    author: str


class RevisionProvenance:
    """A query for the files of one revision, as `GitQuery` for a checkout."""

    def __init__(
        self,
        mirror: Mirror,
        verifier: SignatureVerifier | None,
        commit: str,
        path: str,
        each: bool,
        earlier: "RevisionProvenance | None" = None,
    ) -> None:
        """`earlier` is the query of an earlier scan. If it is for the same revision, its walk goes on."""
        self._mirror, self._verifier, self._commit, self._each = mirror, verifier, commit, each
        self._prefix = f"{path.strip('/')}/".removeprefix("/")
        self._left = PROOF_SECONDS if each else TIMEOUT_SECONDS
        self._walk: Lineage | None = None  # of all files of the revision
        self._alone = 0  # files that had walks of their own
        if earlier is not None and (earlier._commit, earlier._prefix) == (commit, self._prefix):
            self._walk, self._alone = earlier._walk, earlier._alone

    def provenance(self, files: Collection[str]) -> Mapping[str, Provenance]:
        """The provenance of each file. Never raises.

        With `each`, a file whose last commit is not signed by an allowed signer has a `refusal`. For a file that links
        lead to, the last commit of each link needs a signature as well. The newest of these commits is named.
        """
        began, gap = monotonic(), Gap.SLOW
        found: dict[str, _Origin] = {}
        form = SHA1 if len(self._commit) == SHA1.hex_length else SHA256
        try:
            with Objects(str(self._mirror.objects), form) as objects:
                objects.deadline = began + self._left
                gap = self._read(objects, files, found)
        except TooLong:
            gap = Gap.SLOW
        except Missing:
            gap = Gap.MISSING
        except Exception:  # provenance must never stop a scan
            gap = Gap.DAMAGED
        self._left = max(0.0, self._left - (monotonic() - began))
        wanted = {commit for origin in found.values() for commit in origin.commits} if self._each else set[str]()
        signed = self._verifier.verify(wanted) if self._verifier is not None else {}
        return {file: self._about(found.get(file), gap, signed) for file in files}

    def _read(self, objects: Objects, files: Collection[str], found: dict[str, _Origin]) -> Gap:
        """Add the origin of each file, as far as it is known before the deadline; why the others are not."""
        paths = {file: self._paths(objects, file) for file in files}
        wanted = {path for each in paths.values() for path in each}
        lineage = self._followed(objects, wanted)
        lineage.start(objects)
        try:
            lineage.advance(objects, wanted)
        except TooLong:
            gap = Gap.SLOW
        else:
            gap = next(iter(lineage.gaps.values()), Gap.MISSING)
        objects.deadline = float("inf")
        for file, names in paths.items():
            if names and all(name in lineage.commits for name in names):
                found[file] = _origin(objects, lineage, names)
        return gap

    def _followed(self, objects: Objects, paths: Collection[str]) -> Lineage:
        """The walk that includes these paths."""
        if self._walk is None and self._alone + len(paths) <= _FEW:
            self._alone += len(paths)
            return self._lineage(paths)
        if self._walk is None:
            self._walk = self._lineage(list(_all(objects, self._folder(objects))))
        return self._walk

    def _lineage(self, paths: Collection[str]) -> Lineage:
        return Lineage(self._commit.encode(), self._prefix, paths, ())

    def _about(self, origin: _Origin | None, gap: Gap, signed: Mapping[str, Signature]) -> Provenance:
        if origin is None:
            refusal = RevisionRefusal.UNVERIFIED if self._each else None
            return Provenance(commit=self._commit, dirty=False, gap=gap, refusal=refusal)
        known = Provenance(commit=self._commit, dirty=False, author=origin.author or None)
        if not self._each:
            return known
        signatures = [signed.get(commit, UNVERIFIED) for commit in origin.commits]
        for commit, signature in zip(origin.commits, signatures, strict=True):
            if signature.refusal is not None:
                return replace(known, file_commit=commit, refusal=signature.refusal)
        return replace(known, file_commit=origin.commits[0], signer=signatures[0].signer)

    def _paths(self, objects: Objects, file: str) -> Sequence[str]:
        """The path of a file and of every link that leads to it; empty if it is not in the revision.

        A printable path with a backslash may be escaped, so the file cannot be found by it.
        """
        found, rest, at = list[str](), file.split("/"), list[str]()
        entries = [self._folder(objects)]
        while rest and "\\" not in file:
            name = rest.pop(0)
            entry = entries[-1].get(os.fsencode(name))
            if entry is None:
                return ()
            at.append(name)
            if stat.S_ISLNK(entry[0]):
                found.append("/".join(at))
                target = posixpath.normpath("/".join([*at[:-1], self._target(entry[1]), *rest]))
                if target.startswith(("/", "../")) or len(found) > MOST_LINKS:
                    return ()
                rest, at, entries = target.split("/"), [], entries[:1]
            elif entry[0] == _FOLDER:
                entries.append(objects.folder(entry[1]).entries())
            elif not rest:
                return (*found, "/".join(at))
            else:
                return ()
        return ()

    def _target(self, blob: bytes) -> str:
        """The target of a link. A long or missing one leads out of the revision."""
        for _, content in self._mirror.contents([blob.decode()], LONGEST_TARGET):
            if isinstance(content, bytes):
                return os.fsdecode(content)
        return "/"

    def _folder(self, objects: Objects) -> Mapping[bytes, Entry]:
        """The entries of the folder of request files."""
        entries = objects.folder(objects.commit(self._commit.encode()).tree).entries()
        for part in self._prefix.split("/")[:-1]:
            entry = entries.get(os.fsencode(part))
            entries = objects.folder(entry[1] if entry is not None and entry[0] == _FOLDER else None).entries()
        return entries


def _all(objects: Objects, entries: Mapping[bytes, Entry], above: str = "") -> Iterator[str]:
    """The path of every file and link below a folder."""
    for name, (mode, of) in entries.items():
        path = above + os.fsdecode(name)
        if mode == _FOLDER:
            yield from _all(objects, objects.folder(of).entries(), f"{path}/")
        else:
            yield path


def _origin(objects: Objects, lineage: Lineage, paths: Sequence[str]) -> _Origin:
    last = {lineage.commits[path]: lineage.authors[path] for path in paths}
    if len(last) > 1:  # of a file that links lead to
        newest_first = sorted(last, key=lambda name: objects.commit(name.encode()).commit_time, reverse=True)
        last = {name: last[name] for name in newest_first}
    return _Origin(list(last), next(iter(last.values())))
