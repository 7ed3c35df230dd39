"""What becomes of the rows of `nats_actions`: each is closed once, as done or as refused, and says what came of it."""

from collections.abc import Iterable, Mapping

from natsync.core.collections.rows import Row
from natsync.core.showing.mirrors import CARRYING_OUT, Fields, View
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.verbs import ALLOW_REMOVALS, KINDS, Action, fault_of, is_handled, is_refused

DONE, REFUSED, PENDING = "done", "refused", "pending"


def answer(action: Action, view: View, rows: Mapping[tuple[str, str], Row]) -> Fields:
    """The fields to set; none as long as the action waits for its turn. `rows` are as the pass has read them."""
    if action.verb == ALLOW_REMOVALS:
        return removals(view)
    if fault := fault_of(action, rows):
        return {"status": REFUSED, "result": fault}
    kind = KINDS[action.collection]
    entry = view.entries.by_place[kind, action.record]
    if not is_handled(action.token, entry):
        return {}
    if is_refused(action.token, entry):
        return {"status": REFUSED, "result": entry.remark or "nothing was changed"}
    account = entry.record if kind == "account" else entry.account
    is_on_its_way = entry.place in view.settling or is_to_be_resumed(action, rows)
    if reason := view.unfinished(account) or (CARRYING_OUT if is_on_its_way else ""):
        return {"status": PENDING, "result": reason}
    return {"status": DONE, "result": result(action.verb, entry)}


def is_to_be_resumed(action: Action, rows: Mapping[tuple[str, str], Row]) -> bool:
    return action.verb == "resume" and rows[action.collection, action.record].get("active") is not True


def removals(view: View) -> Fields:
    """Said once the pass that was allowed to has removed what it could."""
    left = [entry.record for entry in view.plan.remove if entry.record in view.pending]
    if left:
        return {"status": PENDING, "result": f"{len(left)} accounts are still on the servers"}
    users = sum(entry.kind == "user" for entry in view.plan.forget)
    return {"status": DONE, "result": f"removed: {len(view.plan.remove)} accounts, {users} users"}


def result(verb: str, entry: Entry) -> str:
    match verb:
        case "suspend" | "resume":
            return "suspended" if entry.suspended else "active"
        case "revoke" | "regenerate":
            return f"public key {entry.public_key}"
        case _:
            return f"signing key {entry.signing_public_key}"


def resumed(actions: Iterable[Action], entries: Entries) -> set[tuple[str, str]]:
    """Rows, by collection and id, that an open action has resumed: they are to be shown active, once."""
    found: set[tuple[str, str]] = set()
    for action in actions:
        kind = KINDS.get(action.collection)
        entry = entries.get(kind, action.record) if kind else None
        if action.verb == "resume" and entry and is_handled(action.token, entry) and not entry.suspended:
            found.add((action.collection, action.record))
    return found
