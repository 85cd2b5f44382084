"""The state that a client keeps for one run. It turns messages into the events of the run.

The module does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from cc_bridge import fields
from cc_bridge.errors import OutputError, ProtocolError, RpcError
from cc_bridge.events import (
    Accepted,
    Ended,
    Event,
    Gap,
    Notice,
    Output,
    QuestionAsked,
    QuestionClosed,
    Reconnected,
    StatusChanged,
)
from cc_bridge.open_questions import OpenQuestions
from cc_bridge.output_tracker import OutputCheck, OutputTracker
from cc_bridge.questions import ClosedQuestion, closed_from, question_from
from cc_bridge.status import status_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cc_bridge.run_buffer import RunBuffer

OnSlow = Literal["wait", "skip"]
OFFSET_NOT_KEPT = -32007


class View:
    """The state of one run across reconnects.

    ======== ==================================================================================
    opening  an ``execute`` or ``attach`` waits for its answer; ``opening`` is its request id.
             Notifications belong to an older view and are ignored
    viewing  the bridge sends the messages of the view
    detached the client has stopped them, because the program does not read. The next read of the
             empty buffer attaches again, at the offset reached
    ======== ==================================================================================
    """

    def __init__(
        self, execution_id: str, buffer: RunBuffer, *, offset: int = 0, on_slow: OnSlow = "wait"
    ) -> None:
        self.execution_id = execution_id
        self.buffer = buffer
        self.on_slow: OnSlow = on_slow
        self.output = OutputTracker(offset)
        self.opening: int | None = None
        self.accepted = False
        """Whether the request was answered. A reconnect then attaches and repeats no execute."""
        self.detached = False
        self.attaches_quietly = False
        """Whether the present attach follows a detach, which the program does not see."""
        self.execute_again: Mapping[str, Any] | None = None
        """The params of an execute with ``onDisconnect: "cancel"``.

        The policy belongs to the session, so that a reconnect sends it again before its attach
        (docs/protocol.md, "When the client dies").
        """
        self.cancel_sent = False
        """Whether a cancel was sent. An execute without an answer is then not repeated."""
        self.last_heard: float = 0.0
        """The time of the last message about the view, on the caller's clock, in seconds."""
        self._questions = OpenQuestions()

    def answered(self, result: Mapping[str, Any]) -> list[Event]:
        """Handle the result of the execute or attach, which is a status object."""
        status = status_from(result)
        self._questions.attached()
        first, self.accepted = not self.accepted, True
        quiet, self.attaches_quietly = self.attaches_quietly, False
        if first:
            return [Accepted(status)]
        return [] if quiet else [Reconnected()]

    def refused(self, error: RpcError) -> Gap | None:
        """Handle the error of an execute or attach. If it is not raised, attach again.

        Returns a gap that the run must see first, if there is one. An accepted view survives two
        errors (docs/protocol.md, "Reconnect", step 5); any other is raised.
        """
        kept, length = error.data.get("keptFrom"), error.data.get("length")
        if self.accepted and error.code == OFFSET_NOT_KEPT and isinstance(kept, int):
            missing = self.output.gap(self.output.reached, kept)
            if missing is not None:
                return Gap(*missing)
        is_beyond = self.accepted and error.reason == "offset_beyond_end"
        if is_beyond and isinstance(length, int) and length < self.output.reached:
            self.output.take_back(length)
            return None
        raise error

    def notification(self, method: str, params: Mapping[str, Any]) -> list[Event]:
        """Handle a notification about the execution. Return the events for the run.

        Raises :class:`OutputError` if bytes were lost or changed, and :class:`ProtocolError` if
        the bridge broke the protocol.
        """
        match method:
            case "output":
                return self._output(params)
            case "gap":
                start, end = fields.integer(params, "from"), fields.integer(params, "to")
                missing = self.output.gap(start, end)
                return [Gap(*missing)] if missing else []
            case "statusUpdate":
                return self._status(params)
            case "notice":
                return [notice_from(params)]
            case "question":
                question = question_from(self.execution_id, fields.obj(params, "question"))
                is_new = self._questions.asked(question.question_id)
                return [QuestionAsked(question)] if is_new else []
            case "questionClosed":
                closed = closed_from(params)
                is_known = self._questions.closed(closed.question_id)
                return [QuestionClosed(closed)] if is_known else []
            case _:
                return []

    def _output(self, params: Mapping[str, Any]) -> list[Event]:
        offset = fields.integer(params, "offset")
        try:
            content = fields.text(params, "content").encode()
        except UnicodeEncodeError as error:
            raise ProtocolError(f"an output has a lone surrogate: {error}") from None
        new = self.output.accept(offset, content)
        if not new:
            return []
        try:
            text = new.decode()
        except UnicodeDecodeError as error:
            raise OutputError(
                f"the output at byte {self.output.reached - len(new)} begins inside a character "
                f"that was received differently: {error}"
            ) from None
        return [Output(self.output.reached - len(new), text)]

    def _status(self, params: Mapping[str, Any]) -> list[Event]:
        status = status_from(params)
        events: list[Event] = [
            QuestionClosed(ClosedQuestion(question_id, None, None, None, None))
            for question_id in self._questions.closed_unseen(status)
        ]
        if not status.is_terminal:
            changed = StatusChanged(
                status=status,
                word=fields.text(params, "status"),
                elapsed_ms=fields.integer(params, "elapsedMs"),
                upstream_unreachable=params.get("upstream") == "unreachable",
            )
            return [*events, changed]
        # claude-api no longer knows the execution, so the bridge does not know the length.
        if status.reason == "lost":
            return [*events, Ended(status, OutputCheck.UNKNOWN)]
        check = self.output.finish(status.output_bytes, status.crc32)
        return [*events, Ended(status, check)]


def notice_from(params: Mapping[str, Any]) -> Notice:
    """Return the notice that a notification describes."""
    data = fields.optional_object(params, "data")
    return Notice(fields.text(params, "code"), fields.text(params, "message"), data)
