"""Authors who sign commits, by ssh or OpenPGP: an allowed one, and those whose signature must not count."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.programs import need

KINDS = ("allowed", "unknown", "expired", "revoked")
_PAST = "20200101T000000"


class Ssh:
    """Keys of ssh, and the files that allow and revoke them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "signers"
        self._folder.mkdir()
        public = {kind: self._key(kind) for kind in KINDS}
        validity = {"allowed": "", "expired": 'valid-before="20200101" ', "revoked": ""}
        allowed = "".join(f"{kind}@example.test {when}{public[kind]}" for kind, when in validity.items())
        self.settings = {
            "SOURCE_ALLOWED_SIGNERS_FILE": str(self._write("allowed", allowed)),
            "SOURCE_REVOKED_SIGNERS_FILE": str(self._write("revoked", public["revoked"])),
        }

    def options(self, kind: str) -> tuple[str, ...]:
        """Options of git that sign with this key."""
        return ("-c", "gpg.format=ssh", "-c", f"user.signingkey={self._folder / kind}")

    def _key(self, kind: str) -> str:
        path = self._folder / kind
        subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", kind, "-f", str(path)], check=True)
        return path.with_suffix(".pub").read_text()

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / f"{name}.txt"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def close(self) -> None:
        """Nothing runs."""


class OpenPgp:
    """Keys of OpenPGP, and the keyring with their public halves. Its folder is short, because it contains sockets."""

    def __init__(self, folder: Path) -> None:
        need("gpg")
        self._home = Path(tempfile.mkdtemp(prefix="pgp", dir="/tmp"))
        (self._home / "public").mkdir(mode=0o700)
        self._programs = {kind: self._program(folder / f"gpg-{kind}", kind) for kind in KINDS}
        for kind in KINDS:
            time = ("--faked-system-time", _PAST) if kind == "expired" else ()
            until = "1d" if kind == "expired" else "never"
            user = f"{kind} <{kind}@example.test>"
            self._gpg(*time, "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign", until)
        keyring = folder / "keyring.gpg"
        others = [f"{kind}@example.test" for kind in KINDS if kind != "unknown"]
        self._gpg("--import", home="public", given=self._gpg("--export", *others))
        self._gpg("--import", home="public", given=self._revocation())
        keyring.write_bytes(self._gpg("--export", home="public"))
        keyring.chmod(0o600)
        self.settings = {"SOURCE_GPG_KEYRING": str(keyring)}

    def options(self, kind: str) -> tuple[str, ...]:
        """Options of git that sign with this key."""
        key = f"{kind}@example.test"
        return ("-c", "gpg.format=openpgp", "-c", f"gpg.program={self._programs[kind]}", "-c", f"user.signingkey={key}")

    def _revocation(self) -> bytes:
        listed = self._gpg("--with-colons", "--list-keys", "revoked@example.test").decode()
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        text = (self._home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        return text.replace(":-----BEGIN", "-----BEGIN").encode()  # gpg writes it against an import by mistake

    def _program(self, path: Path, kind: str) -> Path:
        time = f"--faked-system-time {_PAST}" if kind == "expired" else ""
        path.write_text(f'#!/bin/sh\nexec gpg --homedir {self._home} --batch --quiet {time} "$@"\n')
        path.chmod(0o755)
        return path

    def _gpg(self, *arguments: str, home: str = "", given: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self._home / home), "--batch", "--quiet", *arguments]
        done = subprocess.run(command, input=given, check=True, capture_output=True, env=_environment())
        return done.stdout

    def close(self) -> None:
        """End the agents of gpg, and remove the keys."""
        for home in (self._home, self._home / "public"):
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True, env=_environment())
        shutil.rmtree(self._home, ignore_errors=True)


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name != "GNUPGHOME"}
