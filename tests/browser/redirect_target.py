"""The page of a web shop that end users return to after their verification."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class RedirectTarget:
    """A real server on a free port. `visits` holds the query of each return, oldest first."""

    def __init__(self) -> None:
        visits: list[dict[str, list[str]]] = []
        self.visits = visits

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/verified":
                    visits.append(parse_qs(parts.query))
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>The shop</title><h1>Welcome back</h1>")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}/verified?order=7"

    def __enter__(self) -> "RedirectTarget":
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
