"""chathub's node as it runs, over real servers, with room for 10,000 clients."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.asked_process import Asked, running
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer, issuer
from tests.servers.nats import nats_server
from tests.servers.postgres import postgres_server
from tests.servers.process import directory
from tests.servers.valkey import valkey_server

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Site:
    node: Chathub
    home: Path
    nats_url: str
    database_url: str
    issuer: Issuer

    def tokens(self, prefix: str, count: int) -> list[str]:
        return [self.issuer.token(f"{prefix}{number}") for number in range(count)]

    def tokens_file(self, tokens: Sequence[str]) -> Path:
        file = self.home / "tokens"
        file.write_text("\n".join(tokens))
        return file

    def resident_kib(self) -> int:
        lines = Path(f"/proc/{self.node.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    @contextmanager
    def crowd(self, count: int, prefix: str = "c") -> Generator[Asked]:
        """Open and welcomed, each as a user of its own."""
        file = self.tokens_file(self.tokens(prefix, count))
        with running("tests.chat_crowd", str(self.node.port), str(count), str(file)) as crowd:
            assert crowd.line() == "ready"
            yield crowd


@contextmanager
def open_site() -> Generator[Site]:
    """NATS writes each message to disk before it acknowledges it, as in production."""
    with ExitStack() as stack:
        home, tokens = stack.enter_context(directory()), stack.enter_context(issuer())
        nats_url, valkey_url = stack.enter_context(nats_server()), stack.enter_context(valkey_server())
        database_url = stack.enter_context(postgres_server())
        chathub.migrated(database_url)
        asyncio.run(chathub.set_limit(database_url, 100_000_000))
        environment = {
            **chathub.environment(database_url=database_url, nats_url=nats_url, issuer=tokens),
            "VALKEY_URL": valkey_url,
        }
        node = stack.enter_context(chathub.chathub(home / "chathub.log", environment))
        chathub.wait_until_ready(node, 60)
        yield Site(node, home, nats_url, database_url, tokens)
