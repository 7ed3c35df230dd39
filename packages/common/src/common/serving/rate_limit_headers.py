"""What an answer tells about its limit.

`RateLimit-Limit`, `-Remaining` and `-Reset` are those of draft-ietf-httpapi-ratelimit-headers-06, the last to define
them; `RateLimit` and `RateLimit-Policy` are those of its versions from 08 on. `Retry-After` is RFC 9110 §10.2.3.
"""

from common.core.errors import RateLimited
from common.core.rate_limit_decision import Decision, LimitReached, whole_seconds


def rate_limit_headers(decision: Decision) -> dict[str, str]:
    """By name; times are whole seconds, rounded up. Nothing is said about a rule that is off, nor of what is left while
    nobody counts. A refusal's reset is the moment that Retry-After names, as the draft has it."""
    headers = {} if decision.allowed else {"Retry-After": str(whole_seconds(decision.retry_after_seconds))}
    if decision.reason == "away" or not decision.limit:
        return headers
    seconds = decision.reset_seconds if decision.allowed else decision.retry_after_seconds
    reset, window = whole_seconds(seconds), whole_seconds(decision.rule.every_ms / 1_000)
    return headers | {
        "RateLimit-Limit": str(decision.limit),
        "RateLimit-Remaining": str(decision.remaining),
        "RateLimit-Reset": str(reset),
        "RateLimit-Policy": f'"{decision.rule.name}";q={decision.limit};w={window}',
        "RateLimit": f'"{decision.rule.name}";r={decision.remaining};t={reset}',
    }


def refusal_headers(error: RateLimited) -> dict[str, str]:
    if isinstance(error, LimitReached):
        return rate_limit_headers(error.decision)
    return {"Retry-After": str(error.retry_seconds)}
