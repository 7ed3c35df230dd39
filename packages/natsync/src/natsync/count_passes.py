"""What passes come to, for whoever watches over many natsyncs."""

from prometheus_client import Counter, Gauge, Histogram

from natsync.core.showing.pass_report import Pass, counts

PASSES = Counter("natsync_passes", "Passes, by how they ended.", ("outcome",))
SECONDS = Histogram("natsync_pass_seconds", "One pass, from reading to the last row.")
CARRIED_OUT = Counter("natsync_carried_out", "What passes have done.", ("what",))
ACCOUNTS = Gauge("natsync_accounts", "Accounts, by how far they have come.", ("state",))
USERS = Gauge("natsync_users", "Users, by whether they are to have access.", ("state",))
FOREIGN = Gauge("natsync_foreign_accounts", "Accounts on the servers that are not ours.")

DONE = ("published", "removed", "issued", "written", "orders")
STATES = ("synced", "pending", "inactive", "error")


def count_pass(done: Pass, *, error: str, seconds: float) -> None:
    """Of a pass that failed only that is known."""
    PASSES.labels("failed" if error else "ok").inc()
    SECONDS.observe(seconds)
    if error:
        return
    found = counts(done)
    for what in DONE:
        CARRIED_OUT.labels(what).inc(found[what])
    for state in STATES:
        ACCOUNTS.labels(state).set(sum(account.status.state == state for account in done.accounts))
    USERS.labels("active").set(sum(account.users for account in done.accounts))
    USERS.labels("suspended").set(sum(account.suspended for account in done.accounts))
    FOREIGN.set(done.foreign)
