"""What a pass would do, as lines for a terminal."""

from natsync.core.showing.difference import AccountChange, Difference

NOTHING = "Nothing to do."


def plan_lines(found: Difference) -> list[str]:
    lines = [
        *(f"carry out {order}" for order in found.orders),
        *(line for change in found.publish for line in account_lines("publish", change)),
        *(line for change in found.remove for line in account_lines("remove", change)),
        *(f"issue to user {one.name} ({one.user}) in account {one.account}: {one.why}" for one in found.issue),
        *(f"write {row.collection}/{row.id}: {', '.join(row.fields)}" for row in found.rows),
        *(f"forget {kind} {record}" for kind, record in found.forget),
    ]
    notes = [f"set aside {collection}/{id}: {reason}" for collection, id, reason in found.refused]
    notes += [f"not ours, left alone: account {public_key}" for public_key in found.foreign]
    notes += [f"removals are held: {found.halted}"] if found.halted else []
    return [*(lines or [NOTHING]), *notes]


def account_lines(verb: str, change: AccountChange) -> list[str]:
    """Each difference below the account; several of them would not be read in one line."""
    head = f"{verb} account {change.name} ({change.account}) {change.public_key}"
    return [head, *(f"    {why}" for why in change.why), *(f"    revokes {user}" for user in change.revoked)]
