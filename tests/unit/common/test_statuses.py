from common.core import errors
from common.core.errors import Forbidden, RateLimited, ServiceError
from common.core.statuses import STATUS, status_of


class NotYours(Forbidden):
    """A failure of a package of its own."""


def test_every_failure_has_a_status() -> None:
    listed = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError)}
    assert set(STATUS) <= listed
    assert all(STATUS.keys() & set(kind.__mro__) for kind in listed - {ServiceError})


def test_a_new_failure_answers_like_its_nearest_ancestor() -> None:
    assert status_of(NotYours("no")) == 403
    assert status_of(RateLimited("slow down", retry_seconds=1)) == 429
    assert status_of(ServiceError("bug")) == 500
