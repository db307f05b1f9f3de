"""The study as it is now: read anew when the store has moved, as often as that is cheap."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from paretoken.cache.store import Store
from paretoken.search.report.page import embedded, parts, render
from paretoken.search.report.view import View, look

_SHARE = 0.2  # of the time at most goes into reading a study that moves all the time


@dataclass(frozen=True)
class Moment:
    """revision: of the store, when it was read. page: the live page. state: its parts and data."""

    revision: str
    page: bytes
    state: bytes
    view: View


class Snapshot:
    """The newest `Moment` of a study; any thread may ask. store: only read."""

    def __init__(
        self,
        store: Store,
        study: str,
        objectives: str = "",
        device: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._study, self._clock = store, study, clock
        self._objectives, self._device = objectives, device
        self._lock = threading.Lock()
        self._moment: Moment | None = None
        self._next = 0.0

    def now(self) -> Moment:
        """The study as it is; or as it was shortly ago, where reading it takes long."""
        with self._lock:
            begun = self._clock()
            old = self._moment
            if old is not None and (
                begun < self._next or self._store.revision(self._study) == old.revision
            ):
                return old
            view = look(self._store, self._study, self._objectives, self._device)
            data = embedded(view)
            told = json.dumps({name: str(part) for name, part in parts(view).items()})
            state = f'{{"data":{data},"parts":{told}}}'
            page = render(view, live=True)
            self._moment = Moment(view.revision, page.encode(), state.encode(), view)
            ended = self._clock()
            self._next = ended + (ended - begun) * (1 / _SHARE - 1)
            return self._moment

    def file(self) -> bytes:
        """The page as `paretoken report` writes it."""
        return render(self.now().view).encode()
