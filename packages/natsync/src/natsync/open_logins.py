"""What logins by access token are put together from: who is enrolled, who is let in, who is cut off."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.adapters.issuers import TokenVerifier
from common.adapters.nats_bus import Bus
from common.adapters.nats_connections import open_nats
from common.adapters.nats_notices import NoticeStream
from common.adapters.pocketbase import PocketBase
from common.serving.background import running
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_callout import NatsCallout
from natsync.adapters.nats_connection_report import NatsConnectionReport
from natsync.adapters.nats_servers import NatsServers
from natsync.adapters.pocketbase_enrolment import PocketBaseEnrolment
from natsync.admit import Admit
from natsync.answer_requests import AnswerRequests
from natsync.core.collections.enrolment import Gateway
from natsync.core.state.built_in import CALLOUT
from natsync.core.state.rights import Defaults
from natsync.cut_off import CutOff
from natsync.enrol import COLLECTIONS, Enrol
from natsync.issue_creds import IssueCreds


@dataclass(frozen=True, slots=True)
class Means:
    """What the rest of natsync has opened."""

    pocketbase: PocketBase
    servers: NatsServers
    bus: Bus
    verifier: TokenVerifier
    keyring: Keyring


@dataclass(frozen=True, slots=True)
class LoginTerms:
    """Without `creds` NATS is not listened to."""

    gateway: Gateway
    defaults: Defaults
    nats_url: str
    creds: Path | None


@dataclass(frozen=True, slots=True)
class Logins:
    """What the HTTP API needs of it. `probes` are for readiness."""

    issue: IssueCreds
    source: PocketBaseEnrolment
    report: NatsConnectionReport
    probes: Mapping[str, Callable[[], Awaitable[None]]]


@asynccontextmanager
async def open_logins(means: Means, terms: LoginTerms) -> AsyncGenerator[Logins]:
    source, report = PocketBaseEnrolment(means.pocketbase), NatsConnectionReport(means.servers)
    enrol = Enrol(source, means.pocketbase.follow(COLLECTIONS), defaults=terms.defaults)
    admit = Admit(enrol, means.verifier, means.keyring, gateway=terms.gateway)
    cut_off = CutOff(enrol, admit, means.verifier, source, report)
    issue = IssueCreds(enrol, source, means.keyring, gateway=terms.gateway)
    requests = AnswerRequests(means.bus, issue, enrol, source)
    hear = partial(cut_off.hear, NoticeStream(means.bus, "natsync", is_keeper=True))
    async with running(enrol.listen, enrol.work, hear, cut_off.write, cut_off.work, requests.run):
        if terms.creds is None:
            yield Logins(issue, source, report, {})
            return
        async with open_nats(terms.nats_url, name=CALLOUT, creds=terms.creds) as connection:
            callout = NatsCallout(connection)
            async with running(partial(answer_logins, callout, admit), cut_off.sweep):
                yield Logins(issue, source, report, {"callout": callout.answers})


async def answer_logins(callout: NatsCallout, admit: Admit) -> None:
    """Loop. Whoever would only turn people away leaves the question to another natsync, if there is one."""
    await admit.informed.wait()
    await callout.run(admit.answer)
