"""How far everything has come, read from the rows, for a terminal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from natsync.core.collections.rows import Row, text
from natsync.core.state.ledger import Entry

HEAD = ("ACCOUNT", "ID", "STATUS", "USERS", "NOT SYNCED", "REMARK")
MOST_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Overview:
    operator: str
    accounts: tuple[tuple[str, ...], ...]
    users: int
    unsynced: int

    @property
    def is_settled(self) -> bool:
        return not self.unsynced and all(line[2] in ("synced", "inactive") for line in self.accounts)

    @property
    def lines(self) -> list[str]:
        table = [HEAD, *self.accounts]
        widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
        return [
            f"operator: {self.operator or 'none: run `natsync bootstrap`'}",
            f"users: {self.users}, of them not synced: {self.unsynced}",
            *(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                for line in table
            ),
        ]


def overview(operator: Entry | None, accounts: Sequence[Row], users: Sequence[Row]) -> Overview:
    of_account = Counter(text(user, "account_id") for user in users)
    lagging = Counter(text(user, "account_id") for user in users if lags(user))
    return Overview(
        operator=f"{operator.name} {operator.public_key}" if operator else "",
        accounts=tuple(
            (
                text(row, "name"),
                row["id"],
                text(row, "sync_status") or "new",
                str(of_account[row["id"]]),
                str(lagging[row["id"]]),
                text(row, "sync_error").replace("\n", " ")[:MOST_CHARACTERS],
            )
            for row in sorted(accounts, key=lambda row: (text(row, "name"), row["id"]))
        ),
        users=len(users),
        unsynced=sum(lagging.values()),
    )


def lags(row: Row) -> bool:
    return text(row, "sync_status") not in ("synced", "inactive")
