"""Any sequence of edits, verbs and passes: nobody is left with a token that allows more than the rows do."""

from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from natsync.core.claims.token_codec import unverified
from tests.natsync_world import World, account, action, export, imported, role, user
from tests.thorough import examples

Rows: TypeAlias = list[dict[str, Any]]
Step: TypeAlias = tuple[str, Any]

SUBJECTS: list[Any] = [[], ["a"], ["b"], ["a", "b"], ["n.{{name()}}"], "[", None]
LIMITS = st.sampled_from([-1, 0, 5, "x"])
ACCOUNT_VERBS = ["rotate_keys", "add_signing_key", "remove_signing_key", "suspend", "resume"]
USER_VERBS = ["revoke", "regenerate", "suspend", "resume"]

accounts = st.lists(
    st.builds(account, st.sampled_from(["a1", "a2"]), active=st.booleans(), max_data=LIMITS),
    max_size=2,
    unique_by=lambda row: row["id"],
)
roles = st.lists(
    st.builds(
        role,
        st.sampled_from(["r1", "r2"]),
        publish_permissions=st.sampled_from(SUBJECTS),
        publish_deny_permissions=st.sampled_from(SUBJECTS[:4]),
        allow_response=st.booleans(),
        max_payload=st.sampled_from([-1, 5, 9]),
    ),
    max_size=2,
    unique_by=lambda row: row["id"],
)
users = st.lists(
    st.builds(
        user,
        st.sampled_from(["u1", "u2"]),
        account_id=st.sampled_from(["a1", "a2", "none"]),
        role_id=st.sampled_from(["r1", "r2"]),
        active=st.booleans(),
        nats_username=st.sampled_from(["one", ">", "x.y"]),
        publish_permissions=st.sampled_from([*SUBJECTS, *[[]] * 7]),
        publish_deny_permissions=st.sampled_from([[], [], [], ["a"]]),
        bearer_token=st.sampled_from([False, False, True]),
        jwt_expires_at=st.sampled_from(["", "", "1970-01-12 14:00:00.000Z", "2030-01-01 00:00:00.000Z", "x"]),
    ),
    max_size=2,
    unique_by=lambda row: row["id"],
)
shared = st.tuples(
    st.lists(st.builds(export, subject=st.sampled_from(["e.>", "..", "e.*"])), max_size=1),
    st.lists(st.builds(imported, account=st.sampled_from(["a1", "a2", "none"])), max_size=1),
)
verbs = st.one_of(
    st.tuples(st.just("nats_accounts"), st.sampled_from(["a1", "a2"]), st.sampled_from(ACCOUNT_VERBS)),
    st.tuples(st.just("nats_users"), st.sampled_from(["u1", "u2"]), st.sampled_from(USER_VERBS)),
)
steps = st.one_of(
    st.tuples(st.just("accounts"), accounts),
    st.tuples(st.just("roles"), roles),
    st.tuples(st.just("users"), users),
    st.tuples(st.just("shared"), shared),
    st.tuples(st.just("verb"), verbs),
    st.tuples(st.just("time"), st.integers(-3, 100)),
    st.tuples(st.just("wiped"), st.none()),
)


class History:
    """One way things may go. `said` is the last token that servers were told, by account."""

    def __init__(self) -> None:
        self.world = World(accounts=[account(), account("a2")], roles=[role(), role("r2")])
        self.said: dict[str, str] = {}
        self.asked = 0

    def take(self, step: Step) -> None:
        kind, value = step
        match kind:
            case "shared":
                self.world.exports, self.world.imports = value
            case "verb":
                self.obey(*value)
            case "time":
                self.world.now += value
            case "wiped":
                self.world.observed = {}
            case _:
                setattr(self.world, kind, value)
        self.settle()

    def obey(self, collection: str, record: str, verb: str) -> None:
        self.asked += 1
        entry = self.world.entries.get("account" if collection == "nats_accounts" else "user", record)
        argument = entry.signing_public_keys[0] if entry and collection == "nats_accounts" else ""
        held = [given for given in self.world.given if entry and given.public_key == entry.public_key]
        everybody = list(self.world.given)
        asked = action(f"x{self.asked}", verb, record, collection, argument)
        self.settle(asked)
        if verb in ("revoke", "suspend") and collection == "nats_users":
            assert not any(map(self.world.rights, held))
        if verb == "rotate_keys" and entry:
            home = entry.public_key
            assert not any(self.world.rights(one) for one in everybody if one.claims["nats"]["issuer_account"] == home)
        before = self.world.entries
        self.settle(asked)
        assert self.world.entries == before  # once and no more

    def settle(self, *actions: Any) -> None:
        self.world.settle(*actions)
        assert self.world.excesses() == []
        assert self.world.is_idle()
        for key, token in self.world.observed.items():
            before = self.said.get(key, token)
            assert before == token or unverified(before)["iat"] < unverified(token)["iat"]
        self.said |= self.world.observed


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(steps, max_size=12))
def test_any_history_settles_in_one_pass_and_leaves_nobody_more_than_the_rows_allow(history: list[Step]) -> None:
    told = History()
    told.settle()
    for step in history:
        told.take(step)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(steps, max_size=8))
def test_whatever_happened_rows_put_right_give_everybody_a_token_that_counts(history: list[Step]) -> None:
    told = History()
    for step in history:
        told.take(step)
    told.world.accounts, told.world.roles = [account(), account("a2")], [role(), role("r2")]
    told.world.users, told.world.exports, told.world.imports = [user()], [], []
    told.settle(action("y1", "resume"), action("y2", "resume", "u1", "nats_users"))
    assert told.world.rights(told.world.latest())
