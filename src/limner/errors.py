"""LimnerError: what happened, what was expected, how to mend it."""


class LimnerError(Exception):
    """A mistake that the user can mend; the command line prints it without a traceback.

    The message says what happened (with the value), what was expected, and how to mend it.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error is about: each library says it in its own way."""
    told = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "not enough memory" in told
        or "allocate memory" in told
    )
