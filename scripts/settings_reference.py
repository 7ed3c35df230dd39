"""Writes docs/reference/settings.md and hapta-settings.md from the code, so that the pages cannot drift from it."""

from pathlib import Path

import chathub.settings
import gateway.settings
import natsync.settings
from common.serving.settings import reference
from gateway.core import old_keys
from infra.embedded.settings import PlatformSettings

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
PAGE = REFERENCE / "settings.md"
HAPTA_PAGE = REFERENCE / "hapta-settings.md"

INTRODUCTION = """\
# Settings

Written by `just settings-reference`. Everything is read from the environment; `just up` also reads `.env` beside the
checkout and passes to each service what bears its prefix. A variable with a known prefix that is no setting is refused.
"""


HAPTA_INTRODUCTION = """\
# Hapta's settings, and what they are here

Written by `just settings-reference`. An old key that is found in the environment, in `.env` or in `gateway.toml` is
named in a warning that says what replaces it. In `gateway.toml` a setting `GATEWAY_PORT` is called `port`, and
`POCKETBASE_URL` `pocketbase_url`. Names of the language itself:
[write rules](../how-to/write-rules.md#coming-from-hapta) and
[write routes](../how-to/write-routes.md#coming-from-hapta).
"""


def page() -> str:
    parts = {
        "The platform on one machine": PlatformSettings,
        "gateway": gateway.settings.Settings,
        "natsync": natsync.settings.Settings,
        "chathub": chathub.settings.Settings,
    }
    return INTRODUCTION + "".join(f"\n## {title}\n\n{reference(kind)}\n" for title, kind in parts.items())


def hapta_page() -> str:
    return f"{HAPTA_INTRODUCTION}\n{old_keys.table()}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    HAPTA_PAGE.write_text(hapta_page())
