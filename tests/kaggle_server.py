"""A loopback stand-in for Kaggle: just the calls that the course's download and submission make.

Kaggle's client, told KAGGLE_API_ENVIRONMENT=LOCALHOST, calls http://localhost/api/v1/…; with
HTTP_PROXY naming this server's port every call arrives here, whatever host it is meant for. As on
the real site the download call answers with a redirect to a storage host, which honours Range.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

TOKEN, USERNAME, KEY = "KGAT_a-made-up-token", "learner", "a-made-up-key"
BASIC = "Basic " + base64.b64encode(f"{USERNAME}:{KEY}".encode()).decode()
BLOB = "a-made-up-blob-token"
SUBMITTED = "Successfully submitted to Carvana Image Masking Challenge"
ETAG, MODIFIED = '"made-up-etag"', "Fri, 21 Jul 2017 20:00:00 GMT"


@dataclass
class Call:
    """One request the server saw; `sent` counts the body's bytes that left."""

    path: str
    name: str = ""
    range: str | None = None
    authorization: str | None = None
    status: int = 0
    sent: int = 0


@dataclass
class KaggleServer:
    """files: name -> bytes. What goes wrong is set by the test before it starts a client."""

    files: dict[str, bytes]
    api_status: int = 200  # what the download call answers: 401, 403, …
    api_message: str = ""
    sign_in: str = "active"  # "active", "inactive", or "401"
    stored_as: dict[str, str] = field(default_factory=dict)  # name asked for -> name in storage
    cuts: list[int] = field(default_factory=list)  # n-th storage answer stops after so many bytes
    hold_at: int | None = None  # storage answers stop here and wait until `close`
    upload_status: int = 200  # what the upload's address answers once it has the bytes
    uploaded: bytes = b""
    submitted: list[dict] = field(default_factory=list)  # what was handed in
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> KaggleServer:
        self._released = threading.Event()
        handler = type("Handler", (_Handler,), {"kaggle": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()

    def release(self) -> None:
        """Let go of the answers that `hold_at` keeps open, and hold no more."""
        self.hold_at = None
        self._released.set()

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """A bare environment for a client: nothing of this machine's Kaggle settings in it."""
        proxy = f"http://127.0.0.1:{self._http.server_port}"
        base = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        root = str(Path(__file__).resolve().parents[1])
        return {
            **base,
            "HOME": str(home),
            "USERPROFILE": str(home),
            "PYTHONPATH": root,
            "PYTHONIOENCODING": "utf-8",
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": proxy,
            "http_proxy": proxy,
            **more,
        }

    def storage_calls(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.path == "storage" and call.name == name]


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        call = self._note(urlsplit(self.path).path.rpartition("/")[2], body.get("fileName", ""))
        server = self.kaggle
        if call.path == "IntrospectToken":
            if server.sign_in == "401":
                return self._json(call, 401, {"code": 401, "message": "Unauthenticated"})
            active = server.sign_in == "active" and body.get("token") == TOKEN
            return self._json(call, 200, {"active": active, "username": USERNAME if active else ""})
        if call.path not in ("DownloadDataFile", "StartSubmissionUpload", "CreateSubmission"):
            return self._json(call, 404, {"code": 404, "message": "Not found"})
        if server.api_status != 200:
            return self._json(
                call, server.api_status, {"code": server.api_status, "message": server.api_message}
            )
        if call.authorization not in (BASIC, f"Bearer {TOKEN}"):
            return self._json(call, 401, {"code": 401, "message": "Unauthenticated"})
        if call.path != "DownloadDataFile":
            return self._submission(call, body)
        if call.name not in server.files:
            return self._json(call, 404, {"code": 404, "message": "Not found"})
        stored = server.stored_as.get(call.name, call.name)
        self.send_response(302)
        self.send_header("Location", f"http://storage.localhost/{call.name}/{stored}?signature=x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _submission(self, call: Call, body: dict) -> None:
        if call.path == "StartSubmissionUpload":
            address = f"http://upload.localhost/{call.name}"
            return self._json(call, 200, {"token": BLOB, "createUrl": address})
        if body.get("blobFileTokens") != BLOB or not self.kaggle.uploaded:
            return self._json(call, 400, {"code": 400, "message": "No such upload"})
        self.kaggle.submitted.append(body)
        return self._json(call, 200, {"message": SUBMITTED, "ref": 1})

    def do_PUT(self) -> None:
        call = self._note("upload", urlsplit(self.path).path.split("/")[1])
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.kaggle.uploaded = content if self.kaggle.upload_status == 200 else b""
        self._json(call, self.kaggle.upload_status, {})

    def do_GET(self) -> None:
        call = self._note("storage", urlsplit(self.path).path.split("/")[1])
        server, content = self.kaggle, self.kaggle.files[call.name]
        start = 0
        if call.range and self.headers.get("If-Range") in (None, ETAG):
            start = int(re.fullmatch(r"bytes=(\d+)-", call.range)[1])
        call.status = 206 if start else 200
        self.send_response(call.status)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", ETAG)
        self.send_header("Last-Modified", MODIFIED)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        limit = server.cuts.pop(0) if server.cuts else len(content)
        stop = min(start + limit, len(content), server.hold_at or len(content))
        self.close_connection = stop < len(content)
        try:
            for at in range(start, stop, 1 << 16):
                piece = content[at : min(at + (1 << 16), stop)]
                self.wfile.write(piece)
                call.sent += len(piece)
            if server.hold_at:
                server._released.wait(60)
        except OSError:  # the client went away
            self.close_connection = True

    def _note(self, path: str, name: str) -> Call:
        call = Call(path, name, self.headers.get("Range"), self.headers.get("Authorization"))
        self.kaggle.calls.append(call)
        return call

    def _json(self, call: Call, status: int, answer: dict) -> None:
        call.status = status
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
