import json
import unittest
from typing import Any

from cc_bridge import (
    Accepted,
    BridgeError,
    ClosedQuestion,
    Ended,
    GaveUpError,
    NotFoundError,
    Output,
    OutputCheck,
    OutputError,
    ProtocolError,
    Question,
    QuestionAsked,
    QuestionClosed,
    StatusChanged,
    TooLargeError,
)
from cc_bridge.machine import Machine
from cc_bridge.run_buffer import RunBuffer
from cc_bridge.view import View
from samples import (
    ID,
    OTHER_ID,
    Played,
    closed,
    ended,
    error,
    listing,
    notification,
    output,
    question,
    result,
    update,
)


def kinds(items: list[Any]) -> list[type]:
    return [type(item) for item in items]


class RunOfAViewTest(unittest.TestCase):
    def test_the_events_of_a_run_are_in_order(self) -> None:
        played = Played()
        played.accept()
        played.play(update(), output(0, "hel"), output(3, "lo"), ended("hello"))
        accepted, changed, first, second, last = played.read()
        self.assertIsInstance(accepted, Accepted)
        self.assertIsInstance(changed, StatusChanged)
        self.assertEqual((first, second), (Output(0, "hel"), Output(3, "lo")))
        assert isinstance(last, Ended)
        self.assertEqual(last.check, OutputCheck.VERIFIED)
        self.assertTrue(played.machine.is_idle)

    def test_a_message_after_the_end_is_ignored(self) -> None:
        played = Played()
        played.accept()
        played.play(ended(""), output(0, "late"), ended("late"))
        self.assertEqual(kinds(played.read()), [Accepted, Ended])

    def test_a_hole_ends_the_view_with_an_error_and_a_detach(self) -> None:
        played = Played()
        played.accept()
        played.play(output(1, "x"))
        self.assertEqual(kinds(played.read()), [Accepted, OutputError])
        self.assertEqual([request["method"] for request in played.sent()], ["detach"])

    def test_a_wrong_crc32_is_an_error(self) -> None:
        played = Played()
        played.accept()
        played.play(output(0, "hallo"), ended("hello"))
        self.assertEqual(kinds(played.read()), [Accepted, Output, OutputError])

    def test_the_end_of_a_lost_execution_is_not_checked(self) -> None:
        played = Played()
        played.accept()
        played.play(output(0, "x"), update("interrupted", reason="lost"))
        last = played.read()[-1]
        assert isinstance(last, Ended)
        self.assertEqual(last.check, OutputCheck.UNKNOWN)

    def test_an_overlap_inside_a_character_is_an_error(self) -> None:
        played = Played()
        played.accept()
        played.play(output(0, "ab"), output(1, "\N{GRINNING FACE}"))
        self.assertIsInstance(played.read()[-1], OutputError)

    def test_unknown_messages_and_words_are_ignored(self) -> None:
        played = Played()
        played.accept()
        played.play(
            notification("later", executionId=ID, more=1),
            notification("statusUpdate", status="FAILED", reason="rejected", error={}),
            "[]",
            result(99, {}),
            update("dreaming"),
        )
        changed = played.read()[1]
        assert isinstance(changed, StatusChanged)
        self.assertEqual(changed.status.state, "dreaming")
        self.assertFalse(changed.status.is_terminal)

    def test_a_malformed_message_is_a_protocol_error(self) -> None:
        for text in ("{", '{"id":1,"error":7}', error(None, -32700, "parse_error")):
            with self.assertRaises(BridgeError):
                Played().machine.message(text)
        played = Played()
        played.accept()
        played.play(notification("output", executionId=ID, offset="0", content="x"))
        self.assertEqual(kinds(played.read()), [Accepted, ProtocolError])

    def test_a_lone_surrogate_is_a_protocol_error(self) -> None:
        played = Played()
        played.accept()
        played.play(output(0, "\ud800"))
        self.assertEqual(kinds(played.read()), [Accepted, ProtocolError])


class RequestsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.machine = Machine()
        self.machine.connected(200)
        self.outcomes: list[object] = []

    def ask(self, method: str = "ping", **params: object) -> int:
        return self.machine.request(method, params, self.outcomes.append)

    def test_an_answer_reaches_its_caller(self) -> None:
        first, second = self.ask(), self.ask()
        self.machine.message(result(second, {"n": 2}))
        self.machine.message(error(first, -32003, "not_found"))
        self.machine.message(result(first, {"n": 1}))
        self.assertEqual(self.outcomes[0], {"n": 2})
        self.assertIsInstance(self.outcomes[1], NotFoundError)
        self.assertEqual(len(self.outcomes), 2)

    def test_an_abandoned_request_is_not_sent(self) -> None:
        self.machine.requests.remove(self.ask())
        self.assertIsNone(self.machine.next_request())

    def test_a_request_that_is_too_large_fails_alone(self) -> None:
        self.ask("list", text="x" * 300)
        small = self.ask()
        text = self.machine.next_request()
        assert text is not None
        self.assertEqual(json.loads(text)["id"], small)
        self.assertIsInstance(self.outcomes[0], TooLargeError)

    def test_the_largest_request_fails_after_close_1009(self) -> None:
        self.ask("list", text="x" * 100)
        self.ask()
        self.machine.refuse_largest(ProtocolError("1009"))
        self.assertEqual(len(self.outcomes), 1)
        self.assertEqual(len(self.machine.requests), 1)

    def test_text_that_no_json_can_carry_is_refused_at_once(self) -> None:
        for value in ("\ud800", float("nan")):
            with self.assertRaises(ValueError):
                self.ask("list", value=value)
        self.assertIsNone(self.machine.next_request())

    def test_a_failure_ends_everything_with_errors_of_their_own(self) -> None:
        self.ask()
        view = View(OTHER_ID, RunBuffer(skips=False))
        self.machine.views.open(view, "attach", {"executionId": OTHER_ID})
        failure = GaveUpError("gone")
        self.machine.fail(failure)
        self.assertIsInstance(self.outcomes[0], GaveUpError)
        self.assertIsNot(self.outcomes[0], failure)
        self.assertIsInstance(view.buffer.pop(), GaveUpError)
        self.assertTrue(self.machine.is_idle)


class QuestionTest(unittest.TestCase):
    def reconnected(self, *before: str) -> Played:
        """Return a view that has these messages, and is attached again after a cut."""
        played = Played()
        played.accept()
        played.play(*before)
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        played.accept()
        played.read()
        return played

    def test_a_question_and_its_end_have_the_members_of_the_protocol(self) -> None:
        played = Played()
        played.accept()
        played.play(question("q1"), closed("q1"))
        _, first, last = played.read()
        assert isinstance(first, QuestionAsked)
        assert isinstance(last, QuestionClosed)
        self.assertEqual(
            first.question,
            Question(
                execution_id=ID,
                question_id="q1",
                kind="permission",
                tool="Bash",
                display_name="Bash",
                title="make",
                description=None,
                input={"command": "make"},
                input_bytes=18,
                suggestions=("Bash(make)",),
                agent_id=None,
                asked_at="2026-01-01T00:00:00Z",
                expires_at=None,
            ),
        )
        expected = ClosedQuestion("q1", "answer", "allow", "ann", "2026-01-01T00:00:01Z")
        self.assertEqual(last.question, expected)

    def test_a_status_lists_open_questions(self) -> None:
        played = Played()
        played.accept()
        played.play(update(**listing("q1", opened=2)))
        *_, changed = played.read()
        assert isinstance(changed, StatusChanged)
        self.assertEqual(changed.status.questions_open, 2)
        [listed] = changed.status.questions
        self.assertEqual((listed.question_id, listed.title), ("q1", "make"))

    def test_a_question_is_shown_once_also_after_a_reconnect(self) -> None:
        played = self.reconnected(question("q1"))
        played.play(update(**listing("q1", "q2")), question("q1"), question("q2"), closed("q1"))
        _, asked, last = played.read()
        assert isinstance(asked, QuestionAsked)
        assert isinstance(last, QuestionClosed)
        self.assertEqual((asked.question.question_id, last.question.question_id), ("q2", "q1"))

    def test_a_question_that_is_gone_after_a_reconnect_has_ended(self) -> None:
        played = self.reconnected(question("q1"), question("q2"))
        # The list may be shorter than the count of open questions.
        played.play(update(**listing("q2", opened=17)))
        [changed] = played.read()
        self.assertIsInstance(changed, StatusChanged)
        for _ in range(2):
            played.play(update(**listing("q2")))
        first, *others = played.read()
        assert isinstance(first, QuestionClosed)
        self.assertEqual(first.question, ClosedQuestion("q1", None, None, None, None))
        self.assertEqual([type(event) for event in others], [StatusChanged, StatusChanged])
        # The bridge announces the end of a question that this view has announced.
        played.play(question("q2"), update(), closed("q2"))
        _, last = played.read()
        assert isinstance(last, QuestionClosed)
        self.assertEqual(last.question.closed_by, "answer")

    def test_the_end_of_an_execution_ends_its_questions(self) -> None:
        # A bridge that has lost the execution repeats its last status, and announces no end.
        for again in ([], [question("q1")]):
            played = self.reconnected(question("q1"))
            played.play(*again, ended("", reason="lost", **listing("q1")))
            first, last = played.read()
            self.assertIsInstance(first, QuestionClosed)
            self.assertIsInstance(last, Ended)


if __name__ == "__main__":
    unittest.main()
