"""Distribution augmentation: every picture in 18 views, and the view is told to the model.

The black margin lets a picture move by a pixel each way without loss (an odd shift gives new
tokens, for a token is two pixels wide); mirrored or not, that is 3 * 3 * 2 views. A model that is
told the view learns from all of them and, asked for view 0, gives pictures as they are.
Source: Jun et al., "Distribution augmentation" (ICML 2020).
"""

from __future__ import annotations

from torch import Tensor

_SHIFTS = (-1, 0, 1)
# (right, down, mirrored); the picture as it is comes first.
VIEWS = sorted(
    ((x, y, mirrored) for x in _SHIFTS for y in _SHIFTS for mirrored in (False, True)),
    key=lambda view: view != (0, 0, False),
)


def seen(images: Tensor, view: int) -> Tensor:
    """One view of images [B, C, H, W]; 0 leaves them as they are."""
    right, down, mirrored = VIEWS[view]
    moved = images.roll((down, right), dims=(2, 3))  # what wraps around is margin
    return moved.flip(3) if mirrored else moved
