"""An authority and the certificates of a server and a client, made for one test."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def issue(folder: Path, name: str, issuer: str = "") -> Path:
    """A PEM file with a certificate and its key; without `issuer`, of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, by = key, subject
    if issuer:
        pem = (folder / f"{issuer}.pem").read_bytes()
        signer = serialization.load_pem_private_key(pem, None)  # type: ignore[assignment]
        by = x509.load_pem_x509_certificate(pem).subject
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    pem = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    path = folder / f"{name}.pem"
    path.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return path


class Identities:
    """An authority, a server `localhost` and a client, and the names that the server was asked for."""

    def __init__(self, folder: Path) -> None:
        self.authority = issue(folder, "authority")
        self.client = issue(folder, "client", "authority")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(issue(folder, "localhost", "authority"))
        self.server.load_verify_locations(self.authority)
        self.names: list[str | None] = []
        self.server.sni_callback = lambda connection, name, context: self.names.append(name)
