from pathlib import PurePosixPath

import pytest

from common.core import subjects
from natsync.core.servers import platform
from natsync.core.servers.server_configuration import Layout, Ports, Trust, exported, render
from natsync.core.validation.subject_grammar import subject_fault

TRUST = Trust("o.p.q", "ASYS", {"ASYS": "x.y.z", "AAUTH": "u.v.w"}, "s.t.u")


def test_paths_are_absolute_and_quoted_and_every_listener_is_on_loopback() -> None:
    text = render(
        TRUST, ports=Ports(1, 2, 3), operator=PurePosixPath('/a "b"/operator.jwt'), store=PurePosixPath("/store")
    )
    assert 'operator: "/a \\"b\\"/operator.jwt"' in text
    assert 'dir: "/store/resolver"' in text
    assert 'default_sentinel: "s.t.u"' in text
    listeners = [line for line in text.splitlines() if "listen:" in line or line.startswith("http:")]
    assert len(listeners) == 3
    assert all("127.0.0.1:" in line for line in listeners)


def test_without_logins_by_token_there_is_no_sentinel() -> None:
    files = exported(Trust("o.p.q", "ASYS", {"ASYS": "x.y.z"}), Layout())
    assert "sentinel" not in "".join(files.values())


def test_exported_files_name_no_place_of_this_machine() -> None:
    for layout in (Layout(), Layout(3, cluster_password="p")):
        for name, text in exported(TRUST, layout).items():
            lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
            assert not [line for line in lines if '"/' in line or " /" in line], name


def test_one_server_needs_one_file_and_several_have_one_each() -> None:
    assert exported(TRUST, Layout()).keys() == {"operator.jwt", "operator.conf", "nats.conf"}
    files = exported(TRUST, Layout(3, cluster_password="p"))
    assert files.keys() - {"operator.jwt", "operator.conf", "nats.conf"} == {f"nats-{n}.conf" for n in (1, 2, 3)}


def test_on_one_machine_every_server_has_ports_and_a_store_of_its_own() -> None:
    files = exported(TRUST, Layout(2, cluster_password="p"))
    assert '127.0.0.1:4222"' in files["nats-1.conf"]
    assert '127.0.0.1:4223"' in files["nats-2.conf"]
    assert "nats-data/pocketwire-1/resolver" in files["nats-1.conf"]
    assert "nats-route://natsync:p@127.0.0.1:6223" in files["nats-1.conf"]
    assert "nats-route://natsync:p@127.0.0.1:6222" not in files["nats-1.conf"]


def test_on_machines_of_their_own_they_have_the_same_ports_and_are_reached_by_name() -> None:
    files = exported(TRUST, Layout(2, ("n1.example", "n2.example"), cluster_password="p"))
    assert 'listen: "0.0.0.0:4222"' in files["nats-1.conf"]
    assert 'listen: "0.0.0.0:4222"' in files["nats-2.conf"]
    assert "nats-route://natsync:p@n1.example:6222" in files["nats-2.conf"]
    assert 'http: "127.0.0.1:8222"' in files["nats-1.conf"]


@pytest.mark.parametrize("name", platform.SERVICES)
def test_a_service_user_has_proper_subjects_its_own_inbox_and_no_one_elses(name: str) -> None:
    allowed = platform.PERMISSIONS[name]
    for subject in (*allowed.publish, *allowed.subscribe):
        assert subject_fault(subject, queues=False) == ""
        assert subject not in {">", "*", "$SYS.>", "$JS.>", "$JS.API.>"}
    assert [subject for subject in allowed.subscribe if "INBOX" in subject] == [subjects.inbox(name)]
    assert not any("INBOX" in subject for subject in allowed.publish)


def test_only_the_gateway_hears_images_and_only_natsync_sends_them() -> None:
    hears = {name for name, allowed in platform.PERMISSIONS.items() if subjects.IMAGES in allowed.subscribe}
    sends = {name for name, allowed in platform.PERMISSIONS.items() if subjects.IMAGES in allowed.publish}
    assert (hears, sends) == ({"gateway"}, {"natsync"})
