"""The status object of an execution (docs/protocol.md, "Status object")."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cc_bridge import fields
from cc_bridge.questions import OpenQuestion, open_question_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class State(StrEnum):
    """The states of an execution, as strings. A later bridge may have more."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


TERMINAL: frozenset[str] = frozenset(
    {State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.INTERRUPTED}
)
"""The states that are final."""


@dataclass(frozen=True, slots=True)
class ExecutionError:
    """The member ``error`` of a status: what went wrong."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """The status object of one execution. Times are RFC 3339 strings in UTC."""

    execution_id: str
    state: str
    """One of :class:`State`, or a word of a later bridge."""
    reason: str | None
    error: ExecutionError | None
    exit_code: int | None
    """The exit code of the CLI. None if it is not known."""
    output_bytes: int
    """The count of output bytes, kept or not."""
    kept_from: int
    """The offset of the oldest byte that is still kept."""
    crc32: str | None
    """The crc32 of the whole output, as 8 hex digits; None before the end."""
    sha256: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    duration_ms: int | None
    """The running time in milliseconds, without pauses."""
    queue_position: int | None
    activity: str | None
    stalled: bool
    principal: str | None
    workspace: str
    lane: str | None
    conversation: str | None
    """The name of the conversation, for the ``conversation`` of a later execution."""
    continues: str | None
    continued_by: str | None
    """The id of the execution that continues this one."""
    not_before: str | None
    model: str | None
    usage: fields.Json | None
    cost_usd: float | None
    structured_output: object
    """The answer that follows the JSON schema of the execution, or None."""
    permission_denials: tuple[fields.Json, ...]
    questions: tuple[OpenQuestion, ...]
    """The oldest 16 open questions."""
    questions_open: int
    """The count of open questions."""
    restarts: int
    noise_lines: int
    warnings: tuple[fields.Json, ...]
    stderr_tail: str
    metadata: fields.Json
    webhook: fields.Json | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    """The whole object as it was received, with members that this client does not know."""

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended."""
        return self.state in TERMINAL

    @property
    def is_success(self) -> bool:
        """Whether the execution has ended as ``completed``."""
        return self.state == State.COMPLETED


def error_from(raw: Mapping[str, Any]) -> ExecutionError:
    """Return what went wrong, from the member ``error`` of a status."""
    return ExecutionError(fields.text(raw, "code"), fields.text(raw, "message"))


def status_from(raw: Mapping[str, Any]) -> Status:
    """Return the status that a JSON object describes.

    Raises :class:`~cc_bridge.errors.ProtocolError` if a member is missing or of a wrong type.
    """
    error = fields.optional_object(raw, "error")
    return Status(
        execution_id=fields.text(raw, "executionId"),
        state=fields.text(raw, "state"),
        reason=fields.optional_text(raw, "reason"),
        error=None if error is None else error_from(error),
        exit_code=fields.optional_integer(raw, "exitCode"),
        output_bytes=fields.integer(raw, "outputBytes"),
        kept_from=fields.integer(raw, "keptFrom"),
        crc32=fields.optional_text(raw, "crc32"),
        sha256=fields.optional_text(raw, "sha256"),
        created_at=fields.text(raw, "createdAt"),
        started_at=fields.optional_text(raw, "startedAt"),
        ended_at=fields.optional_text(raw, "endedAt"),
        duration_ms=fields.optional_integer(raw, "durationMs"),
        queue_position=fields.optional_integer(raw, "queuePosition"),
        activity=fields.optional_text(raw, "activity"),
        stalled=fields.flag(raw, "stalled"),
        principal=fields.optional_text(raw, "principal"),
        workspace=fields.text(raw, "workspace"),
        lane=fields.optional_text(raw, "lane"),
        conversation=fields.optional_text(raw, "conversation"),
        continues=fields.optional_text(raw, "continues"),
        continued_by=fields.optional_text(raw, "continuedBy"),
        not_before=fields.optional_text(raw, "notBefore"),
        model=fields.optional_text(raw, "model"),
        usage=fields.optional_object(raw, "usage"),
        cost_usd=fields.optional_number(raw, "costUsd"),
        structured_output=raw.get("structuredOutput"),
        permission_denials=fields.objects(raw, "permissionDenials"),
        questions=tuple(map(open_question_from, fields.objects(raw, "questions"))),
        questions_open=fields.integer(raw, "questionsOpen"),
        restarts=fields.integer(raw, "restarts"),
        noise_lines=fields.integer(raw, "noiseLines"),
        warnings=fields.objects(raw, "warnings"),
        stderr_tail=fields.text(raw, "stderrTail"),
        metadata=fields.obj(raw, "metadata"),
        webhook=fields.optional_object(raw, "webhook"),
        raw=raw,
    )
