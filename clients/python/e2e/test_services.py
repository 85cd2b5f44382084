"""Every request of the client against the real services, with the stand-in CLI.

environment: CCB_TEST_URL, the address of the bridge; CCB_TEST_API, that of claude-api; CCB_TOKEN
"""

import asyncio
import json
import os
import unittest
import uuid

from cc_bridge import (
    Bridge,
    IdInUseError,
    InvalidParamsError,
    NotAllowedError,
    NotFoundError,
    Options,
    OutputCheck,
    StatusChanged,
    UnauthorizedError,
    WrongStateError,
)

URL, API = os.environ["CCB_TEST_URL"], os.environ["CCB_TEST_API"]


class ServicesTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        # The token is found in the environment.
        self.bridge = await self.enterAsyncContext(Bridge(URL))

    async def test_output_and_status_of_a_prompt(self) -> None:
        run = await self.bridge.execute("@say hello\u00e9 world", metadata={"job": "7"}, lane="a")
        self.assertEqual(await run.text(), "hello\u00e9 world")
        status = await run
        self.assertEqual((status.state, status.exit_code), ("completed", 0))
        self.assertEqual((status.metadata, status.lane), ({"job": "7"}, "a"))
        self.assertEqual((run.check, run.reached), (OutputCheck.VERIFIED, status.output_bytes))
        self.assertEqual(await self.bridge.status(run.id), status)

    async def test_a_failure_is_a_status_and_no_exception(self) -> None:
        run = await self.bridge.execute("@say x\n@exit 3")
        status = await run
        self.assertEqual((status.state, status.reason), ("failed", "nonzero_exit"))
        self.assertEqual(status.exit_code, 3)
        assert status.error is not None
        self.assertEqual(status.error.code, "nonzero_exit")

    async def test_the_same_id_and_body_is_the_same_execution(self) -> None:
        execution_id = str(uuid.uuid4()).upper()
        first = await self.bridge.execute("@say one", execution_id=execution_id)
        self.assertEqual(await first.text(), "one")
        again = await self.bridge.execute("@say one", execution_id=execution_id)
        self.assertEqual(await again.text(), "one")
        self.assertEqual((await first).started_at, (await again).started_at)
        with self.assertRaises(IdInUseError):
            await self.bridge.execute("@say two", execution_id=execution_id)

    async def test_attach_from_an_offset(self) -> None:
        run = await self.bridge.execute("@say a\u20acb")
        await run
        for offset, expected in (
            (0, "a\u20acb"),
            (1, "\u20acb"),
            (3, "\u20acb"),
            (4, "b"),
            (5, ""),
        ):
            attached = await self.bridge.attach(run.id, offset)
            self.assertEqual(await attached.text(), expected)
        with self.assertRaises(InvalidParamsError) as raised:
            await self.bridge.attach(run.id, 6)
        self.assertEqual(raised.exception.data["length"], 5)

    async def test_pause_resume_and_cancel(self) -> None:
        run = await self.bridge.execute("@say begun\n@silence 60")
        self.assertEqual(await anext(run), "begun")
        for control, word in ((run.pause, "PAUSED"), (run.resume, "RESUMED")):
            await control()
            async for event in run.events():
                if isinstance(event, StatusChanged) and event.word == word:
                    break
        await run.cancel()
        self.assertEqual((await run).state, "cancelled")
        self.assertEqual((await self.bridge.cancel(run.id)).state, "cancelled")

    async def test_messages_to_a_running_cli(self) -> None:
        run = await self.bridge.execute("@say one ", input="stream")
        await run.input.send("@say two\u20ac")
        await run.input.close()
        text = await run.text()
        self.assertIn("one", text)
        self.assertIn("two\u20ac", text)
        self.assertGreater(run.input.offset, 60)
        with self.assertRaises(WrongStateError) as raised:
            await run.input.send("late")
        self.assertEqual(raised.exception.code, -32008)

    async def test_events_are_the_lines_of_the_cli(self) -> None:
        run = await self.bridge.execute("@say hello")
        await run
        text, offset = "", None
        while True:
            part = await self.bridge.events(run.id, offset, max_bytes=100)
            text += part.text
            offset = part.next_offset
            if part.ended and not part.text:
                break
        kinds = [json.loads(line)["type"] for line in text.splitlines()]
        self.assertEqual(kinds[-1], "result")
        as_events = await self.bridge.execute("@say hello", format="events")
        lines = (await as_events.text()).splitlines()
        self.assertEqual(json.loads(lines[-1])["type"], "result")

    async def test_lists_have_pages(self) -> None:
        ids: list[str] = []
        for number in range(3):
            run = await self.bridge.execute(f"@say {number}")
            await run
            ids.insert(0, run.id)
        page = await self.bridge.list(limit=2)
        self.assertEqual([status.execution_id for status in page.executions], ids[:2])
        following = await self.bridge.list(limit=1, before=page.next)
        self.assertEqual(following.executions[0].execution_id, ids[2])
        everything = [status.execution_id async for status in self.bridge.executions()]
        self.assertEqual(everything[:3], ids)
        self.assertEqual(len(set(everything)), len(everything))

    async def test_a_share_opens_one_execution(self) -> None:
        run = await self.bridge.execute("@say shared")
        other = await self.bridge.execute("@say other")
        await run
        share = await self.bridge.share(run.id, expires_seconds=60)
        self.assertEqual(share.role, "view")
        self.assertNotIn(share.token, repr(share))
        async with Bridge(URL, token=share.token) as guest:
            self.assertEqual(await (await guest.attach(run.id)).text(), "shared")
            with self.assertRaises(NotFoundError):
                await guest.status(other.id)
            with self.assertRaises(NotAllowedError):
                await guest.execute("@say x")
            self.assertEqual((await guest.me(API)).share, run.id)

    async def test_me_is_the_principal_of_the_token(self) -> None:
        me = await self.bridge.me(API)
        self.assertEqual((me.name, me.role, me.principal), ("ann", "control", "team-a"))
        self.assertIsNone(me.share)
        async with Bridge(URL, token=os.environ["CCB_TOKEN"]) as other:
            self.assertEqual(await other.me(API), me)

    async def test_a_wrong_or_missing_token_is_refused(self) -> None:
        for token in (None, "ccb_wrong"):
            with self.assertRaises(UnauthorizedError):
                async with Bridge(URL, token=token):
                    pass
            with self.assertRaises(UnauthorizedError):
                await Bridge(URL, token=token).me(API)

    async def test_runs_of_one_client_do_not_wait_for_each_other(self) -> None:
        runs = [
            await self.bridge.execute("@volume 200 1000", lane=str(number)) for number in range(8)
        ]
        lengths = await asyncio.gather(*(run.text() for run in runs))
        self.assertEqual({len(text) for text in lengths}, {200_000})
        self.assertTrue(all(run.check is OutputCheck.VERIFIED for run in runs))

    async def test_a_slow_reader_gets_every_byte(self) -> None:
        run = await self.bridge.execute("@megabytes 8")
        count = 0
        async for text in run:
            count += len(text.encode())
            await asyncio.sleep(0.02)
        self.assertEqual(count, (await run).output_bytes)
        self.assertEqual(run.check, OutputCheck.VERIFIED)

    async def test_a_slow_reader_may_skip(self) -> None:
        run = await self.bridge.execute("@megabytes 8", on_slow="skip")
        count = 0
        async for text in run:
            count += len(text)
            await asyncio.sleep(0.2)
        self.assertLess(count, (await run).output_bytes)
        self.assertEqual(run.check, OutputCheck.PARTIAL)
        whole = await self.bridge.attach(run.id)
        self.assertEqual(len((await whole.text()).encode()), (await run).output_bytes)

    async def test_an_execution_outlives_its_client_unless_it_says_cancel(self) -> None:
        options = Options(first_delay=0.01)
        async with Bridge(URL, options=options) as client:
            kept = await client.execute("@say begun\n@silence 1\n@say  ended")
            await anext(kept)
        async with Bridge(URL, options=options) as client:
            rest = await client.attach(kept.id, kept.reached)
            self.assertTrue((await rest.text()).endswith("ended"))


if __name__ == "__main__":
    unittest.main()
