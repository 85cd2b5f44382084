"""Further messages for a running CLI (docs/protocol.md, "Input")."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

from cc_bridge.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cc_bridge.bridge import Bridge

RETRY_SECONDS = 1.0
"""The pause before the same input is sent again, if the bridge names none."""


class InputStream:
    """The stdin of an execution that was started with ``input="stream"``.

    It counts the bytes that the CLI has accepted, so that a repetition after a cut is safe. Use one
    at a time for an execution. A refused line has no effect, and the stream can be used further.
    """

    def __init__(self, bridge: Bridge, execution_id: str, offset: int = 0) -> None:
        self._bridge = bridge
        self._id = execution_id
        self._lock = asyncio.Lock()  # The offset of a call depends on the answer to the last one.
        self.offset = offset
        """The count of accepted bytes. Set it before writing to an execution of another client."""

    async def send(self, text: str) -> None:
        """Send a message of the user to the CLI."""
        await self.write({"type": "user", "message": {"role": "user", "content": text}})

    async def interrupt(self) -> None:
        """Interrupt the present turn of the CLI."""
        request = {"subtype": "interrupt"}
        line = {"type": "control_request", "request_id": uuid.uuid4().hex, "request": request}
        await self.write(line)

    async def write(self, line: Mapping[str, Any]) -> None:
        """Send a line of stream-json to the CLI."""
        await self._send(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")

    async def close(self) -> None:
        """Say that nothing follows, so that the CLI ends after its present turn."""
        await self._send("", eof=True)

    async def _send(self, data: str, *, eof: bool = False) -> None:
        async with self._lock, asyncio.timeout(self._bridge.options.answer_timeout):
            while True:
                try:
                    self.offset = await self._bridge.input(
                        self._id, data, offset=self.offset, eof=eof
                    )
                except RpcError as error:
                    if error.reason != "input_full":
                        raise
                    # The CLI reads slowly. The same input is sent again.
                    await asyncio.sleep(error.retry_after or RETRY_SECONDS)
                else:
                    return
