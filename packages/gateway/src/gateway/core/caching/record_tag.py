"""What an answer that depends on one record is marked with; one that depends on any of a collection bears its id."""


def record_tag(collection_id: str, record_id: str) -> str:
    return f"{collection_id}/{record_id}"
