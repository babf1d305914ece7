"""Every error a user can meet: what happened, to what, with which number, and what to do next."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the ``zun-arm`` command returns to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    HOST_NOT_READY = 3
    PARTLY_FAILED = 4


class ZunArmError(Exception):
    """Base of all errors raised on purpose.

    ``message`` says what happened; ``hint`` says what to do next, as one sentence or a command to copy.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadInput(ZunArmError):
    """A value the user gave cannot be meant: wrong form, wrong unit, out of range."""

    exit_code = ExitCode.USAGE


class HostNotReady(ZunArmError):
    """This machine lacks something every sandbox needs: an engine, a right, a program."""

    exit_code = ExitCode.HOST_NOT_READY


class LimitNotEnforced(HostNotReady):
    """A limit was asked for that this kernel or storage driver would accept and ignore."""


class PartlyFailed(ZunArmError):
    """Some items of a batch failed; the others were done."""

    exit_code = ExitCode.PARTLY_FAILED


class NotFound(ZunArmError):
    """No sandbox, image or file has that name."""


class NameInUse(ZunArmError):
    """The name belongs to another sandbox."""


class WrongState(ZunArmError):
    """The sandbox is not in a state in which this can be done."""


class DoesNotFit(ZunArmError):
    """Memory, disk or addresses are used up."""


class CannotRun(ZunArmError):
    """This board cannot execute that instruction set."""


class BadImage(ZunArmError):
    """An image or archive is truncated, hostile, or not what it says."""


class EngineFailed(ZunArmError):
    """Docker refused or broke off a request."""


class NetworkFailed(ZunArmError):
    """The kernel refused a link, an address, a route or a rule."""


class TimedOut(ZunArmError):
    """A wait reached its deadline; the message says what was waited for."""
