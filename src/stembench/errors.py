"""The one exception that reaches a user."""


class StembenchError(Exception):
    """Bad input or a failed precondition; the message says what is wrong and what to do.

    The command line prints it as one line and exits with 1; no traceback.
    """
