"""The files with which nats-servers elsewhere trust this operator."""

import hashlib
import hmac
from dataclasses import replace

from natsync.adapters.credentials_directory import CredentialsDirectory
from natsync.adapters.keyring import Keyring
from natsync.bootstrap import Say, trust_of
from natsync.core.moving.export_readme import readme
from natsync.core.servers.server_configuration import Layout, exported
from natsync.core.state.built_in import CalloutTerms
from natsync.core.state.ledger import Entries


class NothingToExport(Exception):
    """There is no operator yet, or it has said nothing."""


def files_of(entries: Entries, keyring: Keyring, layout: Layout, callout: CalloutTerms) -> dict[str, str]:
    """By name. The same ledger and layout give the same files. Raises NothingToExport or SealBroken."""
    operator = entries.get("operator", "operator")
    if operator is None or not operator.jwt:
        raise NothingToExport("There is no operator; run `natsync bootstrap` first.")
    trust = trust_of(entries, callout)
    if layout.nodes > 1:
        layout = replace(layout, cluster_password=route_password(keyring.identity(operator).seed))
    return {**exported(trust, layout), "README.md": readme(trust, layout)}


def route_password(seed: str) -> str:
    """The same at every export, so that files of two of them go together, and known to nobody without the seed."""
    return hmac.new(seed.encode(), b"natsync: routes of the cluster", hashlib.sha256).hexdigest()


def write(directory: CredentialsDirectory, files: dict[str, str], say: Say) -> None:
    """Raises OSError."""
    for name, text in files.items():
        if directory.write(name, text):
            say(f"{directory.path(name)}: written")
