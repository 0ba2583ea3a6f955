"""What the auth log tells: attempts to come in, with where they came from.

It is no part of the event log, which is kept for ever: an address and a user agent are a person's, and go after a year.
"""

from enum import StrEnum


class AuthEventKind(StrEnum):
    """What was tried, and what it came to."""

    LOGGED_IN = "logged_in"
    """A session began; from where. That it did is `session.started`, an event of the log."""
    LOG_IN_FAILED = "log_in_failed"
    LOG_IN_DELAYED = "log_in_delayed"
    """After too many failures; the password was not looked at."""
    SECOND_FACTOR_FAILED = "second_factor_failed"
    CONFIRMATION_FAILED = "confirmation_failed"
    """The password that is asked for before what is dangerous was wrong."""
    RESET_ASKED = "reset_asked"
    """A link to choose another password was asked for."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105  a kind
    """A link from a mail was over, used, or none of ours."""
    REQUEST_REFUSED = "request_refused"
    """401 or 403: a credential that is not known or is over, or a permission that its holder does not have."""
