"""The rules of the first Hapta's README: owners alone change their record, and not what others award them."""

from gateway.rules import Context, FieldError, before, invalid, refuse

CANNOT_UPDATE = {"validVerified", "postr_plus", "followers", "postr_subscriber_since"}


@before("users", "update", "delete")
def ownership_is_required(ctx: Context) -> None:
    if not ctx.principal.is_record(ctx.collection, ctx.record_id):
        refuse("Ownership required.")


@before("users", "update")
def nobody_awards_themselves(ctx: Context) -> None:
    if taken := sorted(ctx.written & CANNOT_UPDATE):
        invalid(*(FieldError(field, "Ownership required.", "validation_not_yours") for field in taken))
