"""Users: only owners change a record, and nobody awards themselves what others award.

Expects the fields `validVerified`, `postr_plus`, `postr_subscriber_since` and `followers` in the collection `users`.
Whoever may award them does so past these rules, on PocketBase itself.
"""

from gateway.rules import Context, FieldError, after, before, invalid, refuse

AWARDED = frozenset({"validVerified", "postr_plus", "postr_subscriber_since", "followers"})


@before("users", "update", "delete")
def owners_only(ctx: Context) -> None:
    if not ctx.principal.is_record(ctx.collection, ctx.record_id):
        refuse(status=404)  # 403 would tell that there is such a user


@before("users", "create", "update")
def nobody_awards_themselves(ctx: Context) -> None:
    taken = sorted(AWARDED & ctx.written)  # `written` knows `followers+` and uploads too
    if taken:
        invalid(*(FieldError(field, "Not yours to change.", "validation_not_yours") for field in taken))


@after("users", "*")
def addresses_stay_private(ctx: Context) -> None:
    for record in ctx.records:  # of a page, of one record, or expanded in a record of another collection
        if not ctx.principal.is_record("users", record.get("id")):
            record.pop("email", None)
