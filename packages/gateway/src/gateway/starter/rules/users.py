"""Names are not to be mistaken for the operator's."""

from gateway.rules import Context, FieldError, before

RESERVED = {"admin", "root", "support"}


@before("users", "create", "update")
def nobody_poses_as_staff(ctx: Context) -> None:
    if any(str(name).strip().casefold() in RESERVED for name in ctx.values("name")):
        raise FieldError("name", "Is reserved.", "validation_reserved")
