"""Training: how a model is trained. What a workload that trains is searched for."""

from __future__ import annotations

from paretoken.spaces.component import Component, knob, part


class Training(Component):
    """A schedule, and how much of the workload's steps it is given."""

    kind = "candidates"

    schedule: Component = part(
        "schedules", default="repeated_cosine", doc="The learning rate at every step."
    )
    budget: float = knob(
        1.0, low=0.001, high=1.0, grid=(1.0,), doc="Share of the workload's steps that is trained."
    )


plugin = Training
