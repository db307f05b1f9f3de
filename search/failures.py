"""Failures: what went wrong with a candidate, as a record, and what may be tried again.

worker-died      the process that measured is gone (a crash, or a kill from outside)
timeout          one measurement took longer than it may; its worker was killed
out-of-memory    it wanted more memory than there is, or than a worker may have
node-lost        the machine went away, and so did the next ones it was tried on
learnt-otherwise the worker that measures has learnt other weights than the one that identified
nan, infinite    a measured number is none
error-<class>    the candidate's code raised that
"""

from __future__ import annotations

import traceback

from paretoken.spaces.errors import MeasurementFailed
from paretoken.spaces.records import Failure

# Who did this once is not let near a worker again in the same study.
LETHAL = frozenset({"worker-died", "timeout", "out-of-memory"})
_NO_MEMORY = ("can't allocate memory", "std::bad_alloc", "out of memory", "Cannot allocate memory")


class Failed(Exception):
    """A measurement failed in another process; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason}: {failure.detail}")
        self.failure = failure


class NodeLost(Failed):
    """The machine that measured went away: the candidate may have nothing to do with it."""


class Stopped(BaseException):
    """The search ends while this was measured: nobody's failure, so no `Exception`."""


def failure_of(error: Exception) -> Failure:
    """Why a candidate has no score, as a record."""
    if isinstance(error, Failed):
        return error.failure
    told = "".join(traceback.format_exception(error))
    if isinstance(error, MeasurementFailed):
        return Failure(error.reason, error.detail, told)
    if _is_out_of_memory(error):
        return Failure("out-of-memory", _first_line(error), told)
    return Failure(f"error-{type(error).__name__}", _first_line(error), told)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch on a CPU raises a plain RuntimeError, Python's threads and files an OSError.
    raised = isinstance(error, RuntimeError | OSError)
    return raised and any(words in str(error) for words in _NO_MEMORY)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
