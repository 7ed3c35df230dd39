from pathlib import PurePosixPath

import pytest

from common.core import subjects
from natsync.core import platform
from natsync.core.server_configuration import Ports, render
from natsync.core.subject_grammar import subject_fault


def test_paths_are_absolute_and_quoted_and_every_listener_is_on_loopback() -> None:
    text = render(
        ports=Ports(1, 2, 3),
        operator=PurePosixPath('/a "b"/operator.jwt'),
        store=PurePosixPath("/store"),
        system_account="ASYS",
        preload={"ASYS": "x.y.z"},
    )
    assert 'operator: "/a \\"b\\"/operator.jwt"' in text
    assert 'dir: "/store/resolver"' in text
    listeners = [line for line in text.splitlines() if "listen:" in line or line.startswith("http:")]
    assert len(listeners) == 3
    assert all("127.0.0.1:" in line for line in listeners)


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
