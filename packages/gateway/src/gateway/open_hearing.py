"""One request before the rules: who asks, from where, when."""

from datetime import UTC, datetime
from typing import Final

from common.correlation import REQUEST_ID_HEADER, outgoing
from gateway.core.request import Call
from gateway.core.rule_files.context import GUEST, Asker, Metadata, readable_headers
from gateway.core.sessions.account_change import TAKES_OVER
from gateway.core.sessions.principal import Principal
from gateway.judging.judge import Hearing, Judge

UNASKED: Final = Metadata()
"""Where there are no rules that could ask."""


def hearing_of(judge: Judge, call: Call) -> Hearing:
    """To be opened once per request, since it keeps to the rules in force now."""
    if not judge.rules.current.rules:
        return judge.hearing(GUEST, UNASKED)
    return judge.hearing(asker_of(call.principal), metadata_of(call))


def metadata_of(call: Call) -> Metadata:
    return Metadata(
        request_id=outgoing().get(REQUEST_ID_HEADER, ""),
        timestamp=datetime.now(UTC),
        client_address=call.request.address,
        context="oauth2" if call.request.route.after[-1:] == (TAKES_OVER,) else "default",
        headers=readable_headers(call.request.headers),
    )


def asker_of(principal: Principal | None) -> Asker:
    if principal is None:
        return GUEST
    return Asker(
        principal.record_id,
        principal.collection_name,
        principal.username,
        principal.roles,
        principal.tenant,
        principal.clearance,
    )
