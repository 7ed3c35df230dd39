"""The routes in force: `routes/**` with the schemas that mirror them, and the middleware of each folder."""

import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path, PurePath
from types import FunctionType, ModuleType

import structlog

from gateway.adapters.run_files import MAX_FILES, Reading, forget, reason_of
from gateway.adapters.watched_folder import LOAD_SECONDS, WatchedFolder
from gateway.core.route_files.openapi import described
from gateway.core.route_files.route_path import OTHERS, pattern_of
from gateway.core.route_files.route_set import METHODS, Endpoint, Method, Route, RouteSet, Step, check_apart
from gateway.core.route_files.schema_parts import NO_PARTS, Parts, parts_of
from gateway.core.rule_files.rule_set import LoadFault, Place
from gateway.isolate.lanes import Lanes

logger = structlog.get_logger(__name__)

MIDDLEWARE = "middleware"


class RouteFolder(WatchedFolder[RouteSet]):
    def __init__(self, routes: Path, schemas: Path, lanes: Lanes, *, load_seconds: float = LOAD_SECONDS) -> None:
        self._routes = routes
        self._schemas = schemas
        super().__init__([routes, schemas], lanes, load_seconds=load_seconds)

    def files(self) -> list[Path]:
        return [*python_files(self._routes), *(python_files(self._schemas) if self._schemas.is_dir() else [])]

    def read(self, reading: Reading) -> RouteSet:
        files = listed(self.files, reading, self._routes)
        middleware = self._middleware(files, reading)
        schemas = {path.relative_to(self._schemas): path for path in files if path.is_relative_to(self._schemas)}
        routes: list[Route] = []
        for path in files:
            if path.is_relative_to(self._routes) and path.stem != MIDDLEWARE:
                schema = schemas.pop(path.relative_to(self._routes), None)
                routes += read_route(path, path.relative_to(self._routes), middleware, schema, reading)
        reading.faults += [
            LoadFault(Place(str(path), 0), "there is no route that this schema is for") for path in schemas.values()
        ]
        reading.faults += check_apart(routes)
        return whole(routes, reading)

    def at_fault(self, fault: LoadFault) -> RouteSet:
        return RouteSet(faults=(fault,))

    def tell(self) -> None:
        for fault in self.current.faults:
            logger.error("a route or schema does not load", place=str(fault.place), error=fault.reason)
        for route in self.current.routes:
            if (path := route.pattern.template) in OTHERS:
                logger.warning("the platform's front door gives this path to another service", path=path)
        logger.info("routes read", routes=len(self.current.routes))

    def _middleware(self, files: Iterable[Path], reading: Reading) -> Mapping[PurePath, Step]:
        """By folder, from the routes' own on."""
        found: dict[PurePath, Step] = {}
        for path in files:
            if path.is_relative_to(self._routes) and path.stem == MIDDLEWARE:
                folder = path.parent.relative_to(self._routes)
                reading.attempt(path, lambda path=path, folder=folder: take_middleware(path, folder, reading, found))
        return found


def python_files(folder: Path) -> list[Path]:
    """Without those whose name, or whose folder's, begins with a dot or an underscore. Raises OSError."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = (path for path in folder.rglob("*.py") if not is_private(path.relative_to(folder)))
    return sorted(found)


def is_private(path: PurePath) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def listed(files: Callable[[], list[Path]], reading: Reading, folder: Path) -> list[Path]:
    try:
        found = files()
        if len(found) > MAX_FILES:
            raise OSError(f"more than {MAX_FILES} files")
    except OSError as error:
        reading.faults.append(LoadFault(Place(str(folder), 0), reason_of(error)))
        return []
    return found


def take_middleware(path: Path, folder: PurePath, reading: Reading, found: dict[PurePath, Step]) -> None:
    found[folder] = step_of(reading.run(path, "routes"), MIDDLEWARE, path)


def read_route(
    path: Path, relative: PurePath, middleware: Mapping[PurePath, Step], schema: Path | None, reading: Reading
) -> list[Route]:
    """The route, or none and a fault for it."""
    taken: list[Route] = []
    steps: dict[Method, Step] = {}

    def take() -> None:
        pattern = pattern_of(relative)
        steps.update(functions_of(reading.run(path, "routes"), path))
        parts = schema_of(schema, tuple(steps), reading)
        above = [folder for folder in reversed(relative.parents) if folder in middleware]
        around = tuple(middleware[folder] for folder in above)
        endpoints = {
            method: Endpoint(method, step, around, parts.get(method, NO_PARTS)) for method, step in steps.items()
        }
        taken.append(Route(pattern, str(path), endpoints))

    reading.attempt(path, take)
    return taken


def schema_of(path: Path | None, methods: tuple[str, ...], reading: Reading) -> Mapping[str, Parts]:
    found: dict[str, Parts] = {}
    if path is not None:
        reading.attempt(path, lambda: found.update(parts_of(reading.run(path, "schemas"), str(path), methods)))
    return found


def functions_of(module: ModuleType, path: Path) -> dict[Method, Step]:
    """Raises TypeError or ValueError for a file that answers nothing."""
    found: dict[Method, Step] = {method: step_of(module, method, path) for method in METHODS if hasattr(module, method)}
    if not found:
        raise ValueError(
            f"a route has at least one of {', '.join(f'async def {method}(ctx, db)' for method in METHODS)}"
        )
    return found


def step_of(module: ModuleType, name: str, path: Path) -> Step:
    function = getattr(module, name, None)
    if not isinstance(function, FunctionType) or not inspect.iscoroutinefunction(function):
        raise TypeError(f"{path.name} needs `async def {name}(ctx, db)`")
    inspect.signature(function).bind(None, None)
    place = Place(function.__code__.co_filename, function.__code__.co_firstlineno)
    return Step(name, place, function, inspect.cleandoc(function.__doc__ or ""))


def whole(routes: Iterable[Route], reading: Reading) -> RouteSet:
    ordered = tuple(sorted(routes, key=lambda route: route.pattern.template))
    for route in ordered:
        reading.attempt(Path(route.file), partial(check_described, route))
    found = RouteSet(ordered, tuple(reading.faults), described(ordered) if not reading.faults else {})
    weakref.finalize(found, forget, tuple(reading.modules)).atexit = False
    return found


def check_described(route: Route) -> None:
    """A model that JSON Schema has no words for is a fault of its file, not of the whole document."""
    described([route])
