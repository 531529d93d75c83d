"""A small server on 127.0.0.1 that speaks the Hub's protocol, and misbehaves when a test asks it to.

    with HubServer() as server:
        server.put("someone/repo", "weights/a.bin", data)     # large=True: by way of the "CDN", named by its SHA-256
        server.fault = "cut"                                # see FAULTS
        ... server.url, server.log
"""

import hashlib
import socket
import struct
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + 34 * "0"
ERRORS = {  # fault: (status, X-Error-Code, X-Error-Message)
    "gated": (401, "GatedRepo", "Access to model is restricted."),
    "gated-403": (403, "GatedRepo", "Your request has not been approved."),
    "private": (401, "RepoNotFound", "Invalid username or password."),
    "no-login": (401, None, "Invalid username or password."),
    "gone": (404, "RepoNotFound", "Repository not found"),
    "bad-token": (401, None, "Invalid credentials in Authorization header"),
    "forbidden": (403, None, "Forbidden"),
    "no-revision": (404, "RevisionNotFound", "Invalid rev id"),
    "no-file": (404, "EntryNotFound", "Entry not found"),
    "busy": (429, None, "Too many requests"),
    "down": (500, None, "Internal error"),
}
FAULTS = (*ERRORS, "cut", "always-cut", "reset", "wrong", "stall", "slow", "portal")


class HubServer(ThreadingHTTPServer):
    """Files by repository and path; a fault; a log of (method, path, Range or None)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.reset()

    def reset(self) -> None:
        """An empty Hub that behaves."""
        self.files: dict[tuple[str, str], tuple[bytes, bool]] = {}
        self.fault: str | None = None
        self.log: list[tuple[str, str, str | None]] = []
        self.commit = COMMIT

    def put(self, repo: str, path: str, data: bytes, large: bool = False) -> str:
        """Publish a file; returns its SHA-256."""
        self.files[repo, path] = (data, large)
        return hashlib.sha256(data).hexdigest()

    def bytes_asked(self) -> int:
        """How many GETs of file contents there were."""
        return sum(method == "GET" for method, _, _ in self.log)

    def handle_error(self, request, client_address) -> None:
        """A client that was killed is no news."""

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *args) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        """What a file is."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """A file, or the part that a Range asks for."""
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        server = self.server
        server.log.append((self.command, self.path, self.headers.get("Range")))
        if server.fault in ERRORS:
            return self._error(*ERRORS[server.fault])
        if server.fault == "portal":
            return self._send(200, {"Content-Type": "text/html"}, b"<h1>Welcome to our hotel</h1>" if body else b"")
        repo, _, rest = self.path.removeprefix("/cdn").strip("/").partition("/resolve/")
        revision, _, path = rest.partition("/")
        if not any(known == repo for known, _ in server.files):
            return self._error(*ERRORS["gone"])
        if revision not in ("main", server.commit):
            return self._error(*ERRORS["no-revision"])
        if (repo, path) not in server.files:
            return self._error(*ERRORS["no-file"])
        data, large = server.files[repo, path]
        if large and not self.path.startswith("/cdn"):
            return self._send(302, {**self._names(data, large), "Location": f"{server.url}/cdn{self.path}"}, b"")
        return self._file(data, large, body)

    def _names(self, data: bytes, large: bool) -> dict[str, str]:
        if large:
            return {"X-Repo-Commit": self.server.commit, "X-Linked-Size": str(len(data)),
                    "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "ETag": '"cdn"',
                    "X-Xet-Hash": 64 * "0", "X-Xet-Refresh-Route": "/nowhere"}
        return {"X-Repo-Commit": self.server.commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}

    def _file(self, data: bytes, large: bool, body: bool) -> None:
        headers, status, fault = self._names(data, large), 200, self.server.fault
        if fault == "wrong":
            data = data[::-1]
        asked = self.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        if not body:
            return self._send(status, {**headers, "Content-Length": str(len(data))}, b"")
        if fault not in ("cut", "always-cut", "reset", "stall", "slow"):
            return self._send(status, headers, data)
        return self._hurt(fault, status, headers, data)

    def _hurt(self, fault: str, status: int, headers: dict[str, str], data: bytes) -> None:
        """Promise everything, send half, then break off; or take one's time over it."""
        if fault in ("cut", "reset"):
            self.server.fault = None        # once
        self._head(status, {**headers, "Content-Length": str(len(data))})
        self.wfile.write(b"" if fault == "always-cut" and status == 206 else data[: len(data) // 2])
        self.wfile.flush()
        if fault == "slow":
            time.sleep(1.0)
            self.wfile.write(data[len(data) // 2:])
            return
        while fault == "stall" and self.server.fault == "stall":
            time.sleep(0.05)
        if fault == "reset":                # RST instead of FIN
            time.sleep(0.2)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR if fault != "reset" else socket.SHUT_RD)
        self.connection.close()
        self.close_connection = True

    def _error(self, status: int, code: str | None, message: str) -> None:
        self._send(status, {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}, b"")

    def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self._head(status, {"Content-Length": str(len(data)), **headers})
        self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
