"""Functions that read members of JSON objects with a check of their type.

A member of a wrong type is a :class:`~cc_bridge.errors.ProtocolError`. Unknown members are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cc_bridge.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]
"""A JSON object."""


def wrong(name: str, wanted: str, value: object) -> ProtocolError:
    """Return the error for a member that is missing or of a wrong type."""
    return ProtocolError(f"{name} is {type(value).__name__} instead of {wanted}")


def text(members: Mapping[str, Any], name: str) -> str:
    """Return a required string."""
    value = members.get(name)
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    return value


def integer(members: Mapping[str, Any], name: str) -> int:
    """Return a required integer. A fraction of zero is allowed (docs/protocol.md, "Words")."""
    value = members.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(name, "an integer", value)
    return value


def obj(members: Mapping[str, Any], name: str) -> Json:
    """Return a required object."""
    value = members.get(name)
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    return value


def flag(members: Mapping[str, Any], name: str) -> bool:
    """Return a required boolean."""
    value = members.get(name)
    if not isinstance(value, bool):
        raise wrong(name, "a boolean", value)
    return value


def number(members: Mapping[str, Any], name: str) -> float:
    """Return a required number."""
    value = members.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong(name, "a number", value)
    return float(value)


def objects(members: Mapping[str, Any], name: str) -> tuple[Json, ...]:
    """Return a required list of objects."""
    value = members.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise wrong(name, "a list of objects", value)
    return tuple(value)


def texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a required list of strings."""
    value = members.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(name, "a list of strings", value)
    return tuple(value)


def optional_text(members: Mapping[str, Any], name: str) -> str | None:
    """Return a string, or None if it is null or absent."""
    return None if members.get(name) is None else text(members, name)


def optional_integer(members: Mapping[str, Any], name: str) -> int | None:
    """Return an integer, or None if it is null or absent."""
    return None if members.get(name) is None else integer(members, name)


def optional_number(members: Mapping[str, Any], name: str) -> float | None:
    """Return a number, or None if it is null or absent."""
    return None if members.get(name) is None else number(members, name)


def optional_object(members: Mapping[str, Any], name: str) -> Json | None:
    """Return an object, or None if it is null or absent."""
    return None if members.get(name) is None else obj(members, name)
