"""How PocketBase words what it refuses of a batch."""

from common.core.errors import ServiceError
from gateway.core.body_refusals import FieldError, InvalidFields
from gateway.core.refusal_answer import data_of, shape, status_of

UNREADABLE_BATCH = "Failed to read the submitted batch data."
INVALID_BATCH = "Invalid batch request data."
FAILED_BATCH = "Batch transaction failed."
FAILED_ITEM = FieldError("batch_request_failed", "Batch request failed.")


def invalid_batch(error: FieldError) -> InvalidFields:
    return InvalidFields(INVALID_BATCH, {"requests": error.shape()})


def too_many_items(max_items: int) -> InvalidFields:
    message = f"The length must be no more than {max_items}."
    return invalid_batch(FieldError("validation_length_too_long", message, {"max": max_items, "min": 0}))


def invalid_item(index: int, name: str, error: FieldError) -> InvalidFields:
    return InvalidFields(INVALID_BATCH, {"requests": {str(index): {name: error.shape()}}})


def item_failed(index: int, error: ServiceError) -> InvalidFields:
    """The answer to the whole batch when one item is refused, by whomever; none of it has been done."""
    response = shape(status_of(error), str(error), data_of(error))
    return InvalidFields(FAILED_BATCH, {"requests": {str(index): {**FAILED_ITEM.shape(), "response": response}}})
