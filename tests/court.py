"""The rules engine with rule files of a test's own, and a table in the place of PocketBase's stored records."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from common.core.errors import NotFound, UpstreamUnavailable
from gateway.adapters.rule_folder import RuleFolder
from gateway.core.operation import Operation, Read, Write
from gateway.core.rule_files.context import GUEST, Asker, Metadata
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.moderation import ModerationTerms
from gateway.isolate.lanes import Lanes, open_lanes
from gateway.judging.judge import Hearing, Judge
from gateway.judging.moderate import Classifier, Moderator
from gateway.judging.run_rule import Runner
from tests.eventually import eventually

ANN = Asker(id="ann000000000000", collection="users", username="ann", roles=frozenset({"user"}))
BOB = Asker(id="bob000000000000", collection="users", username="bob")


@dataclass
class Table:
    """Records by collection and id; counts how often it is asked."""

    records: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str], dict[str, Any]])
    is_away: bool = False
    reads: int = 0

    async def stored(self, collection: str, id: str) -> Mapping[str, Any]:
        self.reads += 1
        if self.is_away:
            raise UpstreamUnavailable("away")
        if (collection, id) not in self.records:
            raise NotFound("none")
        return self.records[collection, id]


@dataclass
class Court:
    judge: Judge
    folder: RuleFolder
    table: Table
    journal: Journal
    lanes: Lanes

    def hearing(self, principal: Asker = GUEST) -> Hearing:
        return self.judge.hearing(principal, Metadata(request_id="r1"))

    async def write(self, write: Write, principal: Asker = GUEST) -> dict[str, Any]:
        """The fields that would be written."""
        return dict((await self.hearing(principal).before_write(write)).fields)

    async def create(
        self, fields: Mapping[str, Any], *, collection: str = "posts", by: Asker = GUEST
    ) -> dict[str, Any]:
        return await self.write(Write("create", collection, None, fields), by)

    async def update(
        self, fields: Mapping[str, Any], *, collection: str = "posts", by: Asker = GUEST
    ) -> dict[str, Any]:
        return await self.write(Write("update", collection, "post00000000001", fields), by)

    async def read(self, read: Read, principal: Asker = GUEST) -> None:
        await self.hearing(principal).before_read(read)

    async def after(self, operation: Operation, body: bytes, principal: Asker = GUEST) -> bytes:
        return await self.hearing(principal).after(operation, body)


@asynccontextmanager
async def sitting(
    folder: Path,
    *,
    lanes: Lanes | None = None,
    deadline_seconds: float = 5,
    classifier: Classifier | None = None,
    terms: ModerationTerms | None = None,
    max_record_bytes: int = 1024 * 1024,
) -> AsyncGenerator[Court]:
    with open_lanes(lanes) as opened:
        rules, table, journal = RuleFolder(folder, opened), Table(), Journal()
        await rules.load()
        runner = Runner(opened, journal, deadline_seconds=deadline_seconds, tells_messages=False)
        moderator = Moderator(classifier, terms or ModerationTerms(), journal)
        judge = Judge(rules, runner, table, moderator, max_record_bytes=max_record_bytes)
        yield Court(judge, rules, table, journal, opened)


def write_rules(folder: Path, **files: str) -> None:
    """Rule files by stem, each with everything imported that `gateway.rules` offers."""
    for stem, source in files.items():
        text = "from gateway.rules import *\n" + dedent(source)
        (folder / f"{stem}.py").write_text(text)


async def until_nobody_is_lost(lanes: Lanes) -> None:
    """What burns the processor is told to stop by the loop it was called from, as long as that runs."""

    async def lost() -> int:
        return lanes.lost

    await eventually(lost, lambda number: number == 0)
