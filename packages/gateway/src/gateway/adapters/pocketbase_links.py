"""Which record is which issuer's user, in PocketBase's own table of external accounts."""

import hashlib
from collections.abc import Mapping
from typing import Any

from common.adapters.pocketbase import PocketBase
from common.core.errors import Forbidden, InvalidRequest
from common.core.pocketbase_answers import as_mapping
from gateway.adapters.pocketbase_control import asked
from gateway.core.collections.catalogue import Collection
from gateway.sessions.enter import TAKEN

TABLE = "_externalAuths"
PROVIDER = "oidc"
"""A name that PocketBase knows. Whose users they are stands in the id, so that none can pass for another issuer's."""

REFUSED = "PocketBase does not take a record of this user."


class PocketBaseLinks:
    def __init__(self, control: PocketBase) -> None:
        self._control = control

    async def find(self, collection: Collection, provider: str, subject: str) -> str | None:
        condition = f'collectionRef = "{collection.id}" && providerId = "{external_id(provider, subject)}"'
        async with asked():
            found = await self._control.records(TABLE, filter=condition)
        return str(found[0]["recordRef"]) if found else None

    async def adopt(self, collection: Collection, provider: str, subject: str, email: str) -> str | None:
        """Raises Forbidden."""
        async with asked():
            found = await self._control.records(collection.name, filter=f"email = {quoted(email)}")
        if not found:
            return None
        if not found[0].get("verified"):
            raise Forbidden(TAKEN)
        await self._link(collection, provider, subject, str(found[0]["id"]))
        return str(found[0]["id"])

    async def make(self, collection: Collection, provider: str, subject: str, fields: Mapping[str, Any]) -> str:
        """A record whose link fails is adopted at the next sign-in, by its address. Raises Forbidden."""
        async with asked():
            try:
                made = await self._control.create(collection.name, fields)
            except InvalidRequest:
                made = None
        if made is None:
            raise Forbidden(REFUSED)
        await self._link(collection, provider, subject, str(made["id"]))
        return str(made["id"])

    async def is_welcome(self, collection: Collection, record_id: str) -> bool:
        """By the collection's `authRule`, asked as a filter. One that looks at the request cannot be asked so, and lets
        nobody in; without one, nobody may sign in.
        """
        async with asked():
            told = await self._control.request("GET", f"/api/collections/{collection.id}")
            rule: object = as_mapping(told).get("authRule")
            if not isinstance(rule, str) or "@request." in rule:
                return rule == ""
            condition = f"id = {quoted(record_id)}"
            wanted = f"{condition} && ({rule}\n)" if rule else condition
            return bool(await self._control.records(collection.name, filter=wanted, fields="id"))

    async def _link(self, collection: Collection, provider: str, subject: str, record_id: str) -> None:
        link = {
            "collectionRef": collection.id,
            "recordRef": record_id,
            "provider": PROVIDER,
            "providerId": external_id(provider, subject),
        }
        async with asked():
            await self._control.create(TABLE, link)


def external_id(provider: str, subject: str) -> str:
    """Of one size and without a character that a filter could mistake."""
    return hashlib.sha256(f"{len(provider)}:{provider}{subject}".encode("utf-8", "surrogatepass")).hexdigest()


def quoted(text: str) -> str:
    """As a literal of PocketBase's filters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
