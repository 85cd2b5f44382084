import json
import unittest
from typing import Any

from cc_bridge import (
    Accepted,
    BridgeError,
    CancelledUnansweredError,
    ClosedError,
    Disconnected,
    Ended,
    FullError,
    Gap,
    GaveUpError,
    IdInUseError,
    NotFoundError,
    Output,
    OutputCheck,
    OutputError,
    ProtocolError,
    QuestionAsked,
    QuestionEnded,
    Reconnected,
    StatusChanged,
    TooLargeError,
)
from cc_bridge.machine import Machine, RetryLaterError
from cc_bridge.run_buffer import RunBuffer
from cc_bridge.view import View
from samples import (
    ID,
    OTHER_ID,
    Played,
    ended,
    error,
    notification,
    output,
    question,
    result,
    status,
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


class ReconnectTest(unittest.TestCase):
    def test_an_execute_without_an_answer_is_repeated_unchanged(self) -> None:
        played = Played(prompt="p")
        [first] = played.sent()
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        self.assertEqual(played.sent(), [first])
        self.assertEqual(kinds(played.read()), [Disconnected])

    def test_an_accepted_view_attaches_at_the_byte_reached(self) -> None:
        played = Played(prompt="p")
        played.accept()
        played.play(output(0, "h\u00e9"))
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        [attach] = played.sent()
        self.assertEqual(attach["method"], "attach")
        self.assertEqual(attach["params"], {"executionId": ID, "offset": 3, "onSlow": "wait"})
        # A message of an older view does not count.
        played.play(output(0, "nonsense"))
        played.play(result(attach["id"], status()), output(3, "!"), ended("h\u00e9!"))
        expected = [Accepted, Output, Disconnected, Reconnected, Output, Ended]
        self.assertEqual(kinds(played.read()), expected)

    def test_a_second_cut_before_the_answer_attaches_once(self) -> None:
        played = Played()
        played.accept()
        for _ in range(2):
            played.machine.lost("cut", 0.2)
            played.machine.connected(1000)
        self.assertEqual([request["method"] for request in played.sent()], ["attach"])

    def test_a_cancel_policy_is_sent_again_before_the_attach(self) -> None:
        played = Played(prompt="p", onDisconnect="cancel")
        played.accept()
        played.play(output(0, "abc"))
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        execute, attach = played.sent()
        self.assertEqual(execute["params"]["onDisconnect"], "cancel")
        self.assertEqual(attach["params"]["offset"], 3)
        played.play(
            result(execute["id"], status()),
            output(0, "abc"),
            result(attach["id"], status()),
            output(3, "d"),
            ended("abcd"),
        )
        texts = [item.text for item in played.read() if isinstance(item, Output)]
        self.assertEqual(texts, ["abc", "d"])

    def test_a_cancelled_execute_without_an_answer_is_not_repeated(self) -> None:
        played = Played(prompt="p")
        played.sent()
        played.machine.request("control", {"type": "CANCEL", "executionId": ID}, lambda _: None)
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        self.assertEqual([request["method"] for request in played.sent()], ["control"])
        self.assertEqual(kinds(played.read()), [Disconnected, CancelledUnansweredError])

    def test_output_that_is_no_longer_kept_becomes_a_gap(self) -> None:
        played, attach = self.reattached("abc")
        played.play(error(attach["id"], -32007, "offset_not_kept", keptFrom=10))
        [again] = played.sent()
        self.assertEqual(again["params"]["offset"], 10)
        self.assertEqual(played.read(), [Gap(3, 10)])

    def test_output_that_a_power_cut_took_back_continues_at_its_length(self) -> None:
        played, attach = self.reattached("abc")
        played.play(error(attach["id"], -32602, "offset_beyond_end", length=2))
        [again] = played.sent()
        self.assertEqual(again["params"]["offset"], 2)
        played.play(result(again["id"], status()), ended("ab"))
        last = played.read()[-1]
        assert isinstance(last, Ended)
        self.assertEqual(last.check, OutputCheck.UNKNOWN)

    def test_a_full_or_unavailable_bridge_is_tried_again_later(self) -> None:
        for code, reason in ((-32004, "too_many_views"), (-32005, "claude_api_unreachable")):
            played, attach = self.reattached("abc")
            with self.assertRaises(RetryLaterError):
                played.play(error(attach["id"], code, reason, retryAfterSeconds=3))
            played.machine.connected(1000)
            self.assertEqual(played.sent()[0]["params"]["offset"], 3)
        with self.assertRaises(RetryLaterError):
            Played().play(error(None, -32001, "too_many_sessions"))

    def test_any_other_error_of_an_attach_ends_the_run(self) -> None:
        for code, reason, kind in (
            (-32003, "not_found", NotFoundError),
            (-32009, "deleted", IdInUseError),
            (-32005, "too_many_attempts", BridgeError),
        ):
            played, attach = self.reattached("abc")
            played.play(error(attach["id"], code, reason))
            [failure] = played.read()
            self.assertIsInstance(failure, kind)
            self.assertTrue(played.machine.is_idle)

    def test_an_error_of_the_first_request_ends_the_run(self) -> None:
        played = Played()
        [execute] = played.sent()
        played.play(error(execute["id"], -32004, "queue_full", retryAfterSeconds=2))
        [failure] = played.read()
        assert isinstance(failure, FullError)
        self.assertEqual((failure.code, failure.reason), (-32004, "queue_full"))
        self.assertEqual((failure.retry_after, failure.is_transient), (2.0, True))

    @staticmethod
    def reattached(text: str) -> tuple[Played, dict[str, Any]]:
        played = Played()
        played.accept()
        played.play(output(0, text))
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        played.read()
        [attach] = played.sent()
        return played, attach


class BackPressureTest(unittest.TestCase):
    def test_a_full_buffer_detaches_and_attaches_again_when_it_is_read(self) -> None:
        played = Played(limit=300)
        played.accept()
        text = "x" * 400
        played.play(output(0, text), output(400, "lost"))
        self.assertEqual([request["method"] for request in played.sent()], ["detach"])
        self.assertEqual(kinds(played.read()), [Accepted, Output])
        played.machine.views.wants_more(played.view)
        [attach] = played.sent()
        self.assertEqual(attach["params"]["offset"], 400)
        played.play(result(attach["id"], status()), output(400, "!"), ended(text + "!"))
        # The run does not see the detach.
        self.assertEqual(kinds(played.read()), [Output, Ended])

    def test_a_detached_view_needs_no_connection(self) -> None:
        played = Played()
        played.accept()
        played.machine.views.suspend(played.view)
        self.assertEqual([request["method"] for request in played.sent()], ["detach"])
        self.assertTrue(played.machine.is_idle)
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        self.assertEqual(played.sent(), [])
        played.machine.views.wants_more(played.view)
        self.assertEqual([request["method"] for request in played.sent()], ["attach"])

    def test_a_forgotten_view_is_detached(self) -> None:
        played = Played()
        played.accept()
        played.machine.views.forget(played.view)
        self.assertEqual([request["method"] for request in played.sent()], ["detach"])
        played.machine.views.forget(played.view)
        self.assertEqual((played.sent(), played.read()), ([], []))

    def test_a_newer_view_of_an_execution_replaces_the_older_one(self) -> None:
        played = Played()
        played.accept()
        newer = View(ID, RunBuffer(skips=False))
        played.machine.views.open(newer, "attach", {"executionId": ID})
        self.assertEqual(kinds(played.read()), [Accepted, ClosedError])
        played.machine.views.forget(played.view)
        self.assertIs(played.machine.views.get(ID), newer)


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
    def test_a_question_is_shown_once_also_after_a_reconnect(self) -> None:
        played = Played()
        played.accept()
        played.play(question("q1"))
        played.machine.lost("cut", 0.2)
        played.machine.connected(1000)
        [attach] = played.sent()
        closed = notification(
            "questionClosed",
            executionId=ID,
            questionId="q1",
            closedBy="answer",
            decision="allow",
            principal="ann",
        )
        played.play(result(attach["id"], status()), question("q1"), question("q2"), closed)
        items = played.read()
        asked = [item.question for item in items if isinstance(item, QuestionAsked)]
        self.assertEqual([item.question_id for item in asked], ["q1", "q2"])
        self.assertEqual(asked[0].input, {"command": "make"})
        last = items[-1]
        assert isinstance(last, QuestionEnded)
        self.assertEqual((last.closed.closed_by, last.closed.decision), ("answer", "allow"))


if __name__ == "__main__":
    unittest.main()
