"""An authority and the certificates of a server and a client, made for one test."""

import ssl
from pathlib import Path

import trustme


class Identities:
    """An authority, a server `localhost` and a client, and the names that the server was asked for."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA(organization_name="Example Company")
        self.authority, self.client = folder / "authority.pem", folder / "client.pem"
        authority.cert_pem.write_to_path(self.authority)
        authority.issue_cert(common_name="client").private_key_and_cert_chain_pem.write_to_path(self.client)
        self.client.chmod(0o600)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.server)
        self.server.load_verify_locations(self.authority)
        self.names: list[str | None] = []
        self.server.sni_callback = lambda connection, name, context: self.names.append(name)
