"""How servers are verified: by the system's authorities and those of CA_FILE; and the client certificate for Assure."""

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

from agent.core.errors import AgentError, SettingsError
from agent.platform.trusted_files import read_trusted


def tls_context(
    ca_file: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A context that verifies servers by the system's authorities, and in addition by those of `ca_file`.

    `certificate` and `key` are PEM files of a client certificate; without `key`, the first contains both. Raises
    OSError, ssl.SSLError (not PEM, an encrypted key, or a key of another certificate) or UntrustedFile.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        _trust(context, ca_file)
    if certificate is not None:
        _present(context, certificate, key)
    return context


def check_files(ca_file: Path | None, certificate: Path | None, key: Path | None) -> None:
    """Raise SettingsError for the first file that `tls_context` could not use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is not None:
        with _named("CA_FILE", ca_file, "a PEM file with the certificates of authorities (BEGIN CERTIFICATE)"):
            _trust(context, ca_file)
    if certificate is not None:
        expected = "PEM files of a certificate and of its own unencrypted key (CLIENT_KEY_FILE, or in the same file)"
        with _named("CLIENT_CERT_FILE", certificate, expected):
            _present(context, certificate, key)


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    # The comments of a bundle may name authorities in any script.
    context.load_verify_locations(cadata=read_trusted(ca_file).decode("ascii", "ignore"))


def _present(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Load the files by name, as only OpenSSL can: `read_trusted` proves that no other user can exchange them."""
    read_trusted(certificate, secret=key is None)
    if key is not None:
        read_trusted(key, secret=True)
    context.load_cert_chain(certificate, key, password="")


@contextlib.contextmanager
def _named(setting: str, path: Path, expected: str) -> Iterator[None]:
    """Turn the errors of a file into a SettingsError that names the setting."""
    try:
        yield
    except AgentError as error:
        raise type(error)(f"ASSURE_AGENT_{setting}: {error}", error.hint) from None
    except ssl.SSLError:
        raise SettingsError(f"ASSURE_AGENT_{setting}: {path} cannot be used.", f"name {expected}") from None
    except OSError as error:
        raise SettingsError(
            f"ASSURE_AGENT_{setting}: {error.filename or path} cannot be read ({error.strerror}).",
            "name a file that this user can read",
        ) from None
