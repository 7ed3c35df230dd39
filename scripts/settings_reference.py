"""Writes docs/reference/settings.md from the settings classes, so that the page cannot drift from the code."""

from pathlib import Path

import chathub.settings
import gateway.settings
import natsync.settings
from common.serving.settings import reference
from infra.embedded.settings import PlatformSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"

INTRODUCTION = """\
# Settings

Written by `just settings-reference`. Everything is read from the environment; `just up` also reads `.env` beside the
checkout and passes to each service what bears its prefix. A variable with a known prefix that is no setting is refused.
"""


def page() -> str:
    parts = {
        "The platform on one machine": PlatformSettings,
        "gateway": gateway.settings.Settings,
        "natsync": natsync.settings.Settings,
        "chathub": chathub.settings.Settings,
    }
    return INTRODUCTION + "".join(f"\n## {title}\n\n{reference(kind)}\n" for title, kind in parts.items())


if __name__ == "__main__":
    PAGE.write_text(page())
