"""The client against a fake bridge with faults."""

import asyncio
import gc
import random
import unittest

from cc_bridge import (
    Accepted,
    Bridge,
    ClosedError,
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
    Run,
    TooLargeError,
    UnauthorizedError,
    UnreachableError,
)
from cc_bridge.run_buffer import WAITING_BYTES
from fake_bridge import FakeBridge, Plan
from samples import ID, OTHER_ID

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


class ConsumerTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_cancelled_consumer_detaches_and_a_later_read_continues(self) -> None:
        plan = Plan(text="hello, world", holds=True)
        async with FakeBridge(plan) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            self.assertEqual(await anext(run), "hello")
            consumer = asyncio.create_task(run.text())
            await asyncio.sleep(0.05)
            consumer.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await consumer
            await eventually(lambda: fake.methods()[-1] == "detach")
            fake.release.set()
            self.assertEqual(await run.text(), ", world")
            self.assertEqual(run.check, OutputCheck.VERIFIED)

    async def test_a_dropped_run_detaches(self) -> None:
        async with FakeBridge(Plan(holds=True)) as fake, client(fake) as bridge:
            run: Run | None = await bridge.execute("p")
            assert run is not None
            run = None
            gc.collect()
            await eventually(lambda: "detach" in fake.methods())
            await bridge.ping()

    async def test_the_end_of_a_block_detaches(self) -> None:
        async with FakeBridge(Plan(holds=True)) as fake, client(fake) as bridge:
            async with await bridge.execute("p") as run:
                await anext(run)
            await bridge.ping()
            self.assertEqual(fake.methods(), ["execute", "detach", "ping"])
            with self.assertRaises(ClosedError):
                await run

    async def test_a_cancelled_execute_leaves_no_view(self) -> None:
        async with FakeBridge() as fake, client(fake) as bridge:
            for socket in fake.open_sockets:
                socket.transport.pause_reading()
            execute = asyncio.create_task(bridge.execute("p"))
            await asyncio.sleep(0.02)
            execute.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await execute
            for socket in fake.open_sockets:
                socket.transport.resume_reading()
            await bridge.ping()
            self.assertEqual(fake.methods(), ["execute", "detach", "ping"])

    async def test_two_tasks_cannot_read_one_run(self) -> None:
        async with FakeBridge(Plan(holds=True)) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            first = asyncio.create_task(run.wait())
            await asyncio.sleep(0.02)
            with self.assertRaisesRegex(RuntimeError, "another task"):
                await anext(run)
            fake.release.set()
            self.assertTrue((await first).is_success)

    async def test_a_slow_consumer_gets_every_byte_from_a_bounded_buffer(self) -> None:
        text = "0123456789abcdef" * 4096 * 64  # 4 MiB
        plan = Plan(text=text, piece=65_536)
        async with FakeBridge(plan) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            fast = await bridge.attach(OTHER_ID)
            joined, most = [], 0
            async for piece in run:
                joined.append(piece)
                most = max(most, sum(size for _, size in run._view.buffer._items))
                await asyncio.sleep(0.002 if len(joined) > 4 else 0.2)
            self.assertEqual("".join(joined), text)
            self.assertEqual(run.check, OutputCheck.VERIFIED)
            self.assertLess(most, WAITING_BYTES + 70_000)
            self.assertGreater(fake.methods().count("detach"), 0)
            # A slow run delays no other one, and a run that nobody reads stays bounded too.
            self.assertTrue((await fast).is_success)

    async def test_the_end_of_the_client_ends_its_runs(self) -> None:
        async with FakeBridge(Plan(holds=True)) as fake:
            async with client(fake) as bridge:
                run = await bridge.execute("p")
                waiting = asyncio.create_task(bridge.status(ID))
                reading = asyncio.create_task(run.wait())
                await waiting
            with self.assertRaises(ClosedError):
                await reading
            with self.assertRaises(ClosedError):
                await bridge.ping()
            with self.assertRaises(RuntimeError):
                async with bridge:
                    pass
        others = asyncio.all_tasks() - {asyncio.current_task()}
        self.assertEqual([task.get_name() for task in others if "cc_bridge" in task.get_name()], [])


class ConnectTest(unittest.IsolatedAsyncioTestCase):
    async def test_no_bridge_at_the_address_is_reported_at_once(self) -> None:
        with self.assertRaises(UnreachableError) as raised:
            async with Bridge("ws://127.0.0.1:1/ws", token=None):
                pass
        self.assertTrue(raised.exception.is_transient)

    async def test_a_busy_bridge_is_tried_again_after_its_pause(self) -> None:
        plan = Plan(refusals=[(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})])
        async with FakeBridge(plan) as fake, client(fake) as bridge:
            await bridge.ping()
            self.assertEqual(len(fake.handshakes), 3)

    async def test_a_mistake_of_the_client_does_not_look_like_silence(self) -> None:
        async with FakeBridge(Plan(holds=True)) as fake, client(fake) as bridge:
            run = await bridge.execute("p")
            bridge._machine.message = None  # type: ignore[method-assign, assignment]
            with self.assertLogs("cc_bridge", "ERROR"), self.assertRaises(ClosedError) as raised:
                fake.release.set()
                await run
            self.assertIsInstance(raised.exception.__cause__, TypeError)


if __name__ == "__main__":
    unittest.main()
