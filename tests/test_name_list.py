from limner.name_list import list_some, list_some_lines


def test_the_first_names_are_listed_and_the_rest_counted() -> None:
    assert list_some(["a", "b"], 2) == "a, b"
    assert list_some(["a", "b", "c"], 2) == "a, b and 1 more"
    assert list_some(["a", "b"], 2, count=70_000) == "a, b and 69998 more"
    assert list_some([]) == ""


def test_the_first_lines_are_listed_and_the_rest_counted() -> None:
    assert list_some_lines(["a", "b"], 2) == "  a\n  b"
    assert list_some_lines(["a", "b", "c", "d"], 2) == "  a\n  b\n  and 2 more"
