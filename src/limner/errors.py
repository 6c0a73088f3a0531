"""LimnerError: what happened, what was expected, how to mend it."""

from collections.abc import Iterator
from contextlib import contextmanager


class LimnerError(Exception):
    """A mistake that the user can mend; the command line prints it without a traceback.

    The message says what happened (with the value), what was expected, and how to mend it.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means a lack of memory, which each library says in its own way."""
    message = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "not enough memory" in message
        or "allocate memory" in message
    )


def needs_torch(error: ModuleNotFoundError) -> LimnerError | None:
    """What to install where an import has failed for the lack of torch; None for other modules."""
    if error.name != "torch":
        return None
    return LimnerError(
        "this needs PyTorch, which is not installed: pip install 'limner[train]'. An exported "
        "model (.onnx) needs none."
    )


@contextmanager
def requires_extra(what: str, extra: str) -> Iterator[None]:
    """Turn an ImportError within the block into a LimnerError that says what to install.

    Args:
        what: What needs the package that is missing, such as "the review".
        extra: The extra of limner that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise LimnerError(
            f"{what} needs {error.name}, which is not installed: pip install 'limner[{extra}]'."
        ) from error
