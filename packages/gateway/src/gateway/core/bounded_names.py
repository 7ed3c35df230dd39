"""Names as labels: the first so many as they are, all others as one."""

OTHER = "other"


class BoundedNames:
    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()

    def bounded(self, name: str) -> str:
        if name not in self._names:
            if len(self._names) >= self._most:
                return OTHER
            self._names.add(name)
        return name
