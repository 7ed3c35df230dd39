"""The rule set in force. When a file does not load, it refuses everything until it does."""

from collections.abc import Sequence
from pathlib import Path

import structlog

from gateway.adapters.rule_files import read_folder, rule_files
from gateway.adapters.run_files import Reading
from gateway.adapters.watched_folder import LOAD_SECONDS, WatchedFolder
from gateway.core.rule_files.rule_set import LoadFault, ModeratedFields, RuleSet
from gateway.isolate.lanes import Lanes

logger = structlog.get_logger(__name__)


class RuleFolder(WatchedFolder[RuleSet]):
    """`extra` are rules that come from settings."""

    def __init__(
        self, folder: Path, lanes: Lanes, *, extra: Sequence[ModeratedFields] = (), load_seconds: float = LOAD_SECONDS
    ) -> None:
        self._folder = folder
        self._extra = tuple(extra)
        super().__init__([folder], lanes, load_seconds=load_seconds)

    def files(self) -> list[Path]:
        return rule_files(self._folder)

    def read(self, reading: Reading) -> RuleSet:
        return read_folder(self._folder, reading, self._extra)

    def at_fault(self, fault: LoadFault) -> RuleSet:
        return RuleSet(faults=(fault,))

    def tell(self) -> None:
        for fault in self.current.faults:
            logger.error(
                "a rule file does not load; every request is refused", place=str(fault.place), error=fault.reason
            )
        logger.info("rules read", files=len(self.current.files), rules=len(self.current.rules))
