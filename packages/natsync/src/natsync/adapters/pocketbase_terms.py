"""The terms of `core.leadership`, in `natsync_terms`."""

from common.adapters.pocketbase import BatchRefused, PocketBase, record_path, records_path
from natsync.adapters.pocketbase_writing import PocketBaseWriting, Request
from natsync.core.collections.leadership import Term, latest, to_term

COLLECTION = "natsync_terms"


class PocketBaseTerms:
    """All methods raise ServiceError."""

    def __init__(self, pocketbase: PocketBase) -> None:
        self._pocketbase = pocketbase
        self._writing = PocketBaseWriting(pocketbase)

    async def read(self) -> list[Term]:
        return [to_term(row) for row in await self._pocketbase.records(COLLECTION)]

    async def begin(self, before: list[Term], holder: str) -> Term | None:
        """The term after these; None when another was quicker."""
        body = {"epoch": latest(before).epoch + 1, "holder": holder}
        over: list[Request] = [{"method": "DELETE", "url": record_path(COLLECTION, term.id)} for term in before]
        begun: Request = {"method": "POST", "url": records_path(COLLECTION), "body": body}
        try:
            *_, row = await self._writing.all_or_none([*over, begun])
        except BatchRefused:
            return None
        return to_term(row)

    async def give_back(self, term: Term) -> None:
        """Another may begin at once. The row stays, for its epoch to count."""
        await self._pocketbase.update(COLLECTION, term.id, {"holder": ""})


def fencing(term: Term) -> Request:
    """Changes nothing; fails once the term is over."""
    return {"method": "PATCH", "url": record_path(COLLECTION, term.id), "body": {"holder": term.holder}}
