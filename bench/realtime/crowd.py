"""Many event streams in one process that only counts: `python -m bench.realtime.crowd URL COUNT TOPIC TOKENS`.

`TOKENS` is a JSON list; each stream takes one in turn, an empty one is a guest's. Prints `ready` once all subscribed.
A line of input `AT LEAST N` is answered, once so many events have come since the last, with their number and with when
the last of them came, in seconds of CLOCK_MONOTONIC, which is one clock for all processes.
"""

import http.client
import json
import re
import select
import socket
import sys
import time
from urllib.parse import urlsplit

PATIENCE_SECONDS = 60
CLIENT_ID = re.compile(rb'"clientId":"([^"]+)"')
RECEIVED_BYTES = 256 * 1024


class Crowd:
    def __init__(self, url: str, topic: str, tokens: list[str]) -> None:
        found = urlsplit(url)
        self.host, self.port = found.hostname or "", found.port or 80
        self.topic = topic
        self.tokens = tokens
        self.events = 0
        self.last = 0.0
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}

    def open(self, count: int) -> None:
        posting = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        for index in range(count):
            opened = socket.create_connection((self.host, self.port), timeout=PATIENCE_SECONDS)
            opened.sendall(b"GET /api/realtime HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n\r\n")
            self._subscribe(posting, self._client_id(opened), self.tokens[index % len(self.tokens)])
            opened.setblocking(False)
            self._sockets[opened.fileno()] = opened
            self._poll.register(opened, select.EPOLLIN)

    def _client_id(self, opened: socket.socket) -> str:
        said = b""
        while (found := CLIENT_ID.search(said)) is None:
            if not (piece := opened.recv(4096)):
                raise ConnectionError(said.decode(errors="replace"))
            said += piece
        return found[1].decode()

    def _subscribe(self, posting: http.client.HTTPConnection, client_id: str, token: str) -> None:
        headers = {"Content-Type": "application/json", **({"Authorization": token} if token else {})}
        body = json.dumps({"clientId": client_id, "subscriptions": [self.topic]})
        posting.request("POST", "/api/realtime", body, headers)
        answer = posting.getresponse()
        said = answer.read()
        if answer.status != 204:
            raise ConnectionError(f"{answer.status}: {said.decode(errors='replace')}")

    def until(self, count: int) -> None:
        ends = time.monotonic() + PATIENCE_SECONDS
        while self.events < count and time.monotonic() < ends:
            for number, _ in self._poll.poll(0.2):
                self._read(number)

    def _read(self, number: int) -> None:
        piece = self._sockets[number].recv(RECEIVED_BYTES)
        if not piece:
            raise ConnectionError("A stream was ended.")
        if found := piece.count(b"\ndata:"):
            self.events += found
            self.last = time.monotonic()


def main(url: str, count: str, topic: str, tokens: str) -> None:
    crowd = Crowd(url, topic, json.loads(tokens))
    crowd.open(int(count))
    say("ready")
    for line in sys.stdin:
        crowd.until(int(line.split()[-1]))
        say(json.dumps({"events": crowd.events, "last": crowd.last}))
        crowd.events = 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
