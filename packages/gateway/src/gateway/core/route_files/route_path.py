"""Where a route file answers: `posts/[id]/index.py` at `/posts/{id}`, and never where the gateway itself does."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

RESERVED = frozenset(
    {
        "_",
        "api",
        "sessions",
        ".well-known",
        "openapi.json",
        "healthz",
        "readyz",
        "livez",
        "metrics",
        "operator",
        "cache",
    }
)
"""First segments of PocketBase's paths, of the gateway's own and of its operations."""

RESERVED_BELOW = frozenset({("auth", "oauth2")})
"""The same for what is the gateway's own below a segment that is not."""

OTHERS = frozenset(
    {
        *("/discovery", "/channels", "/messages", "/users", "/users/ban", "/users/bans"),
        *("/activity/sessions", "/activity/channels", "/moderation/log", "/ratelimits"),
        *("/chat/openapi.json", "/ws", "/nats/ws"),
    }
)
"""Paths that the platform's front door gives to other services: a route there is reached at the gateway alone."""

INDEX = "index"
MAX_SEGMENTS = 16

_STATIC = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9_.~-]*")
_PARAMETER = re.compile(r"\[([A-Za-z_][A-Za-z0-9_]*)\]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path with the names of its parameters: `("posts", "[id]")`."""

    segments: tuple[str, ...]

    @property
    def template(self) -> str:
        """As OpenAPI writes it."""
        return "/" + "/".join(f"{{{named}}}" if (named := parameter_in(part)) else part for part in self.segments)

    @property
    def limit_name(self) -> str:
        """What a rate limit of this path is called in the settings."""
        return "/" + "/".join("*" if parameter_in(part) else part for part in self.segments)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(named for part in self.segments if (named := parameter_in(part)))

    @property
    def shape(self) -> tuple[str, ...]:
        """The same for two patterns that match the same paths."""
        return tuple("[]" if parameter_in(part) else part for part in self.segments)

    @property
    def order(self) -> tuple[bool, ...]:
        """Sorted by it, what is spelt out comes before what may be anything."""
        return tuple(parameter_in(part) is not None for part in self.segments)

    def match(self, segments: Sequence[str]) -> Mapping[str, str] | None:
        """The parameters of a path, already decoded."""
        if len(segments) != len(self.segments):
            return None
        found: dict[str, str] = {}
        for part, segment in zip(self.segments, segments, strict=True):
            if named := parameter_in(part):
                found[named] = segment
            elif part != segment:
                return None
        return found if all(found.values()) else None


def parameter_in(part: str) -> str | None:
    found = _PARAMETER.fullmatch(part)
    return found[1] if found else None


def pattern_of(file: PurePath) -> Pattern:
    """Of a file, named from its folder of routes on. Raises ValueError for one that can answer nowhere."""
    parts = [*file.parts[:-1], *([] if file.stem == INDEX else [file.stem])]
    for part in parts:
        if not _STATIC.fullmatch(part) and not parameter_in(part):
            raise ValueError(f"{part!r} is no part of a path: letters, digits, _ . ~ -, or [name] for a parameter")
    pattern = Pattern(tuple(parts))
    if len(parts) > MAX_SEGMENTS:
        raise ValueError(f"a path has at most {MAX_SEGMENTS} segments")
    if len(set(pattern.parameters)) != len(pattern.parameters):
        raise ValueError("a path names each parameter once")
    if is_reserved(parts):
        raise ValueError(f"{pattern.template} is the gateway's own: no route may stand there")
    return pattern


def is_reserved(segments: Sequence[str]) -> bool:
    """However it is spelt: PocketBase and proxies may fold what a route would not."""
    folded = tuple(segment.casefold() for segment in segments[:2])
    return bool(folded) and (folded[0] in RESERVED or folded in RESERVED_BELOW)
