"""The delays between attempts to reconnect (docs/protocol.md, "Reconnect", step 3)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

JITTER = 0.25
"""The part of a delay by which it is longer or shorter, at random."""


class Backoff:
    """Delays that begin at ``first`` seconds and double up to ``most`` seconds, with jitter."""

    def __init__(
        self, first: float, most: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first = first
        self._most = most
        self._uniform = uniform
        self._delay = first

    def next_delay(self) -> float:
        """Return the next delay in seconds."""
        delay = min(self._delay, self._most)
        self._delay = min(self._delay * 2, self._most)
        return delay * self._uniform(1 - JITTER, 1 + JITTER)

    def reset(self) -> None:
        """Begin at the first delay again, because the bridge served the client."""
        self._delay = self._first
