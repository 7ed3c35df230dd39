from pathlib import PurePosixPath

from natsync.core.moving.export_readme import readme
from natsync.core.servers.server_configuration import Layout, Trust, exported

TRUST = Trust("o.p.q", "ASYS", {"ASYS": "x.y.z"}, "s.t.u")


def test_it_says_how_to_start_each_server_and_where_natsync_finds_them() -> None:
    text = readme(TRUST, Layout(2, ("n1.example", "n2.example"), cluster_password="hunter2"))
    assert "on n1.example: `nats-server --config nats-1.conf`" in text
    assert "`nats://n1.example:4222,nats://n2.example:4222`" in text
    assert "hunter2" not in text


def test_every_file_is_explained() -> None:
    for layout in (Layout(), Layout(3, store=PurePosixPath("/var/lib/nats"), cluster_password="p")):
        text = readme(TRUST, layout)
        for name in exported(TRUST, layout):
            assert f"`{name}`" in text
        assert f"`{layout.store}`" in text
