"""Ask the server for the head of the branch, its history, and blobs."""

import contextlib
import math
import re
from base64 import b64encode
from collections.abc import Collection, Sequence

from agent.core.errors import AgentError
from agent.core.source_revision import FetchFailure, is_object_id
from agent.platform.trusted_files import read_trusted
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError, failure_of
from agent.source.revisions.git_process import Bounds, Git
from agent.source.revisions.mirror_config import REMOTE, proxy_secrets, proxy_variables
from agent.source.revisions.mirror_folder import MirrorFolder

_HEAD_SECONDS = 30.0  # for the question for the head of the branch; the first calls to Assure wait for it
_MANY_PACKS = 100
_MANY_OBJECTS = 10_000  # of one exchange: the time that git needs grows with their square
_FETCHED, _ARRIVED, KEPT = "refs/assure/fetched", "refs/assure/arrived", "refs/assure/kept"
VERIFIED = (f"--exclude={_ARRIVED}", "--glob=refs/assure/*")  # commits whose history is complete
# On the command line, because git that only reads must not know that the server has the missing objects.
_PROMISED = ("-c", f"remote.{REMOTE}.promisor=true", "-c", f"remote.{REMOTE}.partialCloneFilter=blob:none")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance")
_WRONG_FORM = r"mismatched algorithms"
_INCOMPLETE = "this is not a commit with a complete history; perhaps the repository on the server is shallow"
_NOT_SENT = r"not our ref|unadvertised object"


class Transport:
    """The exchange with the server. Every method blocks. Raises FetchError."""

    def __init__(self, folder: MirrorFolder, git: Git, access: RepositoryAccess) -> None:
        self._folder, self._git, self._access = folder, git, access
        self._most_packs = _MANY_PACKS
        self._branch = f"refs/heads/{access.branch}"

    def check(self) -> None:
        """Raise FetchError if git is missing or too old, or if the branch has an impossible name."""
        self._git.version(self._bounds())
        _, result = self._git.run(("check-ref-format", self._branch), self._bounds())
        if result.code != 0:
            raise FetchError(FetchFailure.NO_BRANCH, f"{self._access.branch!r} cannot be the name of a branch")

    def mend(self) -> None:
        """Forget the refs whose commits are missing, so that these can arrive again."""
        self._folder.remove_ref(_ARRIVED)
        for ref in (_FETCHED, KEPT):
            _, result = self._git.run(("rev-list", "--quiet", "--max-count=1", ref, "--"), self._bounds())
            if result.code > 0 and result.stopped is None:
                self._folder.remove_ref(ref)

    def head(self) -> str:
        """The commit of the branch on the server."""
        output = self._exchange(("ls-remote", "--quiet", REMOTE, self._branch), seconds=_HEAD_SECONDS)
        for line in output.decode("utf-8", "replace").splitlines():
            commit, _, ref = line.partition("\t")
            if ref == self._branch and is_object_id(commit):
                return commit
        raise FetchError(FetchFailure.NO_BRANCH, self._without_branch())

    def fetch(self, commit: str | None) -> str:
        """Fetch a commit, or the branch."""
        command = (*_PROMISED, *_FETCH, "--force", REMOTE, f"+{commit or self._branch}:{_ARRIVED}")
        try:
            with self._folder.arriving():
                self._exchange_in_form(command)
                fetched = self._verified()
        except FetchError as error:
            if commit is None or re.search(_NOT_SENT, error.detail) is None:
                raise
            detail = f"the server does not send the commit {commit}: it has none, or sends branches only"
            raise FetchError(FetchFailure.NOT_FOUND, detail) from None
        finally:
            self._folder.remove_ref(_ARRIVED)
        self._tidy()
        return fetched

    def _exchange_in_form(self, command: Sequence[str]) -> None:
        """Run a command. If the server uses the other hash function, so does the mirror from then on."""
        try:
            self._exchange(command)
        except FetchError as error:
            if re.search(_WRONG_FORM, error.detail) is None:
                raise
            self._folder.exchange_form()
            self._exchange(command)

    def _verified(self) -> str:
        """The commit that arrived, with a complete history. git itself accepts gaps, to be filled later."""
        output, arrived = self._git.run(("rev-parse", "--verify", "--quiet", f"{_ARRIVED}^{{commit}}"), self._bounds())
        commit = output.decode("ascii").strip()
        if not arrived.failed:
            _, arrived = self._git.run(("rev-list", "--quiet", commit, "--not", *VERIFIED), self._bounds())
        if not arrived.failed:
            _, arrived = self._git.run(("update-ref", "--no-deref", _FETCHED, commit), self._bounds())
        if arrived.failed:
            error = failure_of(arrived, FetchFailure.DAMAGED)
            raise FetchError(FetchFailure.DAMAGED, _INCOMPLETE) if error.failure is FetchFailure.DAMAGED else error
        return commit

    def fetch_objects(self, names: Sequence[str]) -> None:
        """Fetch these objects."""
        command = ("-c", "fetch.negotiationAlgorithm=noop", *_PROMISED, *_FETCH, "--stdin")
        before = self._folder.pack_bytes()
        for first in range(0, len(names), _MANY_OBJECTS):
            lines = "".join(f"{name}\n" for name in names[first : first + _MANY_OBJECTS])
            with self._folder.arriving():
                self._exchange((*command, REMOTE), lines.encode(), before)

    def _exchange(
        self, arguments: Sequence[str], stdin: bytes = b"", since: int | None = None, seconds: float = math.inf
    ) -> bytes:
        """The output of a command that may use the network. Incomplete files are removed afterwards.

        `since` is the size of all packs before the first of several commands that are limited together.
        """
        secrets = self._secrets()
        before = self._folder.pack_bytes() if since is None else since
        most = self._access.max_bytes
        bounds = Bounds(
            seconds=min(seconds, self._access.timeout),
            file_bytes=most,
            exceeded=lambda: self._folder.pack_bytes() - before > most,
        )
        with self._folder.busy() as lock:
            try:
                output, result = self._git.run(
                    arguments,
                    bounds,
                    stdin=stdin,
                    protocol=self._access.protocol,
                    variables=proxy_variables(self._access.proxy),
                    held=(lock,),
                )
                received = self._folder.pack_bytes() - before
            finally:
                self._folder.clean()
        if received > most or (result.failed and received == most):
            raise FetchError(FetchFailure.TOO_LARGE, f"the server sent more than {most} bytes")
        if result.failed:
            raise failure_of(result, secrets=secrets)
        return output

    def _secrets(self) -> Collection[str]:
        """The credentials that a server could repeat. Raises FetchError if the token cannot be used."""
        file, proxy = self._access.token_file, self._access.proxy
        secrets = proxy_secrets(proxy)
        if file is None:
            return secrets
        try:
            token = read_trusted(file, secret=True).decode("utf-8", "replace").strip()
        except (OSError, AgentError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise FetchError(FetchFailure.AUTHENTICATION, f"SOURCE_TOKEN_FILE: {said}") from None
        if not token or not token.isprintable():
            raise FetchError(FetchFailure.AUTHENTICATION, f"SOURCE_TOKEN_FILE: {file} contains no token of one line")
        pair = b64encode(f"{self._access.user}:{token}".encode()).decode("ascii")
        return [*secrets, token, pair]

    def _without_branch(self) -> str:
        """The sentence for a branch that is not there."""
        output = self._exchange(("ls-remote", "--quiet", "--symref", REMOTE, "HEAD"))
        found = re.search(rb"^ref: refs/heads/(.+)\tHEAD$", output, re.MULTILINE)
        if not output.strip():
            return f"the repository has no branch {self._access.branch!r}; perhaps it is empty"
        default = f"; its default branch is {_shown(found[1])!r}" if found is not None else ""
        return f"the repository has no branch {self._access.branch!r}{default}"

    def _tidy(self) -> None:
        """Combine the packs when there are many. The mirror works without it, so a failure has no consequence.

        It is tried again only when there are twice as many.
        """
        if len(self._folder.packs()) <= self._most_packs:
            return
        with contextlib.suppress(FetchError), self._folder.busy() as lock:
            command = (*_PROMISED, "repack", "-a", "-d", "-l", "-q", "--no-write-bitmap-index")
            self._git.run(command, self._bounds(), held=(lock,))
            self._folder.clean()
        self._most_packs = max(_MANY_PACKS, 2 * len(self._folder.packs()))

    def _bounds(self) -> Bounds:
        return Bounds(seconds=self._access.timeout)


def _shown(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()[:100]
