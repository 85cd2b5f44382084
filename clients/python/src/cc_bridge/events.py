"""The events that a run yields, in the order of docs/protocol.md, "Order"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cc_bridge.output_tracker import OutputCheck
    from cc_bridge.questions import ClosedQuestion, Question
    from cc_bridge.status import Status


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bridge has accepted the request. It is the first event, and is not repeated."""

    status: Status


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A status of an execution that has not ended: after a change, or as a heartbeat."""

    status: Status
    word: str
    """The state in capitals, or ``RESUMED``."""
    elapsed_ms: int
    """The time since the execution was accepted, in milliseconds."""
    upstream_unreachable: bool
    """Whether the bridge cannot reach claude-api, so that the status is an old one."""


@dataclass(frozen=True, slots=True)
class Output:
    """The next bytes of the output. A run yields each byte once, in order."""

    offset: int
    """The offset of the first byte."""
    text: str
    """The bytes as text. No character is split."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of output bytes that the run will not yield: not kept any more, or skipped."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Notice:
    """An incident that changes no state (docs/protocol.md, "Notices")."""

    code: str
    message: str
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """The execution waits for the answer to a question. Yielded once for each question."""

    question: Question


@dataclass(frozen=True, slots=True)
class QuestionClosed:
    """A question was answered, by anybody, or is no longer open for another reason.

    Yielded once for each question of the run, before :class:`Ended`.
    """

    question: ClosedQuestion


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost, and the client will reconnect. Repeated before each attempt."""

    reason: str
    retry_in: float
    """The delay before the next attempt, in seconds."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The client has reconnected. The output continues at the byte that the run had reached."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The execution has ended. It is the last event."""

    status: Status
    check: OutputCheck
    """Whether the output was received completely, and equals the digest of the status."""


Event = (
    Accepted
    | StatusChanged
    | Output
    | Gap
    | Notice
    | QuestionAsked
    | QuestionClosed
    | Disconnected
    | Reconnected
    | Ended
)
"""One event in the life of an execution."""
