"""LimnerError: what happened, what was expected, how to mend it."""


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
