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
    IdInUseError,
    NotFoundError,
    Output,
    OutputCheck,
    Reconnected,
)
from cc_bridge.machine import RetryLaterError
from cc_bridge.run_buffer import RunBuffer
from cc_bridge.view import View
from samples import (
    ID,
    Played,
    ended,
    error,
    output,
    result,
    status,
)


def kinds(items: list[Any]) -> list[type]:
    return [type(item) for item in items]


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


if __name__ == "__main__":
    unittest.main()
