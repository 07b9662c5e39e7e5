"""Real repositories on real git servers of this machine: https by `git http-backend`, ssh by a throw-away `sshd`."""

import base64
import contextlib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.bare_repository import BareRepository, Signing
from tests.support.git import CLEAN_ENVIRONMENT
from tests.support.programs import need

__all__ = [
    "SSHD",
    "BareRepository",
    "HttpsServer",
    "Signing",
    "SshServer",
    "https_server",
    "make_ssh_key",
    "needs_sshd",
    "ssh_server",
]

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (apt-get install openssh-server)")


@dataclass
class HttpsServer:
    """Serves the repositories below `root` under `url`. The attributes may be changed while it runs."""

    root: Path
    ca_file: Path
    port: int = 0
    credentials: tuple[str, str] | None = None  # user and password of Basic authentication
    answer: int | None = None  # answers every request with this status
    location: str = "https://elsewhere.example/other.git"  # of an answer of 3xx
    body: bytes = b""  # of that answer
    cut_after: int | None = None  # ends a connection after so many bytes of a body
    hanging: threading.Event = field(default_factory=threading.Event)  # while set, no request is answered
    hangs_after: int = 0  # but so many of `received`
    hung: threading.Event = field(default_factory=threading.Event)  # a request has waited
    received: list[tuple[str, str, int, int]] = field(default_factory=list)  # method, path, bytes in, bytes out
    authorizations: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextlib.contextmanager
def https_server(root: Path, folder: Path, authority: trustme.CA | None = None) -> Iterator[HttpsServer]:
    """Yields a running server on loopback. `folder` receives the certificate of its authority."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    authority = authority or trustme.CA()
    served = HttpsServer(root, folder / "ca.pem")
    authority.cert_pem.write_to_path(served.ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "git.test").configure_cert(context)
    listener = _Listener(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    listener.context = context
    served.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.hanging.clear()
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or did not trust the certificate, does not concern the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: HttpsServer

    def do_GET(self) -> None:
        served, body = self.served, self._body()
        while served.hanging.is_set() and len(served.received) >= served.hangs_after:
            served.hung.set()
            threading.Event().wait(0.02)
        given = self.headers.get("Authorization", "")
        served.authorizations.append(given)
        if served.answer is not None:
            where = {"Location": served.location} if 300 <= served.answer < 400 else {}
            sent = self._send(served.answer, where | {"Content-Type": "text/plain"}, served.body)
        elif served.credentials is not None and given != _basic(*served.credentials):
            sent = self._send(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
        else:
            sent = self._send(*self._backend(body))
        served.received.append((self.command, self.path, len(body), sent))

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, *arguments: Any) -> None:
        """The server writes no log."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _backend(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer of git's own program for this request."""
        path, _, query = self.path.partition("?")
        headers = {
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        variables = {
            "GIT_PROJECT_ROOT": str(self.served.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=CLEAN_ENVIRONMENT | variables | headers,
            capture_output=True,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        answered = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return int(answered.pop("Status", "200").split()[0]), answered, content

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> int:
        cut = self.served.cut_after
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body if cut is None else body[:cut]
        self.wfile.write(sent)
        if len(sent) < len(body):
            self.close_connection = True
        return len(sent)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass
class SshServer:
    """A server for one key. `url(repository)` is for the user that runs the tests."""

    port: int
    key_file: Path
    known_hosts_file: Path
    user: str

    def url(self, repository: BareRepository) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{repository.folder}"


@contextlib.contextmanager
def ssh_server(folder: Path, accepts_protocol: bool = True) -> Iterator[SshServer]:
    """Yields a running sshd on loopback, one process for each connection. `accepts_protocol`: version 2 of git."""
    assert SSHD is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root insists on it
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in ("host", "client"):
        make_ssh_key(folder / name)
    shutil.copy(folder / "client.pub", folder / "authorized")
    options = {
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        **({"AcceptEnv": "GIT_PROTOCOL"} if accepts_protocol else {}),
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        public = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
        running: list[subprocess.Popen[bytes]] = []
        threading.Thread(target=_accept, args=(listener, folder, running), daemon=True).start()
        try:
            yield SshServer(port, folder / "client", folder / "known_hosts", _user())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for process in running:
                process.kill()
                process.wait()


def make_ssh_key(path: Path, kind: str = "ed25519") -> Path:
    """Make a private key without a passphrase, and its public key next to it."""
    path.unlink(missing_ok=True)
    subprocess.run([need("ssh-keygen"), "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)], check=True)
    return path


def _accept(listener: socket.socket, folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
    with contextlib.suppress(OSError), (folder / "log").open("ab") as log:
        while True:
            connection, _ = listener.accept()
            with connection:
                command = [str(SSHD), "-i", "-e", "-f", str(folder / "config")]
                running.append(subprocess.Popen(command, stdin=connection, stdout=connection, stderr=log))


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
