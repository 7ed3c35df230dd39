from scripts.settings_reference import PAGE, page


def test_the_reference_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "run `just settings-reference`"
