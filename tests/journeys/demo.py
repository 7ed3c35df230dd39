"""`just demo`: walks through the running platform and prints what came back."""

import asyncio
import json
import os
import sys

from common.serving.settings import SettingsError
from infra.embedded import parts, settings
from infra.embedded.settings import PlatformSettings
from tests.journeys.journey import Address, walk


def address_of(chosen: PlatformSettings) -> Address:
    return Address(
        url=chosen.local_url,
        admin_email=chosen.admin_email,
        admin_password=chosen.admin_password,
        pocketbase_url=parts.addresses(chosen).pocketbase,
        superuser_email=chosen.superuser_email,
        superuser_password=chosen.superuser_password,
    )


async def show(address: Address) -> None:
    count = 0
    async for seen in walk(address):
        count += 1
        print(f"{count:2}. {seen.step}\n    {json.dumps(seen.detail)}", flush=True)
    print(f"\n{count} steps through {address.url}, all as expected.")


def main() -> int:
    try:
        chosen = settings.load(dict(os.environ))
    except SettingsError as error:
        print(f"pocketwire: {error}\nIs the platform up? Start it with `just up --detach`.", file=sys.stderr)
        return 1
    try:
        asyncio.run(show(address_of(chosen)))
    except (AssertionError, OSError) as error:
        print(f"pocketwire: the demo stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
