"""The names of the company's network, for the process of the proxy."""

from proxy.http.exception import HttpRequestRejected
from proxy.http.parser import HttpParser
from proxy.http.proxy import HttpProxyBasePlugin


class Names(HttpProxyBasePlugin):  # type: ignore[misc]
    """Hosts below `.test` are this machine; `forbidden.test` is refused; `gone.test` has an address without a route."""

    def resolve_dns(self, host: str, port: int) -> tuple[str | None, None]:
        if host == "gone.test":
            raise OSError("no route")
        return ("127.0.0.1", None) if host.endswith(".test") else (None, None)

    def before_upstream_connection(self, request: HttpParser) -> HttpParser:
        if request.host == b"forbidden.test":
            raise HttpRequestRejected(status_code=403, reason=b"Forbidden", body=b"<h1>Not allowed here</h1>")
        return request
