import pytest

from limner.errors import LimnerError, requires_extra


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it() -> None:
    with (
        pytest.raises(
            LimnerError,
            match=r"^the review needs no_such_package, which is not installed: "
            r"pip install 'limner\[review\]'\.$",
        ),
        requires_extra("the review", "review"),
    ):
        import no_such_package  # noqa: F401
