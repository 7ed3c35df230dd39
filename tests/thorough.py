"""How many examples a differential test tries: few in every run, as many as one likes with POCKETWIRE_EXAMPLES."""

import os


def examples(usual: int) -> int:
    return int(os.environ.get("POCKETWIRE_EXAMPLES", usual))
