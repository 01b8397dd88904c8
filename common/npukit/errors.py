"""The mistakes a script can end in. Each class is one exit code of the house.

NpukitError
 +-- UserError       2   the user can mend it: what was found, what was expected, what to do
 |    +-- BadSample      one sample of a corpus, with its file and line
 +-- JobFailed       1   the work was possible and did not succeed, or a bar was missed
 +-- Unavailable    75   the device or a service is busy or gone: try again elsewhere
"""
from __future__ import annotations

from pathlib import Path


class NpukitError(Exception):
    """Base of every expected failure; its text is one or two sentences for the user."""

    exit_code = 1


class UserError(NpukitError):
    """The user can mend it: the text says what was found, what was expected, what to do."""

    exit_code = 2


class BadSample(UserError):
    """One sample of a corpus cannot be used.

    path, place  the file, and the line or id in it
    reason       what was found and what was expected
    brief        the same without the folder, for reports that must not depend on where a file lies
    """

    def __init__(self, path: Path, place: int | str, reason: str):
        super().__init__(f"{path}:{place}: {reason}")
        self.brief = f"{path.name}:{place}: {reason}"


class JobFailed(NpukitError):
    """The work was possible and did not succeed, or a bar was missed."""

    exit_code = 1


class Unavailable(NpukitError):
    """The infrastructure failed (device busy or gone): the same job may succeed elsewhere."""

    exit_code = 75
