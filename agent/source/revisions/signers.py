"""The keys that may sign: an allowed-signers file, a file of revoked keys, a keyring.

They are read as settings files, so a file that another user can change is refused. The programs get copies in a
folder of the agent: a file that changes or disappears meanwhile must not change a verification that has begun.
"""

import base64
import binascii
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from agent.core.errors import AgentError, required
from agent.platform.trusted_files import read_trusted
from agent.source.revisions.git_process import search_path
from agent.source.revisions.private_folder import PrivateFolder

_IMPORT_SECONDS = 60.0
_KEY = re.compile(r"(?:^|(?<=\s))((?:sk-)?(?:ssh|ecdsa)-[\w@.-]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?=\s|$)")
_BINARY_LIST = b"SSHKRL\n\0"
_NAMESPACES = re.compile(r'namespaces="([^"]*)"', re.IGNORECASE)
_VALIDITY = re.compile(r"(?:^|[\s,])valid-(?:after|before)=", re.IGNORECASE)
_IMPORTED = re.compile(rb"^\[GNUPG:\] IMPORT_OK ", re.MULTILINE)
_GPG_OPTIONS = """\
batch
no-tty
no-autostart
no-auto-key-retrieve
auto-key-locate clear
disable-dirmngr
no-random-seed-file
trust-model always
"""


class CannotVerify(AgentError):
    """No signature can be checked now. The hint is the remedy."""


class Signers:
    """The files of signers and the programs that use them. `folder` is for the copies."""

    def __init__(self, allowed: Path | None, revoked: Path | None, keyring: Path | None, folder: Path) -> None:
        self._allowed, self._revoked, self._keyring, self._parent = allowed, revoked, keyring, folder
        self._copies: PrivateFolder | None = None
        self._read: list[bytes | None] | None = None  # the contents that the copies have
        self._limited = frozenset[str]()
        self._revoked_keys = frozenset[str]()
        self._without_key = list[int]()
        self._programs = dict[str, str]()

    def refresh(self) -> bool:
        """Copy the files if they changed; True if so. Raises CannotVerify."""
        self._programs = self._found_programs()
        try:
            contents = [_content(path) for path in (self._allowed, self._revoked, self._keyring)]
            if contents == self._read:
                return False
            self._read = None
            self._copy(*contents)
        except OSError as error:
            raise CannotVerify(
                f"{error.filename or self._parent} cannot be used: {error.strerror}.", "check its path and its mode"
            ) from error
        self._read = contents
        return True

    @property
    def kinds(self) -> frozenset[bytes]:
        """The first lines of the signatures that can be from an allowed signer."""
        ssh = {b"-----BEGIN SSH SIGNATURE-----"} if self._allowed is not None else set()
        return frozenset(ssh | ({b"-----BEGIN PGP SIGNATURE-----"} if self._keyring is not None else set()))

    def variables(self, revocations: bool = True) -> dict[str, str]:
        """The configuration of git for a verification, as variables; without the revoked keys on demand.

        gpg, and git for temporary files, write to the folder of the agent only.
        """
        nothing = "/bin/false"
        gpg = self._programs.get("gpg", nothing)
        configuration = {
            "gpg.program": gpg,
            "gpg.openpgp.program": gpg,
            "gpg.x509.program": nothing,
            "gpg.minTrustLevel": "undefined",
            "gpg.ssh.program": self._programs.get("ssh-keygen", nothing),
            "gpg.ssh.defaultKeyCommand": "",
            "gpg.ssh.allowedSignersFile": str(self._folder / "allowed_signers"),
        }
        if revocations and self._revoked is not None:  # git ignores a file that does not exist
            configuration["gpg.ssh.revocationFile"] = str(self._folder / "revoked_signers")
        found = {"GNUPGHOME": str(self._folder / "gnupg"), "TMPDIR": str(self._folder)}
        for number, (key, value) in enumerate(configuration.items()):
            found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return found | {"GIT_CONFIG_COUNT": str(len(configuration))}

    @property
    def has_revocations(self) -> bool:
        """True if there is a file of revoked SSH keys."""
        return self._revoked is not None

    def was_limited(self, fingerprint: str) -> bool:
        """True if the key is in the allowed-signers file for a limited time."""
        return fingerprint in self._limited

    @property
    def lines_without_key(self) -> Sequence[int]:
        """The numbers of the lines of the allowed-signers file that have no public key. ssh-keygen passes over them."""
        return self._without_key

    def is_revoked(self, fingerprint: str) -> bool:
        """True if the key is a line of the file of revoked keys. A binary list (KRL) cannot be searched for it."""
        return fingerprint in self._revoked_keys

    @property
    def _folder(self) -> Path:
        return required(self._copies, "the copy of the files of signers").path

    def _found_programs(self) -> dict[str, str]:
        found = dict[str, str]()
        for program, package, path in (("ssh-keygen", "openssh-client", self._allowed), ("gpg", "gpg", self._keyring)):
            if path is None:
                continue
            at = shutil.which(program, path=search_path())
            if at is None:
                raise CannotVerify(
                    f"The program {program} is missing, so no signature by a key of {path} can be checked.",
                    f"install it (Debian: apt-get install {package}), or set SOURCE_VERIFY=off",
                )
            found[program] = at
        return found

    def _copy(self, allowed: bytes | None, revoked: bytes | None, keyring: bytes | None) -> None:
        if self._copies is not None:
            self._copies.remove()
            self._copies = None
        self._copies = PrivateFolder(self._parent)
        for name, content in (("allowed_signers", allowed), ("revoked_signers", revoked)):
            (self._folder / name).touch(mode=0o600)
            (self._folder / name).write_bytes(content or b"")
        _refuse_other_than_keys(self._revoked, revoked or b"")
        lines = list(_lines((allowed or b"").decode(errors="replace")))
        self._without_key = [number for number, line in lines if next(_keys(line), None) is None]
        self._limited = frozenset(key for _, line in lines if _limited(line) for key in _keys(line))
        self._revoked_keys = frozenset(_keys((revoked or b"").decode(errors="replace")))
        home = self._folder / "gnupg"
        home.mkdir(mode=0o700)
        (home / "gpg.conf").write_text(_GPG_OPTIONS)
        (home / "common.conf").touch()  # its absence lets newer versions start a key daemon
        if keyring is not None:
            self._import(home, keyring)

    def _import(self, home: Path, keyring: bytes) -> None:
        """Import the keys. Raises CannotVerify."""
        program = self._programs["gpg"]
        environment = {"GNUPGHOME": str(home), "HOME": "/nonexistent", "PATH": "/nonexistent", "LC_ALL": "C"}
        try:
            done = subprocess.run(  # noqa: S603 - no argument is from outside
                [program, "--status-fd", "1", "--import"],
                input=keyring,
                env=environment,
                capture_output=True,
                timeout=_IMPORT_SECONDS,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotVerify(f"The import of {self._keyring} took too long.", "export fewer keys into it") from None
        if not _IMPORTED.search(done.stdout):
            raise CannotVerify(
                f"{self._keyring} contains no OpenPGP public key that gpg can import.",
                f"write it again: gpg --armor --export KEY... > {self._keyring}",
            )


def _content(path: Path | None) -> bytes | None:
    """The content of a file that no other user can change. Raises OSError, CannotVerify."""
    if path is None:
        return None
    try:
        return read_trusted(path)
    except AgentError as error:
        raise CannotVerify(str(error), error.hint) from error


def _limited(line: str) -> bool:
    """True for a line of an allowed-signers file whose key may sign commits, at certain times only."""
    found = _KEY.search(line)
    options = line[: found.start()] if found is not None else ""
    namespaces = _NAMESPACES.search(options)
    for_git = namespaces is None or any(fnmatchcase("git", one) for one in namespaces[1].split(","))
    return for_git and _VALIDITY.search(options) is not None


def _keys(text: str) -> Iterator[str]:
    """The fingerprint of each key in lines of keys."""
    for _, line in _lines(text):
        found = _KEY.search(line)
        fingerprint = _fingerprint(found) if found is not None else None
        if fingerprint is not None:
            yield fingerprint


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not empty and no comments, with their numbers."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return ((number, line) for number, line in lines if line and not line.startswith("#"))


def _fingerprint(found: re.Match[str]) -> str | None:
    """The fingerprint of a key; None if it is not a key of its type."""
    kind = found[1].encode()
    try:
        key = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return None
    if not key.startswith(len(kind).to_bytes(4) + kind):
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _refuse_other_than_keys(path: Path | None, content: bytes) -> None:
    """ssh-keygen counts every key as revoked if one line is wrong. Raises CannotVerify."""
    if content.startswith(_BINARY_LIST):
        return
    for number, line in _lines(content.decode(errors="replace")):
        found = _KEY.match(line)
        if found is None or _fingerprint(found) is None:
            raise CannotVerify(
                f"Line {number} of {path} is not a public key.", "begin the line with the type of the key, and no name"
            )
