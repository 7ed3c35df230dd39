"""Many WebSockets in one process that only counts: `python -m tests.chat_crowd PORT COUNT TOKENS [follow]`.

`TOKENS` is a file with a token a line, taken in turn; `-` for a server that asks for none. Prints `ready` once all are
open and what they were welcomed with has been read. Lines of input, each answered with a line of JSON:

`bytes N`: once so many bytes have come since the last answer; `listen S`: after S seconds, with the delays of the
messages in which somebody wrote when it was said, as `t=` and nanoseconds of CLOCK_MONOTONIC, one clock for all
processes; `say N`: once so many messages are acknowledged, every socket saying its next when it has the acknowledgement
of the one before, with the seconds it took; `follow N`: once every socket was told of so many public messages since it
was opened, with the places in the log of one socket's, and how many different orders there were; `deaf N`: so many
sockets are read no more; `closes`: once the others are closed by the server, with the close codes and the seconds.
"""

import json
import re
import select
import socket
import sys
import time
from collections import Counter
from pathlib import Path

PATIENCE_SECONDS = 120
QUIET_SECONDS = 1.0
RECEIVED_BYTES = 256 * 1024
SAID_AT = re.compile(rb"t=(\d+)")
ACKNOWLEDGED = b'{"type":"ack"'
PLACE = re.compile(rb'\{"type":"chat_message","sender":"[^"]*","payload":\{"cacheID":(\d+),')
UNFINISHED_BYTES = 200
"""Of a frame's beginning, which may come in two pieces."""
PING = re.compile(rb"\x89\x04(.{4})", re.DOTALL)
CLOSE = re.compile(rb"\x88[\x02-\x7d](..)", re.DOTALL)
SAID = b'{"type":"chat_message","channel":"general","message":"%b","client_msg_id":"b-%%d-%%d"}' % (b"x" * 140)
REQUEST = (
    "GET /ws{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Crowd:
    def __init__(self, port: int, *, follows: bool) -> None:
        self._port = port
        self._follows = follows
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._last: dict[int, bytes] = {}
        self._bytes = 0
        self._delays: list[int] = []
        self._listening = False
        self._said = 0
        self._deaf: list[socket.socket] = []
        self._places: dict[int, list[int]] = {}
        self._rests: dict[int, bytes] = {}
        self._cut: dict[int, bytes] = {}

    def open(self, count: int, tokens: list[str]) -> None:
        for index in range(count):
            query = f"?token={tokens[index % len(tokens)]}" if tokens else ""
            opened = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)
            opened.sendall(REQUEST.format(query=query).encode())
            self._upgraded(opened)
            opened.setblocking(False)
            self._sockets[opened.fileno()] = opened
            self._places[opened.fileno()] = []
            self._poll.register(opened, select.EPOLLIN)
            if index % 100 == 99:
                self._read_all()
        self.until_quiet()

    def _upgraded(self, opened: socket.socket) -> None:
        said = b""
        while b"\r\n\r\n" not in said:
            if not (piece := opened.recv(RECEIVED_BYTES)):
                raise ConnectionError(said.decode(errors="replace"))
            said += piece
        if not said.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(said.decode(errors="replace"))

    def _read_all(self) -> None:
        """Who does not read is closed."""
        while self._read_for(0):
            pass

    def until_quiet(self) -> None:
        while self._read_for(QUIET_SECONDS):
            pass
        self._bytes = 0

    def until(self, count: int) -> dict[str, float]:
        ends = time.monotonic() + PATIENCE_SECONDS
        while self._bytes < count and time.monotonic() < ends:
            self._read_for(0.2)
        read, self._bytes = self._bytes, 0
        return {"bytes": read}

    def listen(self, seconds: float) -> dict[str, float]:
        self._delays, self._listening = [], True
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._read_for(left)
        self._listening, delays = False, sorted(self._delays)
        if not delays:
            raise ConnectionError("Nothing was heard.")
        p50, p99 = (delays[int(len(delays) * part)] / 1e6 for part in (0.5, 0.99))
        return {"heard": len(delays), "p50_ms": p50, "p99_ms": p99, "max_ms": delays[-1] / 1e6}

    def say(self, count: int) -> dict[str, float]:
        begun, left = time.monotonic(), count
        for said in self._sockets.values():
            self._say(said)
        while left > 0 and time.monotonic() < begun + PATIENCE_SECONDS:
            for number, _ in self._poll.poll(1):
                data = self._cut.get(number, b"") + self._received(number)
                acknowledged = data.count(ACKNOWLEDGED)
                self._cut[number] = data[1 - len(ACKNOWLEDGED) :]
                left -= acknowledged
                if acknowledged and left >= len(self._sockets):
                    self._say(self._sockets[number])
        return {"seconds": time.monotonic() - begun, "left": left}

    def _say(self, by: socket.socket) -> None:
        """Masked, as a client has to, with a mask that changes nothing."""
        self._said += 1
        text = SAID % (self._said, int(time.monotonic()))
        by.sendall(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)

    def follow(self, count: int) -> dict[str, object]:
        ends = time.monotonic() + PATIENCE_SECONDS
        while min(len(self._places[number]) for number in self._sockets) < count and time.monotonic() < ends:
            self._read_for(0.2)
        orders = {tuple(self._places[number]) for number in self._sockets}
        return {"orders": len(orders), "places": sorted(orders)[0]}

    def deaf(self, count: int) -> dict[str, float]:
        for number in list(self._sockets)[:count]:
            self._poll.unregister(number)
            self._deaf.append(self._sockets.pop(number))
        return {"deaf": len(self._deaf)}

    def closes(self) -> dict[str, float]:
        begun = time.monotonic()
        ends = begun + PATIENCE_SECONDS
        codes: Counter[str] = Counter()
        while self._sockets and time.monotonic() < ends:
            for number, _ in self._poll.poll(1):
                self._last_words(number, codes)
        return {**codes, "seconds": time.monotonic() - begun}

    def _last_words(self, number: int, codes: Counter[str]) -> None:
        try:
            piece = self._sockets[number].recv(RECEIVED_BYTES)
        except ConnectionError:
            piece = b""
        if piece:
            self._last[number] = (self._last.get(number, b"") + piece)[-256:]
            return
        found = CLOSE.search(self._last.pop(number, b""))
        codes[str(int.from_bytes(found[1], "big")) if found else "none"] += 1
        self._poll.unregister(number)
        self._sockets.pop(number).close()

    def _read_for(self, seconds: float) -> bool:
        """Whether anything came."""
        ready = self._poll.poll(seconds)
        for number, _ in ready:
            piece = self._received(number)
            self._bytes += len(piece)
            if self._listening:
                now = time.monotonic_ns()
                self._delays += [now - int(said_at) for said_at in SAID_AT.findall(piece)]
        return bool(ready)

    def _received(self, number: int) -> bytes:
        piece = self._sockets[number].recv(RECEIVED_BYTES)
        if not piece:
            raise ConnectionError("A socket was closed.")
        for ping in PING.finditer(piece):
            self._sockets[number].send(b"\x8a\x84" + bytes(4) + ping[1])
        if self._follows:
            data, end = self._rests.get(number, b"") + piece, 0
            for found in PLACE.finditer(data):
                self._places[number].append(int(found[1]))
                end = found.end()
            self._rests[number] = data[max(end, len(data) - UNFINISHED_BYTES) :]
        return piece


def main(port: str, count: str, tokens: str, *how: str) -> None:
    crowd = Crowd(int(port), follows="follow" in how)
    crowd.open(int(count), [] if tokens == "-" else Path(tokens).read_text().split())
    say("ready")
    for line in sys.stdin:
        match line.split():
            case ["bytes", number]:
                say(json.dumps(crowd.until(int(number))))
            case ["listen", seconds]:
                say(json.dumps(crowd.listen(float(seconds))))
            case ["say", number]:
                say(json.dumps(crowd.say(int(number))))
            case ["follow", number]:
                say(json.dumps(crowd.follow(int(number))))
            case ["deaf", number]:
                say(json.dumps(crowd.deaf(int(number))))
            case _:
                say(json.dumps(crowd.closes()))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
