"""The errors a user of Garam can meet.

Every message is one sentence that says what is wrong and what to do about it. The command line
prints the message and exits with ``exit_code``; Airflow retries only errors with ``retryable``.
"""

from __future__ import annotations


class GaramError(Exception):
    """Something was refused or failed: the message says what to do."""

    exit_code = 1
    retryable = False


class UsageError(GaramError):
    """The caller asked for something that cannot be meant: a bad argument, file or key."""

    exit_code = 2


class ConfigError(UsageError):
    """``config.yaml``, an override or a secret is wrong."""


class RefusedError(GaramError):
    """A rule forbids it (the gate, an older as-of, a lifted guard): asking again changes nothing."""


class BadInputError(GaramError):
    """Data that came from outside cannot be used; nothing of it was kept."""


class CorruptArtifactError(GaramError):
    """An artifact's bytes do not agree with its name."""


class UnavailableError(GaramError):
    """A service that is needed does not answer; the same call may pass later."""

    retryable = True


class BusyError(GaramError):
    """Somebody else holds the lock for this work; the same call may pass later."""

    retryable = True


class DatabaseAwayError(UnavailableError):
    """The database does not answer, or went away: what was not committed is undone."""
