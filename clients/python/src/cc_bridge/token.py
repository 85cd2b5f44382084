"""The token with which a client proves who it is, and the places where it is found."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cc_bridge.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_BYTES = 4096
"""The most bytes that are read of a token file. It is above the longest token."""
OTHERS = 0o077
"""The permissions of other users than the owner, in the mode of a file."""
FORM = re.compile(r"[A-Za-z0-9_-]{1,512}", re.ASCII)
"""The form of a token (docs/protocol.md, "Tokens")."""


class Token:
    """A token. Its repr, and every text of this package, has no part of it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Check the form of the text. Raises :class:`SettingsError`, which does not repeat it."""
        if not FORM.fullmatch(text):
            raise SettingsError(
                "not a token: give one line of at most 512 letters, digits, - and _"
            )
        self._text = text

    def __repr__(self) -> str:
        return "Token(***)"

    def __reduce__(self) -> str:
        raise TypeError("a token is not pickled, so that it is not stored by accident")

    def expose(self) -> str:
        """Return the text. The caller must not log it."""
        return self._text

    def redact(self, text: str) -> str:
        """Return the text with each occurrence of the token replaced by ``***``."""
        return text.replace(self._text, "***")


class FromEnvironment(Enum):
    """The type of :data:`FROM_ENVIRONMENT`."""

    FROM_ENVIRONMENT = "from the environment"


FROM_ENVIRONMENT: Final = FromEnvironment.FROM_ENVIRONMENT
"""The token that the environment names, if it names one: see :func:`find_token`."""


def find_token(environment: Mapping[str, str] = os.environ) -> Token | None:
    """Return the token of the first of these places, as the command ``ccb`` does.

    1. the file that ``CCB_TOKEN_FILE`` names
    2. the variable ``CCB_TOKEN``
    3. the file ``cc-bridge/token`` in ``XDG_CONFIG_HOME``, or else in ``~/.config``

    None if there is no token. Raises :class:`SettingsError` if a place cannot be used, for example
    because other users may read the file.
    """
    if named := environment.get("CCB_TOKEN_FILE"):
        path = Path(named)
        if not path.exists():
            raise SettingsError(
                f"the token file {path} does not exist; correct CCB_TOKEN_FILE, or save the token"
                " there"
            )
        return read_token(path)
    if (text := environment.get("CCB_TOKEN")) is not None:
        try:
            return Token(text)
        except SettingsError as error:
            raise SettingsError(
                f"the variable CCB_TOKEN is wrong: {error}; set it to a token, or unset it"
            ) from None
    config = environment.get("XDG_CONFIG_HOME", "")
    home = environment.get("HOME")
    if not Path(config).is_absolute():
        if not home:
            return None
        config = str(Path(home, ".config"))
    path = Path(config, "cc-bridge", "token")
    try:
        path.stat()
    except OSError:
        return None  # Also a folder that this user may not search has no token for this user.
    return read_token(path)


def read_token(path: Path) -> Token:
    """Return the token in a file. Raises :class:`SettingsError` if the file cannot be used."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o7777
            content = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"could not read the token file {path}: {error.strerror}; it must be a file that your"
            " user may read"
        ) from None
    if mode & OTHERS:
        raise SettingsError(
            f"other users may access the token file {path} (mode {mode:03o}); run: chmod 600 {path}"
        )
    text = content.decode("ascii", "replace").strip()
    if not text:
        raise SettingsError(f"the token file {path} is empty; save the token there")
    try:
        return Token(text)
    except SettingsError as error:
        raise SettingsError(
            f"the token file {path} is wrong: {error}; save the token alone there"
        ) from None
