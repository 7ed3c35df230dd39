"""What the public may know about the platform's health: which part is well, never why one is not."""

from collections.abc import Mapping


def is_healthy(results: Mapping[str, str]) -> bool:
    return all(result == "ok" for result in results.values())


def public(results: Mapping[str, str]) -> dict[str, str]:
    return {"gateway": "ok"} | {name: "ok" if result == "ok" else "waiting" for name, result in results.items()}


def as_text(states: Mapping[str, str]) -> str:
    return "".join(f"{name} {state}\n" for name, state in states.items())
