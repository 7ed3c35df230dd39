"""What goes with exported server files, for whoever starts the servers."""

from natsync.core.servers.server_configuration import Layout, Trust

_TEXT = """\
# nats-server for the operator of this natsync

Written by `natsync export`. Nothing in this folder is a seed; {secrecy}.

| file | what it is |
|---|---|
| `operator.jwt` | the operator: whom servers believe |
| `operator.conf` | the operator, the system account {system_account}{sentinel}, and accounts to begin with |
{rows}

Copy the folder wherever the servers run; files are found beside each other. Accounts and streams are kept in
`{store}`{below}, which the server has to be allowed to write.

## Start

{start}

## Then

- Set `NATS_URL` of natsync to {urls} and start it: it publishes the accounts.
- `{check}` says what a file lacks, without starting anything.
- For TLS add a `tls` block beside `listen`, and one in `websocket` in place of `no_tls`.
- A change of the operator or of the accounts above calls for another export; accounts, users and roles do not.
"""


def readme(trust: Trust, layout: Layout) -> str:
    files = starting_files(layout)
    return _TEXT.format(
        secrecy="the password of the routes is in it" if layout.nodes > 1 else "it may be read by anybody",
        system_account=f"`{trust.system_account}`",
        sentinel=", the sentinel for logins by token" if trust.sentinel else "",
        rows=rows(layout),
        store=layout.store,
        below="" if layout.store.is_absolute() else " below the folder in which nats-server is started",
        start="\n".join(start_line(layout, number, file) for number, file in enumerate(files, 1)),
        urls=f"`{','.join(urls(layout))}`",
        check=f"nats-server -t --config {files[0]}",
    )


def starting_files(layout: Layout) -> list[str]:
    if layout.nodes == 1:
        return ["nats.conf"]
    return [f"nats-{number}.conf" for number in range(1, layout.nodes + 1)]


def rows(layout: Layout) -> str:
    if layout.nodes == 1:
        return "| `nats.conf` | the server: listeners, stores, limits |"
    nodes = [f"| `nats-{number}.conf` | server `{layout.name_of(number)}` |" for number in range(1, layout.nodes + 1)]
    return "\n".join(["| `nats.conf` | what all servers have in common |", *nodes])


def start_line(layout: Layout, number: int, file: str) -> str:
    where = f"on {layout.hosts[number - 1]}: " if layout.hosts else ""
    return f"- {where}`nats-server --config {file}`"


def urls(layout: Layout) -> list[str]:
    hosts = layout.hosts or ("127.0.0.1",) * layout.nodes
    return [f"nats://{host}:{layout.ports_of(number).client}" for number, host in enumerate(hosts, 1)]
