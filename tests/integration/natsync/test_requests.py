"""What services ask natsync over the bus."""

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest

from common.adapters.nats_bus import Bus, open_bus
from common.core import subjects
from common.core.errors import Forbidden, NotFound
from natsync.core.servers.rpc import AccountStatusAnswer, AccountStatusRequest, CredsAnswer, CredsRequest
from tests.eventually import eventually
from tests.servers.natsync import PASSWORD, Stack, Tenants, connected_with


@pytest.fixture
async def gateway(natsync: Stack) -> AsyncGenerator[Bus]:
    async with open_bus(natsync.nats_url, name="gateway", creds=natsync.directory / "creds" / "gateway.creds") as bus:
        await bus.ready()
        yield bus


async def test_the_gateway_gets_the_credentials_of_a_row_and_of_whom_it_is_linked_to(
    natsync: Stack, tenants: Tenants, gateway: Bus
) -> None:
    login = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "passwordConfirm": PASSWORD}
    owner = await tenants.control.create("users", login)
    account = await tenants.account()
    user = await tenants.user(account, await tenants.role(), user=owner["id"])
    shown = await tenants.credentials(user)
    for asked in (user["id"], owner["id"]):

        async def given(whose: str = asked) -> CredsAnswer | None:
            try:
                return await gateway.request(subjects.CREDS_ISSUE, CredsRequest(user=whose), CredsAnswer)
            except NotFound:  # it has not heard of the row yet
                return None

        answer = await eventually(given)
        assert answer
        assert (answer.user, answer.account, answer.creds_file) == (user["id"], account["id"], shown)
    async with connected_with(natsync.nats_url, shown):
        pass


async def test_it_is_told_how_far_an_account_is(tenants: Tenants, gateway: Bus) -> None:
    account, *_ = await tenants.someone()

    async def told() -> AccountStatusAnswer:
        asked = AccountStatusRequest(account=account["id"])
        return await gateway.request(subjects.ACCOUNT_STATUS, asked, AccountStatusAnswer)

    answer = await eventually(told, lambda said: said.sync_status == "synced" and said.users == 1)
    assert (answer.name, answer.active, answer.sync_error) == (account["name"], True, "")


async def test_of_nobody_there_is_nothing(gateway: Bus) -> None:
    for unknown in ("nobody", 'x" || id != "', ""):
        with pytest.raises(NotFound):
            await gateway.request(subjects.CREDS_ISSUE, CredsRequest(user=unknown), CredsAnswer)
        with pytest.raises(NotFound):
            await gateway.request(subjects.ACCOUNT_STATUS, AccountStatusRequest(account=unknown), AccountStatusAnswer)


async def test_other_services_may_not_ask(natsync: Stack, tenants: Tenants) -> None:
    *_, user, _ = await tenants.someone()
    creds = natsync.directory / "creds" / "chathub.creds"
    async with open_bus(natsync.nats_url, name="chathub", creds=creds) as chathub:
        await chathub.ready()
        with pytest.raises(Forbidden):
            await chathub.request(subjects.CREDS_ISSUE, CredsRequest(user=user["id"]), CredsAnswer)
