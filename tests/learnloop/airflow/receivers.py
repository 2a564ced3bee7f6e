"""Those who are told of a failed run: a web hook and a mail server."""

from __future__ import annotations

import json
import socketserver
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hook(HTTPServer):
    """Keeps the documents it is sent; answers with ``answer``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HookHandler)
        self.received: list[object] = []
        self.answer = 200


class _HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


class MailServer(socketserver.TCPServer):
    """Speaks as much SMTP as one mail needs, and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MailHandler)
        self.mail: list[str] = []


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        in_text = False
        for line in self.rfile:
            text = line.decode().rstrip("\r\n")
            self.server.mail.append(text)
            if in_text and text != ".":
                continue
            in_text = text.upper() == "DATA"
            answer = {"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}
            self.wfile.write(answer.get(text.upper(), b"250 ok\r\n"))
            if text.upper() == "QUIT":
                return
