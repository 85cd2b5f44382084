"""The client against a fake bridge with faults."""

import asyncio
import random
import unittest

from cc_bridge import (
    Accepted,
    Bridge,
    Disconnected,
    Ended,
    GapError,
    GaveUpError,
    IdInUseError,
    MethodNotFoundError,
    NoAnswerError,
    Options,
    Output,
    OutputCheck,
    Reconnected,
    TooLargeError,
    UnauthorizedError,
)
from fake_bridge import FakeBridge, Plan
from samples import ID

FAST = Options(first_delay=0.01, max_delay=0.05, ping=5)


def client(fake: FakeBridge, options: Options = FAST) -> Bridge:
    return Bridge(fake.url, token=None, options=options)


async def eventually(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the conditions are of any kind
            await asyncio.sleep(0.005)


class RunTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_run_yields_its_output_and_its_status(self) -> None:
        async with FakeBridge(Plan(text="hello, world")) as fake, client(fake) as bridge:
            run = await bridge.execute("p", max_turns=3)
            self.assertEqual([text async for text in run], ["hello", ", wor", "ld"])
            status = await run
            self.assertTrue(status.is_success)
            self.assertEqual(await run, status)
            self.assertEqual((run.check, run.reached), (OutputCheck.VERIFIED, 12))
            self.assertEqual(fake.requests[0]["params"]["maxTurns"], 3)
        self.assertEqual(fake.closes, [1000])

    async def test_events_have_the_whole_life_of_a_run(self) -> None:
        async with FakeBridge() as fake, client(fake) as bridge:
            run = await bridge.attach(ID, 2)
            events = [event async for event in run.events()]
            kinds = [type(event).__name__ for event in events]
            self.assertEqual(kinds, ["StatusChanged", "Output", "Ended"])
            self.assertEqual(events[1], Output(2, "llo"))
            self.assertEqual(run.check, OutputCheck.PARTIAL)

    async def test_a_refused_execute_raises_the_class_of_its_code(self) -> None:
        async with FakeBridge() as fake, client(fake) as bridge:
            await bridge.execute("p", execution_id=ID)
            with self.assertRaises(IdInUseError) as raised:
                await bridge.execute("another", execution_id=ID)
            self.assertEqual(
                (raised.exception.code, raised.exception.reason), (-32009, "id_in_use")
            )
            with self.assertRaises(MethodNotFoundError):
                await bridge.list()
            with self.assertRaises(TooLargeError):
                await bridge.execute("x" * 200_000)

    async def test_a_gap_is_raised_and_the_run_continues_after_it(self) -> None:
        plan = Plan(text="0123456789", kept_from=4)
        async with FakeBridge(plan) as fake, client(fake) as bridge:
            run = await bridge.attach(ID)
            with self.assertRaises(GapError) as raised:
                await run.text()
            self.assertEqual(raised.exception.data, {"from": 0, "to": 4})
            self.assertEqual(await run.text(), "456789")
            skipping = await bridge.attach(ID, on_slow="skip")
            self.assertEqual(await skipping.text(), "456789")
            self.assertEqual(skipping.check, OutputCheck.PARTIAL)

    async def test_a_cancel_ends_the_execution(self) -> None:
        async with FakeBridge(Plan(text="long answer", holds=True)) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            self.assertEqual(await anext(run), "long ")
            await run.cancel()
            self.assertEqual((await run).state, "cancelled")


class CutTest(unittest.IsolatedAsyncioTestCase):
    async def test_output_continues_at_the_byte_after_every_cut(self) -> None:
        text = "".join(random.Random(3).choices("a\u00e9\u20ac\N{GRINNING FACE}\n", k=3000))
        cuts = [random.Random(n).randrange(2, 40) for n in range(60)]
        plan = Plan(text=text, piece=7, cuts=cuts)
        async with FakeBridge(plan) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            self.assertEqual(await run.text(), text)
            self.assertEqual(run.check, OutputCheck.VERIFIED)
            self.assertGreater(fake.sessions, 20)
            self.assertEqual(len(fake.bodies), 1)
            self.assertEqual(fake.methods().count("execute"), 1)

    async def test_an_execute_whose_answer_is_lost_runs_once(self) -> None:
        async with FakeBridge(Plan(cut_before_answers=3)) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            self.assertEqual(await run.text(), "hello")
            executes = [r["params"] for r in fake.requests if r["method"] == "execute"]
            self.assertEqual(len(executes), 4)
            self.assertEqual(len({str(params) for params in executes}), 1)
            self.assertEqual(len(fake.bodies), 1)

    async def test_events_tell_of_the_cut(self) -> None:
        async with FakeBridge(Plan(text="ab", piece=1, cuts=[4])) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            kinds = [type(event) async for event in run.events()]
            self.assertNotIn(Accepted, kinds)
            self.assertLess(kinds.index(Disconnected), kinds.index(Reconnected))
            self.assertEqual((kinds.count(Output), kinds[-1]), (2, Ended))

    async def test_a_request_is_repeated_after_a_cut(self) -> None:
        async with FakeBridge(Plan(cuts=[1, 1])) as fake, client(fake) as bridge:
            self.assertEqual((await bridge.status(ID)).state, "running")
            self.assertEqual(fake.methods(), ["status"] * 3)

    async def test_a_silent_bridge_counts_as_lost(self) -> None:
        options = Options(first_delay=0.01, ping=0.1)
        async with FakeBridge(Plan(holds=True)) as fake, client(fake, options) as bridge:
            run = await bridge.execute("p")
            await anext(run)
            for socket in fake.open_sockets:
                socket.transport.pause_reading()
            await eventually(lambda: fake.sessions == 2)
            fake.release.set()
            self.assertTrue((await run).is_success)

    async def test_a_silent_view_counts_as_lost(self) -> None:
        options = Options(first_delay=0.01, ping=0.05)
        plan = Plan(holds=True, heartbeat_ms=50)
        async with FakeBridge(plan) as fake, client(fake, options) as bridge:
            run = await bridge.execute("p")
            await eventually(lambda: fake.sessions >= 2)
            fake.release.set()
            self.assertTrue((await run).is_success)

    async def test_the_client_gives_up_after_its_time(self) -> None:
        options = Options(first_delay=0.01, max_delay=0.02, give_up=0.2)
        async with FakeBridge(Plan(holds=True)) as fake, client(fake, options) as bridge:
            run = await bridge.execute("p")
            fake.plan.refusals = [(503, {})] * 1000
            fake.cut_all()
            with self.assertRaises(GaveUpError):
                await run
            fake.plan.refusals = []
            # The executions continue, and so does the client.
            fake.release.set()
            self.assertEqual(await (await bridge.attach(run.id)).text(), "hello")

    async def test_a_removed_token_ends_everything_without_a_further_attempt(self) -> None:
        async with FakeBridge(Plan(close_code=1008)) as fake, client(fake) as bridge:
            for _ in range(2):
                with self.assertRaises(UnauthorizedError):
                    await bridge.ping()
            self.assertEqual(fake.sessions, 1)

    async def test_a_request_without_an_answer_ends_in_time(self) -> None:
        options = Options(first_delay=0.01, answer_timeout=0.1)
        async with FakeBridge() as fake, client(fake, options) as bridge:
            for socket in fake.open_sockets:
                socket.transport.pause_reading()
            with self.assertRaises(NoAnswerError):
                await bridge.ping()


if __name__ == "__main__":
    unittest.main()
