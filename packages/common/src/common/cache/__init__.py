"""Answers kept in two tiers, dead as soon as what they depend on changes. The names a service uses.

Re-exported here so that a service names the part, not the files it is made of.
"""

from common.cache.loading import Load
from common.cache.opening import open_cache
from common.cache.options import CacheOptions
from common.cache.ports import Fetched, Invalidations, Lease, SharedTier
from common.cache.reading import Cache, Statistics
from common.core.cached import ABSENT, RAW, Absent, Answer, Codec, Explanation, Unstored, key_of, typed
from common.core.epochs import EVERYTHING
from common.core.freshness import Policy
from common.core.trust import Doubt

__all__ = [
    "ABSENT",
    "EVERYTHING",
    "RAW",
    "Absent",
    "Answer",
    "Cache",
    "CacheOptions",
    "Codec",
    "Doubt",
    "Explanation",
    "Fetched",
    "Invalidations",
    "Lease",
    "Load",
    "Policy",
    "SharedTier",
    "Statistics",
    "Unstored",
    "key_of",
    "open_cache",
    "typed",
]
