import copy
import pickle
import unittest

from cc_bridge import (
    Answer,
    BridgeError,
    GapError,
    RpcError,
    SettingsError,
    Token,
    errors,
)
from cc_bridge.address import parse_address
from cc_bridge.backoff import Backoff
from cc_bridge.parameters import ExecuteOptions, camel, execute_params
from cc_bridge.refusal import Peer, retry_after

SECRET = "ccb_" + "s3cret" * 7


class AddressTest(unittest.TestCase):
    def test_an_address_without_a_path_gets_the_default_path(self) -> None:
        for text, expected in (
            ("ws://127.0.0.1:8003/ws", "ws://127.0.0.1:8003/ws"),
            ("ws://bridge:8003", "ws://bridge:8003/ws"),
            ("ws://[::1]:8003/", "ws://[::1]:8003/ws"),
            (" ws://localhost/ws/mcp ", "ws://localhost/ws/mcp"),
            ("wss://bridge.example", "wss://bridge.example/ws"),
            ("https://bridge.example/ccb/ws", "wss://bridge.example/ccb/ws"),
        ):
            self.assertEqual(str(parse_address(text)), expected)

    def test_a_loopback_address_is_this_machine(self) -> None:
        for text, expected in (
            ("ws://127.1.2.3", True),
            ("ws://[::1]:8003", True),
            ("ws://[::ffff:127.0.0.1]", True),
            ("wss://LOCALHOST", True),
            ("ws://localhost.example", False),
            ("ws://10.0.0.1", False),
        ):
            self.assertEqual(parse_address(text).is_loopback, expected, text)

    def test_the_error_of_a_bad_address_names_no_password(self) -> None:
        for text in ("ftp://h", "127.0.0.1:8003", "", "ws://u:secret@h/ws", "ws:///ws", "ws://h:x"):
            with self.assertRaises(SettingsError) as raised:
                parse_address(text)
            self.assertNotIn("secret", str(raised.exception))


class RefusalTest(unittest.TestCase):
    def test_each_status_of_a_refused_handshake_has_its_error(self) -> None:
        for status, pause, kind, name, transient in (
            (401, None, "unauthorized", "UnauthorizedError", False),
            (403, None, "forbidden", "ForbiddenError", False),
            (403, None, "foreign-host", "RefusedError", False),
            (400, None, "", "RefusedError", False),
            (302, None, "", "RefusedError", False),
            (429, "7", "too-many-attempts", "BusyError", True),
            (503, "7", "stopping", "BusyError", True),
            (503, None, "stopping", "UnreachableError", True),
            (502, None, "", "UnreachableError", True),
        ):
            headers = {} if pause is None else {"Retry-After": pause}
            body = f'{{"type":"{kind}","detail":"because {SECRET}"}}'.encode()
            error = Peer("ws://b/ws", Token(SECRET)).refused(status, headers, body)
            self.assertEqual((type(error).__name__, error.is_transient), (name, transient))
            self.assertIn("because ***", error.message)
            self.assertEqual(error.retry_after, pause and 7.0)
        plain = Peer("ws://b/ws", None).refused(404, {}, b"<html>")
        self.assertIn("is this the address of a bridge", plain.message)

    def test_a_pause_is_a_number_of_seconds_and_at_most_a_day(self) -> None:
        self.assertEqual(retry_after("7"), 7.0)
        self.assertEqual(retry_after("9" * 30), 86_400.0)
        for text in (None, "", "-1", "soon", "\u0667"):
            self.assertIsNone(retry_after(text))

    def test_close_codes_have_their_reactions(self) -> None:
        peer = Peer("ws://b/ws", None)
        self.assertIsNone(peer.lost(1012, "restart").final)
        self.assertIsNone(peer.lost(None, "").final)
        self.assertTrue(peer.lost(1009, "").too_big)
        final = peer.lost(1008, "the token was removed").final
        self.assertIsInstance(final, errors.UnauthorizedError)
        self.assertIsInstance(peer.lost(1008, "too many").final, errors.ProtocolError)


class ErrorsTest(unittest.TestCase):
    def test_each_code_has_its_class_and_survives_copies(self) -> None:
        for code, kind in errors.RPC_ERRORS.items():
            error = errors.rpc_error(code, "why", {"reason": "r", "retryAfterSeconds": 2})
            self.assertIs(type(error), kind)
            for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
                self.assertEqual((other.code, other.message), (code, "why"))
                self.assertEqual((other.reason, other.retry_after), ("r", 2.0))
        self.assertIs(type(errors.rpc_error(-1, "why")), RpcError)
        gap = pickle.loads(pickle.dumps(GapError(1, 5)))  # noqa: S301
        self.assertEqual(gap.data, {"from": 1, "to": 5})

    def test_all_exceptions_have_one_base(self) -> None:
        kinds = [value for value in vars(errors).values() if isinstance(value, type)]
        exceptions = [kind for kind in kinds if issubclass(kind, Exception)]
        self.assertGreater(len(exceptions), 25)
        self.assertTrue(all(issubclass(kind, BridgeError) for kind in exceptions))

    def test_some_reasons_are_final_although_their_code_is_transient(self) -> None:
        for reason, transient in (("stopping", True), ("cancelled", False), ("unknown", True)):
            error = errors.rpc_error(-32005, "why", {"reason": reason})
            self.assertEqual(error.is_transient, transient)


class ParametersTest(unittest.TestCase):
    def test_options_have_the_names_of_the_protocol(self) -> None:
        self.assertEqual(camel("max_budget_usd"), "maxBudgetUsd")
        options = {"allowed_tools": ("Bash", "Read"), "lane": "l", "model": None}
        params = execute_params("id", "p", options)
        expected = {"executionId": "id", "prompt": "p", "allowedTools": ["Bash", "Read"]}
        self.assertEqual(params, {**expected, "lane": "l"})
        with self.assertRaisesRegex(TypeError, "max_turn'"):
            execute_params("id", "p", {"max_turn": 1})
        self.assertIn("prompt_mode", ExecuteOptions.__annotations__)

    def test_an_answer_has_only_the_members_that_are_set(self) -> None:
        self.assertEqual(
            Answer.deny("no").params("e", "q"),
            {"executionId": "e", "questionId": "q", "decision": "deny", "message": "no"},
        )
        ids = {"executionId": "e", "questionId": "q"}
        allowed = Answer.allow(answers={"Which?": "A"}, remember=("Bash(ls)",))
        expected = {"decision": "allow", "answers": {"Which?": "A"}, "remember": ["Bash(ls)"]}
        self.assertEqual(allowed.params("e", "q"), {**ids, **expected})
        changed = Answer.allow(updated_input={"command": "ls"}).params("e", "q")
        self.assertEqual(changed["updatedInput"], {"command": "ls"})
        stopped = Answer.deny(interrupt=True).params("e", "q")
        self.assertEqual(stopped, {**ids, "decision": "deny", "interrupt": True})


class BackoffTest(unittest.TestCase):
    def test_delays_double_up_to_the_longest_and_begin_again(self) -> None:
        backoff = Backoff(0.2, 5.0, lambda low, high: (low + high) / 2)
        delays = [backoff.next_delay() for _ in range(7)]
        self.assertEqual(delays, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        backoff.reset()
        self.assertEqual(backoff.next_delay(), 0.2)

    def test_jitter_stays_within_a_quarter(self) -> None:
        for _ in range(100):
            self.assertTrue(0.15 <= Backoff(0.2, 5.0).next_delay() <= 0.25)


if __name__ == "__main__":
    unittest.main()
