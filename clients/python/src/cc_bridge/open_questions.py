"""The questions that a run has yielded and whose ends it has not. The module does no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cc_bridge.status import Status


class OpenQuestions:
    """The open questions of one run across reconnects, so that it sees each and its end once.

    A bridge announces the end of a question only to a view that it has announced the question to.
    So the end of a question between two views is found in the statuses (docs/protocol.md,
    "Reconnect", step 7).
    """

    def __init__(self) -> None:
        self._announced: dict[str, bool] = {}
        """Whether the present view has announced the question, by its id."""

    def asked(self, question_id: str) -> bool:
        """Handle an announced question. Return whether the run has not yielded it yet."""
        is_new = question_id not in self._announced
        self._announced[question_id] = True
        return is_new

    def closed(self, question_id: str) -> bool:
        """Handle an announced end. Return whether the run has the question, but not its end."""
        return self._announced.pop(question_id, None) is not None

    def attached(self) -> None:
        """Handle a new view. It announces the open questions again, but no end from before it."""
        self._announced = dict.fromkeys(self._announced, False)

    def closed_unseen(self, status: Status) -> list[str]:
        """Remove and return the questions that were closed between two views.

        A status may list only the oldest open questions. Then it closes none, unless it is
        terminal.
        """
        if status.is_terminal:
            ids = list(self._announced)
        elif status.questions_open > len(status.questions):
            return []
        else:
            listed = {question.question_id for question in status.questions}
            ids = [
                question_id
                for question_id, announced in self._announced.items()
                if not announced and question_id not in listed
            ]
        for question_id in ids:
            del self._announced[question_id]
        return ids
