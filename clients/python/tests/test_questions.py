"""Questions against a fake bridge, with the faults that the services hardly ever have."""

import asyncio
import unittest
from typing import Any

from cc_bridge import (
    Answer,
    Bridge,
    InvalidParamsError,
    NotFoundError,
    Options,
    Question,
    QuestionAsked,
    QuestionCallbackError,
    QuestionClosed,
)
from fake_bridge import FakeBridge, Plan
from samples import asked

FAST = Options(first_delay=0.01, max_delay=0.05)
QUESTION = asked()


def asking(**members: Any) -> FakeBridge:
    return FakeBridge(Plan(text="hello, world", question=QUESTION, **members))


class QuestionTest(unittest.IsolatedAsyncioTestCase):
    async def test_the_callback_answers_while_the_program_reads(self) -> None:
        seen = []

        async def allow(question: Question) -> Answer:
            seen.append(question)
            return Answer.allow()

        async with asking() as fake, Bridge(fake.url, token=None, options=FAST) as bridge:
            run = await bridge.execute("p", permission_prompts="ask", on_question=allow)
            self.assertEqual(await run.text(), "hello, world")
            self.assertEqual(fake.requests[0]["params"]["permissionPrompts"], "ask")
            self.assertEqual([q.title for q in seen], ["make"])
            [answer] = fake.answers
            expected = {"executionId": run.id, "questionId": "q1", "decision": "allow"}
            self.assertEqual(answer, expected)

    async def test_a_question_survives_cuts_and_is_asked_once(self) -> None:
        calls = 0

        async def deny_slowly(_question: Question) -> Answer:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.2)
            return Answer.deny("not now")

        async with (
            asking() as fake,
            Bridge(fake.url, token=None, options=FAST, on_question=deny_slowly) as bridge,
        ):
            run = await bridge.execute("p")
            reading = asyncio.create_task(run.text())
            for _ in range(3):
                await asyncio.sleep(0.05)
                fake.cut_all()
            self.assertEqual(await reading, "hello, world")
            self.assertEqual((calls, fake.decision), (1, "deny"))
            self.assertEqual(fake.answers[0]["message"], "not now")

    async def test_an_answer_of_another_client_cancels_the_callback(self) -> None:
        cancelled = asyncio.Event()

        async def think(_question: Question) -> Answer | None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return None

        async with asking() as fake, Bridge(fake.url, token=None, options=FAST) as bridge:
            run = await bridge.execute("p", on_question=think)
            events = run.events()
            async for event in events:
                if isinstance(event, QuestionAsked):
                    async with Bridge(fake.url, token=None, options=FAST) as other:
                        await other.answer(run.id, "q1", Answer.allow())
                if isinstance(event, QuestionClosed):
                    self.assertEqual(event.question.decision, "allow")
            async with asyncio.timeout(1):
                await cancelled.wait()

    async def test_an_answer_during_a_cut_cancels_the_callback(self) -> None:
        calls, cancelled = 0, asyncio.Event()

        async def think(_question: Question) -> Answer | None:
            nonlocal calls
            calls += 1
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return None

        async with asking() as fake, Bridge(fake.url, token=None, options=FAST) as bridge:
            run = await bridge.execute("p", on_question=think)
            ends = []
            async for event in run.events():
                if isinstance(event, QuestionAsked):
                    await asyncio.sleep(0.05)
                    # The answer of another client, which this one is not told.
                    fake.decision = "deny"
                    fake.cut_all()
                if isinstance(event, QuestionClosed):
                    ends.append(event.question)
            self.assertEqual([(end.question_id, end.closed_by) for end in ends], [("q1", None)])
            async with asyncio.timeout(1):
                await cancelled.wait()
            self.assertEqual((calls, fake.answers), (1, []))

    async def test_an_answer_that_cannot_be_stored_is_sent_again(self) -> None:
        async def allow(_question: Question) -> Answer:
            return Answer.allow()

        async with (
            asking(unstored_answers=2) as fake,
            Bridge(fake.url, token=None, options=FAST) as bridge,
        ):
            run = await bridge.execute("p", on_question=allow)
            self.assertEqual(await run.text(), "hello, world")
            self.assertEqual([answer["decision"] for answer in fake.answers], ["allow"] * 3)

    async def test_an_answer_that_does_not_fit_ends_the_run(self) -> None:
        async def allow(_question: Question) -> Answer:
            return Answer.allow(answers={"Which?": "A"})

        async with (
            asking(invalid_answers=True) as fake,
            Bridge(fake.url, token=None, options=FAST) as bridge,
        ):
            run = await bridge.execute("p", on_question=allow)
            with self.assertRaisesRegex(QuestionCallbackError, "Bash: make") as raised:
                await run
            self.assertIsInstance(raised.exception.__cause__, InvalidParamsError)
            self.assertEqual(len(fake.answers), 1)

    async def test_a_late_answer_is_no_error(self) -> None:
        async def allow_late(_question: Question) -> Answer:
            fake.decision = "deny"
            return Answer.allow()

        async with asking() as fake, Bridge(fake.url, token=None, options=FAST) as bridge:
            run = await bridge.execute("p", on_question=allow_late)
            await anext(run)
            await asyncio.sleep(0.1)
            fake.answered.set()
            self.assertTrue((await run).is_success)

    async def test_none_leaves_the_question_open(self) -> None:
        async def leave(_question: Question) -> None:
            return None

        async with asking() as fake, Bridge(fake.url, token=None, options=FAST) as bridge:
            run = await bridge.execute("p", on_question=leave)
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await run
            self.assertEqual(fake.answers, [])

    async def test_an_exception_of_the_callback_ends_the_run_and_answers_nothing(self) -> None:
        async def fail(_question: Question) -> Answer:
            raise NotFoundError(-32003, "no such person")

        async with asking() as fake, Bridge(fake.url, token=None, options=FAST) as bridge:
            run = await bridge.execute("p", on_question=fail)
            with self.assertRaises(QuestionCallbackError) as raised:
                await run
            self.assertIsInstance(raised.exception.__cause__, NotFoundError)
            await bridge.ping()
            self.assertEqual((fake.answers, fake.methods()[-2]), ([], "detach"))

    async def test_the_end_of_the_client_cancels_callbacks(self) -> None:
        ended = asyncio.Event()

        async def think(_question: Question) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with asking() as fake:
            async with Bridge(fake.url, token=None, options=FAST) as bridge:
                run = await bridge.execute("p", on_question=think)
                async for event in run.events():
                    if isinstance(event, QuestionAsked):
                        break
                await asyncio.sleep(0.02)
            async with asyncio.timeout(1):
                await ended.wait()


if __name__ == "__main__":
    unittest.main()
