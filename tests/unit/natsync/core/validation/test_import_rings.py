from natsync.core.claims.account_claims import AccountClaims, ExportKind, Import
from natsync.core.validation.import_rings import MAX_LINKS, comes_round


def accounts(*links: tuple[str, str, str, str], kind: ExportKind = "stream") -> dict[str, AccountClaims]:
    """Each link: who imports, from whom, which subject, and as what."""
    made: dict[str, list[Import]] = {}
    for importer, exporter, subject, local in links:
        made.setdefault(importer, []).append(Import(subject, exporter, kind, local_subject=local))
    return {name: AccountClaims(imports=imports) for name, imports in made.items()}


def rings(among: dict[str, AccountClaims]) -> set[str]:
    """Who has an import that comes round."""
    return {
        name
        for name, claims in among.items()
        if any(comes_round(each, account=name, accounts=among) for each in claims.imports)
    }


def test_two_that_import_from_each_other_are_a_ring() -> None:
    assert rings(accounts(("A", "B", "x", ""), ("B", "A", "x", ""))) == {"A", "B"}
    assert rings(accounts(("A", "B", "x", ""), ("B", "A", "x", ""), kind="service")) == {"A", "B"}


def test_a_ring_may_be_long_and_change_names_on_its_way() -> None:
    ring = accounts(("A", "B", "b.*", "a.$1"), ("B", "C", "c.>", "b.>"), ("C", "A", "a.x", "c.x"))
    assert rings(ring) == {"A", "B", "C"}


def test_other_subjects_other_kinds_and_chains_are_no_ring() -> None:
    assert rings(accounts(("A", "B", "x", ""), ("B", "A", "y", ""))) == set()
    assert rings(accounts(("A", "B", "x", ""), ("B", "C", "x", ""), ("D", "A", "x", ""))) == set()
    mixed = {
        "A": AccountClaims(imports=[Import("x", "B", "stream")]),
        "B": AccountClaims(imports=[Import("x", "A", "service")]),
    }
    assert rings(mixed) == set()


def test_who_only_feeds_on_a_ring_is_not_in_it() -> None:
    assert rings(accounts(("A", "B", "x", ""), ("B", "A", "x", ""), ("C", "A", "x", ""))) == {"A", "B"}


def test_the_search_has_an_end() -> None:
    chain = accounts(*((str(number), str(number + 1), "x", "") for number in range(MAX_LINKS + 50)))
    assert not comes_round(chain["0"].imports[0], account="0", accounts=chain)
