"""Errors survive the way from another process."""

from __future__ import annotations

import copy
import pickle

from paretoken.spaces.errors import MeasurementFailed


def test_a_failed_measurement_is_copied_with_its_reason() -> None:
    error = MeasurementFailed("nan", "logits are no numbers")
    for found in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert isinstance(found, MeasurementFailed)
        assert (found.reason, found.detail, str(found)) == (error.reason, error.detail, str(error))
