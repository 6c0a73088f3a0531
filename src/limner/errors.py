"""LimnerError: what happened, what was expected, how to mend it."""


class LimnerError(Exception):
    """A mistake that the user can mend; the command line prints it without a traceback.

    The message says what happened (with the value), what was expected, and how to mend it.
    """
