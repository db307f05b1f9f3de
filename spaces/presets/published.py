"""Every published image decoder by its name, as published: plain, sjd, gsd, lantern and others.

A grid measures each of them once: `--space published --algorithm grid`. The sampling law and the
runtime are the defaults; change them with --set.
"""

from __future__ import annotations

import pyglove as pg

from paretoken.spaces.candidate import Candidate, from_tree
from paretoken.spaces.decoders import NAMED, named_decoder
from paretoken.spaces.space import Space


def published() -> Space:
    """One of the named decoders, all else at its default."""
    candidate = from_tree({})
    return Space(
        Candidate(
            decoder=pg.oneof(
                [named_decoder(name) for name, of in NAMED.items() if of.modality in ("", "image")]
            ),
            sampling=candidate.sampling,
            runtime=candidate.runtime,
        )
    )


plugin = published
