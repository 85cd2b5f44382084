"""The events that wait until the program reads them, for one run. The module does no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cc_bridge.errors import BridgeError
from cc_bridge.events import Ended, Event, Gap, Output, StatusChanged
from cc_bridge.output_tracker import OutputCheck

if TYPE_CHECKING:
    from collections.abc import Callable

Item = Event | BridgeError
"""The next event of a run, or the error that ends it."""

WAITING_BYTES = 1024 * 1024
"""The size of the messages that may wait for one run before the client acts, in bytes.

One more message may be on top of it. No run waits for another, because each has its own buffer.
"""
SMALL_BYTES = 256
"""The size that counts for an event that did not arrive as a message, in bytes."""


class RunBuffer:
    """The waiting events of one run, bounded by :data:`WAITING_BYTES`.

    A full buffer never stops the reading of the connection, because pings must be answered:

    - With ``on_slow="wait"`` the client detaches the view, and attaches again at the byte reached
      when the program has read all waiting events. No byte is lost.
    - With ``on_slow="skip"`` the buffer drops its oldest statuses, and replaces its oldest output
      by gaps.
    """

    def __init__(self, *, skips: bool, limit: int = WAITING_BYTES) -> None:
        self.skips = skips
        self.on_item: Callable[[Item], None] = lambda _: None
        """Called with each new item, after it was added."""
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._limit = limit
        self._skipped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether more than the limit waits."""
        return self._bytes > self._limit

    def push(self, item: Item, size: int = SMALL_BYTES) -> None:
        """Add an item. ``size`` counts against the limit, which the caller checks."""
        if self.skips:
            self._make_room(size)
            if isinstance(item, Ended) and self._skipped and item.check is OutputCheck.VERIFIED:
                item = Ended(item.status, OutputCheck.PARTIAL)
        self._items.append((item, size))
        self._bytes += size
        self.on_item(item)

    def pop(self) -> Item | None:
        """Remove and return the oldest item, or return None if none waits."""
        if not self._items:
            return None
        item, size = self._items.popleft()
        self._bytes -= size
        return item

    def clear(self) -> None:
        """Drop all waiting items."""
        self._items.clear()
        self._bytes = 0

    def _make_room(self, size: int) -> None:
        """Drop old statuses and outputs if ``size`` more bytes do not fit.

        Drops down to three quarters of the limit, so that not every message needs this pass.
        """
        if self._bytes + size <= self._limit:
            return
        target = self._limit * 3 // 4
        kept: deque[tuple[Item, int]] = deque()
        while self._items:
            item, item_size = self._items.popleft()
            if self._bytes + size <= target:
                kept.append((item, item_size))
                continue
            match item:
                case StatusChanged():
                    self._bytes -= item_size
                case Output(offset, text):
                    end = offset + len(text.encode())
                    self._skipped += end - offset
                    self._bytes -= item_size
                    if kept and isinstance(last := kept[-1][0], Gap) and last.end == offset:
                        kept[-1] = (Gap(last.start, end), SMALL_BYTES)
                    else:
                        kept.append((Gap(offset, end), SMALL_BYTES))
                        self._bytes += SMALL_BYTES
                case _:
                    kept.append((item, item_size))
        self._items = kept
