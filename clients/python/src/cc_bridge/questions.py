"""Questions of an execution, and the answers to them.

An execution with ``permission_prompts="ask"`` asks its clients before it uses a tool that needs a
permission. A callback answers: it gets a :class:`Question`, and returns an :class:`Answer`, or None
to leave the question to other clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cc_bridge import fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Question:
    """A question that waits for an answer."""

    execution_id: str
    question_id: str
    kind: str
    """``permission``, ``choice``, ``plan``, or a word of a later bridge."""
    tool: str
    """The name of the tool that the CLI wants to use."""
    display_name: str | None
    title: str | None
    description: str | None
    input: fields.Json | None
    """The input of the tool. None if it is too large for a notification."""
    input_bytes: int | None
    """The size of the input in bytes."""
    suggestions: tuple[fields.Json, ...]
    """The rules that an answer with ``remember`` can accept."""
    agent_id: str | None
    asked_at: str
    expires_at: str | None
    """The time at which the question is denied; None if it waits without a limit."""


@dataclass(frozen=True, slots=True)
class QuestionClosed:
    """The end of a question."""

    question_id: str
    closed_by: str
    """``answer``, ``timeout``, ``end`` or ``withdrawn``."""
    decision: str | None
    """``allow`` or ``deny``; None if nobody decided."""
    principal: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question. The first valid answer of any client counts."""

    decision: Literal["allow", "deny"]
    message: str | None = None
    """The text for the model, for example why a tool is denied."""
    updated_input: Mapping[str, Any] | None = None
    """Another input for the tool."""
    answers: Mapping[str, str] | None = None
    """For a choice: the label or a free text, by the text of the question."""
    remember: Sequence[Mapping[str, Any]] | None = None
    """Suggested rules that hold for the rest of the execution."""
    interrupt: bool = False
    """Whether a denial also interrupts the turn."""

    @classmethod
    def allow(cls) -> Answer:
        """Return the answer that allows the tool as it was asked."""
        return cls("allow")

    @classmethod
    def deny(cls, message: str | None = None) -> Answer:
        """Return the answer that denies the tool, with a text for the model."""
        return cls("deny", message=message)

    def params(self, execution_id: str, question_id: str) -> fields.Json:
        """Return the params of the request ``answer``."""
        params: fields.Json = {
            "executionId": execution_id,
            "questionId": question_id,
            "decision": self.decision,
        }
        optional = {
            "message": self.message,
            "updatedInput": self.updated_input,
            "answers": self.answers,
            "remember": None if self.remember is None else [*self.remember],
            "interrupt": self.interrupt or None,
        }
        params.update((name, value) for name, value in optional.items() if value is not None)
        return params


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """The result of an answer that the bridge accepted."""

    question_id: str
    decision: str
    principal: str | None


QuestionCallback = Callable[[Question], Awaitable[Answer | None]]
"""The function that answers questions. It is cancelled if somebody else answers first."""


def question_from(execution_id: str, raw: Mapping[str, Any]) -> Question:
    """Return the question that the member ``question`` of a notification describes."""
    suggestions = raw.get("suggestions")
    return Question(
        execution_id=execution_id,
        question_id=fields.text(raw, "questionId"),
        kind=fields.text(raw, "kind"),
        tool=fields.text(raw, "tool"),
        display_name=fields.optional_text(raw, "displayName"),
        title=fields.optional_text(raw, "title"),
        description=fields.optional_text(raw, "description"),
        input=fields.optional_object(raw, "input"),
        input_bytes=fields.optional_integer(raw, "inputBytes"),
        suggestions=() if suggestions is None else fields.objects(raw, "suggestions"),
        agent_id=fields.optional_text(raw, "agentId"),
        asked_at=fields.text(raw, "askedAt"),
        expires_at=fields.optional_text(raw, "expiresAt"),
    )


def closed_from(raw: Mapping[str, Any]) -> QuestionClosed:
    """Return the end of a question that the notification ``questionClosed`` describes."""
    return QuestionClosed(
        question_id=fields.text(raw, "questionId"),
        closed_by=fields.text(raw, "closedBy"),
        decision=fields.optional_text(raw, "decision"),
        principal=fields.optional_text(raw, "principal"),
    )


def answer_result_from(raw: Mapping[str, Any]) -> AnswerResult:
    """Return the result of the request ``answer``."""
    return AnswerResult(
        question_id=fields.text(raw, "questionId"),
        decision=fields.text(raw, "decision"),
        principal=fields.optional_text(raw, "principal"),
    )
