"""A small Label Studio for tests: what the door asks of a server, over HTTP, in memory, with faults on demand."""

import json
import re
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "the-key-of-ada"


class Fake:
    """Projects, tasks and uploads; ``requests``: what came in; ``fault``: (path, what) answers one call otherwise.

    ``what`` is (status, headers, body), or "lost": the call has its effect and no answer.
    """

    def __init__(self):
        self.projects, self.tasks, self.uploads, self.requests = [], [], {}, []
        self.users = [{"id": 1, "email": "ada@example.com"}, {"id": 2, "email": "bob@example.com"}]
        self.fault = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def annotate(self, task, label, who=1):
        """What an annotator does: a class, or None for a skip."""
        value = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
        result = [] if label is None else [value]
        task["annotations"].append(
            {"id": 1000 + len(task["annotations"]), "completed_by": who, "was_cancelled": label is None,
             "result": result, "updated_at": "2026-01-01T00:00:00Z"}
        )  # fmt: skip

    # What each call does: path, query, body -> (status, plain values)

    def call(self, method, path, query, body, kind):
        if path == "/api/projects/" and method == "GET":
            return self.page(self.projects, query, "results")
        if path == "/api/projects/":
            self.projects.append({"id": len(self.projects) + 1, **json.loads(body)})
            return 201, self.projects[-1]
        if path == "/api/users/":
            return 200, self.users
        if path == "/api/tasks/":
            only = json.loads(query["query"])["filters"]["items"][0]["value"]
            of = [task for task in self.tasks if task["data"]["batch"] == only and task["project"] == query["project"]]
            return self.page(of, query, "tasks")
        if found := re.fullmatch(r"/api/projects/(\d+)/import", path):
            return 201, self.take_files(body, kind) if "multipart" in kind else self.take_tasks(found[1], body)
        if re.fullmatch(r"/api/projects/\d+/file-uploads", path):
            return 200, [{"id": k, "file": self.uploads[k][0]} for k in json.loads(query["ids"])]
        return 404, {"detail": "Not found."}

    def page(self, items, query, name):
        size, page = int(query["page_size"]), int(query.get("page", 1))
        part = items[size * (page - 1) : size * page]
        return (200, {name: part}) if part or page == 1 else (404, {"detail": "Invalid page."})

    def take_files(self, body, kind):
        parts = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).get_payload()
        numbers = []
        for part in parts:
            numbers.append(len(self.uploads) + 1)
            self.uploads[numbers[-1]] = f"upload/1/ab12-{part.get_filename()}", part.get_payload(decode=True)
        return {"task_count": len(numbers), "file_upload_ids": numbers}

    def take_tasks(self, project, body):
        for each in json.loads(body):
            about = {"id": len(self.tasks) + 1, "project": project, "annotations": [], "overlap": 1}
            self.tasks.append({**about, "data": each["data"]})
        return {"task_count": len(json.loads(body))}


class _Handler(BaseHTTPRequestHandler):
    fake: Fake
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.requests.append((self.command, self.path, headers, body))
        fault = self.fake.fault if self.fake.fault and self.fake.fault[0] in self.path else None
        if fault and fault[1] != "lost":
            self.answer(*fault[1])
            return
        if self.headers.get("authorization") != f"Token {KEY}":
            said = json.dumps({"detail": f"Invalid token {self.headers.get('authorization')}."})
            self.answer(401, {"content-type": "application/json"}, said.encode())
            return
        kind = self.headers.get("content-type", "")
        status, values = self.fake.call(self.command, url.path, query, body, kind)
        if fault:
            self.close_connection = True
            return
        self.answer(status, {"content-type": "application/json"}, json.dumps(values).encode())

    do_POST = do_CONNECT = do_GET

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
