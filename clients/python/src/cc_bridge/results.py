"""The results of requests other than ``execute`` and ``attach``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cc_bridge import fields
from cc_bridge.status import Status, status_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list of executions, newest first."""

    executions: tuple[Status, ...]
    next: str | None
    """The ``before`` of the next page. None at the end."""


@dataclass(frozen=True, slots=True)
class Events:
    """A part of what the CLI has written to its stdout, normally JSON lines."""

    execution_id: str
    offset: int
    """The offset of the first byte of this part."""
    text: str
    """The lines, with U+FFFD for bytes that are no UTF-8. Do not count its bytes."""
    next_offset: int
    """The offset of the next part."""
    ended: bool
    """Whether no events follow."""


@dataclass(frozen=True, slots=True)
class Share:
    """A token that opens one execution. Only this answer has it, and its repr has no token."""

    share_id: str
    token: str = field(repr=False)
    role: str
    expires: str


@dataclass(frozen=True, slots=True)
class Me:
    """The client as claude-api sees it (docs/protocol.md, "Tokens")."""

    principal: str | None
    role: str
    name: str | None
    """The name of the token; None for a share."""
    expires: str | None
    share: str | None
    """The only execution that a share opens; None for every other token."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first message of a bridge (docs/protocol.md, "Notifications", ``connected``)."""

    session_id: str
    protocol: int
    version: str
    capabilities: Mapping[str, Any]
    limits: Mapping[str, Any] | None
    """The limits in force, by their names in docs/protocol.md. None while they are not known."""

    def limit(self, name: str, default: int) -> int:
        """Return a limit in force, or the default while the bridge does not know it."""
        value = (self.limits or {}).get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default


def page_from(raw: Mapping[str, Any]) -> Page:
    """Return the page that a result describes."""
    executions = fields.objects(raw, "executions")
    return Page(tuple(map(status_from, executions)), fields.optional_text(raw, "next"))


def events_from(raw: Mapping[str, Any]) -> Events:
    """Return the part of the events that a result describes."""
    return Events(
        execution_id=fields.text(raw, "executionId"),
        offset=fields.integer(raw, "offset"),
        text=fields.text(raw, "text"),
        next_offset=fields.integer(raw, "nextOffset"),
        ended=fields.flag(raw, "ended"),
    )


def share_from(raw: Mapping[str, Any]) -> Share:
    """Return the share that a result describes."""
    return Share(
        share_id=fields.text(raw, "shareId"),
        token=fields.text(raw, "token"),
        role=fields.text(raw, "role"),
        expires=fields.text(raw, "expires"),
    )


def me_from(raw: Mapping[str, Any]) -> Me:
    """Return the client that an answer describes."""
    return Me(
        principal=fields.optional_text(raw, "principal"),
        role=fields.text(raw, "role"),
        name=fields.optional_text(raw, "name"),
        expires=fields.optional_text(raw, "expires"),
        share=fields.optional_text(raw, "share"),
    )


def greeting_from(raw: Mapping[str, Any]) -> Greeting:
    """Return the greeting that the params of ``connected`` describe."""
    return Greeting(
        session_id=fields.text(raw, "sessionId"),
        protocol=fields.integer(raw, "protocol"),
        version=fields.text(raw, "version"),
        capabilities=fields.obj(raw, "capabilities"),
        limits=fields.optional_object(raw, "limits"),
    )
