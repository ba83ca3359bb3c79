"""The one exception that means: the user can fix this."""


class UserError(Exception):
    """A mistake the user can fix: shown as one line, exit code 2, no traceback."""
