"""The check that a client received the output of an execution completely and unchanged.

Each piece must continue where the last one ended. Bytes that were received before are dropped, and
missing bytes are an error. At the end, the length and the crc32 must be equal to those of the
terminal status (docs/protocol.md, "Invariants", 2 and 3). The module does no I/O.
"""

from __future__ import annotations

import zlib
from enum import Enum

from cc_bridge.errors import OutputError

MAX_BYTES_TO_CHARACTER_START = 3
"""The most bytes from an offset inside a UTF-8 character back to the character's first byte."""


class OutputCheck(Enum):
    """The result of the final check, if it found no contradiction."""

    VERIFIED = "verified"
    """Every byte from offset 0 was received, and length and crc32 are those of the status."""
    PARTIAL = "partial"
    """The end was reached, but bytes are missing: the run began later, or there were gaps."""
    UNKNOWN = "unknown"
    """The output cannot be verified, for example because claude-api has lost the execution."""


class OutputTracker:
    """The position of one run in the output of its execution, across reconnects.

    The tracker counts bytes and computes the crc32. It stores no output.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        """The offset of the first byte that was requested, later of the first received one."""
        self._next = start
        self._seen = False
        self._missing = 0
        self._crc = 0
        self._taken_back = False

    @property
    def reached(self) -> int:
        """The offset after the last received byte or gap. A reconnect attaches there."""
        return self._next

    @property
    def missing(self) -> int:
        """The count of bytes before :attr:`reached` that were not received."""
        return self.start + self._missing

    def accept(self, offset: int, piece: bytes) -> bytes:
        """Accept a piece that begins at ``offset``. Return the bytes that are new; maybe none.

        Raises :class:`OutputError` if bytes before the piece are missing.
        """
        early = self._next - offset
        if not self._seen and 0 < early <= MAX_BYTES_TO_CHARACTER_START:
            # The requested offset is inside a character: the view begins at its first byte.
            self.start = self._next = offset
        self._require(offset)
        self._seen = True
        new = piece[self._next - offset :]
        self._crc = zlib.crc32(new, self._crc)
        self._next += len(new)
        return new

    def gap(self, start: int, end: int) -> tuple[int, int] | None:
        """Accept a gap, the announcement that the bytes from ``start`` to ``end`` are not sent.

        Return the part that was not received before, or None if the whole range was. Raises
        :class:`OutputError` if bytes before the gap are missing.
        """
        self._require(start)
        if end <= self._next:
            return None
        missing = (self._next, end)
        self._seen = True
        self._missing += end - self._next
        self._next = end
        return missing

    def take_back(self, length: int) -> None:
        """Accept that the output has only ``length`` bytes, fewer than were received.

        A power cut took the rest back (docs/protocol.md, "Reconnect", step 5). The crc32 of the
        status then does not include bytes that were received, so it is not compared.
        """
        self._taken_back = True
        self._next = min(self._next, length)

    def finish(self, output_bytes: int, crc32: str | None) -> OutputCheck:
        """Compare the received output with ``outputBytes`` and ``crc32`` of a terminal status.

        Raises :class:`OutputError` if they differ.
        """
        if self._next != output_bytes:
            raise OutputError(
                f"{self._next} bytes of the output were received, but its length is {output_bytes}"
            )
        if self._taken_back:
            return OutputCheck.UNKNOWN
        if self.missing > 0:
            return OutputCheck.PARTIAL
        if crc32 is None:
            return OutputCheck.UNKNOWN
        got = f"{self._crc:08x}"
        if got != crc32:
            raise OutputError(
                f"the crc32 of the received output is {got}, but the status says {crc32}"
            )
        return OutputCheck.VERIFIED

    def _require(self, offset: int) -> None:
        if offset > self._next:
            raise OutputError(
                f"bytes {self._next} to {offset} of the output are missing without a gap"
            )
