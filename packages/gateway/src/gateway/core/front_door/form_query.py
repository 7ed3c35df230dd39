"""The query of a request whose body PocketBase reads as a form: there it takes every parameter for a field."""

from collections.abc import Collection

from gateway.core.front_door.query import Query

_MEANT_FOR_THE_ANSWER = ("expand", "fields")


def form_query(query: Query, field_names: Collection[str]) -> Query:
    """What may stay of a query beside a form: `expand` and `fields`.

    `field_names` are those of the collection. Where one of them is called `fields`, the parameter goes as well, since
    PocketBase would write it into the record.
    """
    return Query(
        tuple((name, value) for name, value in query.pairs if name in _MEANT_FOR_THE_ANSWER and name not in field_names)
    )
