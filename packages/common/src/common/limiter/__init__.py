"""Limits by rule and caller, one and the same in every process. The names a service uses.

Re-exported here so that a service names the part, not the files it is made of.
"""

from common.core.rate_limit_decision import Decision, LimitReached
from common.core.rate_limit_key import By, client_network
from common.core.rate_limit_rule import InvalidRule, Rule, Rules, UnknownRule
from common.limiter.counting import Counters, MemoryCounters
from common.limiter.limiting import EVERYBODY, RateLimiter, open_limiter

__all__ = [
    "EVERYBODY",
    "By",
    "Counters",
    "Decision",
    "InvalidRule",
    "LimitReached",
    "MemoryCounters",
    "RateLimiter",
    "Rule",
    "Rules",
    "UnknownRule",
    "client_network",
    "open_limiter",
]
