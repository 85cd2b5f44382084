"""The client against a fake bridge with faults."""

import asyncio
import gc
import unittest

from cc_bridge import (
    Bridge,
    ClosedError,
    Options,
    OutputCheck,
    Run,
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
