"""What carries requests to PocketBase, and the rules that it asks: put together apart from the rest."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from common.adapters.pocketbase import PocketBase
from common.core.client_address import TrustedProxies
from common.serving.background import Loop
from gateway.adapters.http_classifier import open_http_classifier
from gateway.adapters.pocketbase_control import PocketBaseCollections, PocketBaseRecords
from gateway.adapters.rule_folder import RuleFolder
from gateway.adapters.upload_spool import UploadSpool
from gateway.bodies.take_in import Intake
from gateway.carry_batch import Batches
from gateway.carry_read import RecordReads
from gateway.carry_sign_in import SignInCalls
from gateway.carry_subscription import Subscriptions
from gateway.carry_write import RecordWrites, WriteParts
from gateway.core.bodies.body_pace import Pace
from gateway.core.front_door.exchange import Upstream
from gateway.core.rule_files.awarded_fields import AwardedFields
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.moderation import guards_of
from gateway.core.rule_files.rule_set import RuleSet
from gateway.follow_write import ChangeSink, Writing
from gateway.forward import Forwarding
from gateway.isolate.lanes import open_lanes
from gateway.judging.judge import FixedRules, Judge
from gateway.judging.moderate import Moderator
from gateway.judging.run_rule import Runner
from gateway.limit import Limits
from gateway.pass_on import Passing
from gateway.realtime.check_topics import TopicCheck
from gateway.realtime.passed_streams import PassedStreams
from gateway.realtime.reach_clients import Reach
from gateway.sessions.end import Endings
from gateway.sessions.sign_in import SignIns
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class RuleParts:
    """The rules engine, what went wrong in it lately, and the loops that must run beside it."""

    judge: Judge
    journal: Journal
    loops: tuple[Loop, ...]


def build_forwarding(
    settings: Settings,
    upstream: Upstream,
    *,
    collections: PocketBaseCollections,
    records: PocketBaseRecords,
    endings: Endings,
    sign_ins: SignIns,
    judge: Judge,
    changes: ChangeSink,
    limits: Limits,
    intake: Intake,
    reach: Reach | None,
    passed: PassedStreams,
) -> Forwarding:
    writing = Writing(upstream, endings, changes)
    parts = WriteParts(intake, judge, writing, collections, sign_ins, settings.max_image_pixels)
    sizes = {"max_items": settings.max_batch_requests, "max_bytes": settings.max_batch_bytes}
    return Forwarding(
        collections,
        reads=RecordReads(upstream, judge, collections, sign_ins),
        writes=RecordWrites(parts),
        batches=Batches(parts, collections, records, limits, **sizes),
        sign_ins=SignInCalls(
            writing,
            intake=intake,
            judge=judge,
            sign_ins=sign_ins,
            endings=endings,
            attempts=limits,
            collections=collections,
        ),
        subscriptions=Subscriptions(upstream, intake, TopicCheck(judge.rules, collections), passed, reach),
        passing=Passing(upstream, writing, intake, limits, passed=passed, waiting=reach),
        proxies=TrustedProxies.parse(settings.trusted_proxies),
        max_body_bytes=settings.max_body_bytes,
    )


def build_intake(settings: Settings) -> Intake:
    spool = UploadSpool(
        settings.spool_directory, max_bytes=settings.max_spool_bytes, max_files=settings.max_spool_files
    )
    return Intake(
        spool,
        pace=Pace(settings.body_grace_seconds, settings.min_body_bytes_per_second),
        max_field_bytes=settings.max_fields_bytes,
        max_memory_bytes=settings.max_memory_bytes,
    )


@asynccontextmanager
async def open_rules(settings: Settings, control: PocketBase) -> AsyncGenerator[RuleParts]:
    terms, journal, moderated = settings.moderation, Journal(), guards_of(settings.moderated_fields)
    with open_lanes() as lanes:
        async with open_http_classifier(terms) as classifier:
            runner = Runner(
                lanes,
                journal,
                deadline_seconds=settings.rule_deadline_seconds,
                tells_messages=settings.tells_messages,
            )
            rules, loops = FixedRules(RuleSet(moderated=moderated)), ()
            if settings.rules_folder:
                rules = RuleFolder(settings.rules_folder, lanes, extra=moderated)
                await rules.load()
                loops = (rules.watch,) if settings.watches_files else ()
            moderator = Moderator(classifier, terms, journal)
            judge = Judge(rules, runner, PocketBaseRecords(control), moderator, awarded_fields(settings))
            yield RuleParts(judge, journal, loops)


def awarded_fields(settings: Settings) -> AwardedFields:
    names = settings.roles_field, settings.tenant_field, settings.clearance_field
    return AwardedFields.of(settings.roles_collections, *names)
