# SPDX-License-Identifier: ISC
"""A client of the admin API."""
import http.client
import json
import socket

from lib import proxy, tap


class _Connection(http.client.HTTPConnection):
    """HTTP over an AF_UNIX socket."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


class Admin:
    """The API of a daemon, by a path or by "HOST:PORT"."""

    def __init__(self, where, timeout=20):
        self.where, self.timeout = where, timeout * proxy.slowness()

    def connection(self):
        if self.where.startswith("/"):
            return _Connection(self.where, self.timeout)
        return http.client.HTTPConnection(self.where, timeout=self.timeout)

    def ask(self, method, path, body=None):
        """One request with a connection of its own; a body that is no bytes is sent as JSON."""
        connection = self.connection()
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            connection.request(method, path, body)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path):
        """The JSON at a path that is there."""
        answer = self.ask("GET", path)
        tap.equal(answer.status, 200, f"status of {path} ({answer.body[:300]!r})")
        return answer.json

    def good(self, method, path, body=None, status=200):
        """A request that has to succeed; its JSON."""
        answer = self.ask(method, path, body)
        tap.equal(answer.status, status, f"status of {method} {path} {body} ({answer.body[:300]!r})")
        return answer.json

    def bad(self, method, path, body=None, status=400, detail=""):
        """A request that has to be refused with that in its detail."""
        answer = self.ask(method, path, body)
        tap.equal(answer.status, status, f"status of {method} {path} {body!r} ({answer.body[:300]!r})")
        tap.equal(sorted(answer.json), ["detail", "error"], "members of an error")
        tap.check(detail in answer.json["detail"], f"{detail!r} in {answer.json['detail']!r}")
        return answer.json["detail"]

    def status(self):
        return self.get("/v1/status")

    def frontend(self, name):
        return next(one for one in self.get("/v1/frontends")["frontends"] if one["name"] == name)

    def server(self, name):
        """The server "BACKEND/NAME"."""
        backend, _, name = name.partition("/")
        found = next(one for one in self.get("/v1/backends")["backends"] if one["name"] == backend)
        return next(one for one in found["servers"] if one["name"] == name)

    def sessions(self, query=""):
        return self.get("/v1/sessions" + query)["sessions"]

    def wait_generation(self, generation):
        """Waits for the worker that a reload or an upgrade promised."""
        def look():
            try:
                return self.status()["worker_generation"] >= generation
            except (OSError, http.client.HTTPException):
                return False
        proxy.wait_for(look, f"worker {generation}")


def of(daemon):
    """The API of a proxy.Proxy, by its socket."""
    return Admin(daemon.admin_path)
