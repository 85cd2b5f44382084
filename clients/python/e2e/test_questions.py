"""Questions of the stand-in CLI, answered through the real services.

environment: CCB_TEST_URL, the address of the bridge; CCB_TEST_API, that of claude-api; CCB_TOKEN,
of the principal "team-a". The operator allows Bash.
"""

import asyncio
import os
import unittest

from cc_bridge import (
    Answer,
    AnswerResult,
    Bridge,
    ClosedQuestion,
    InvalidParamsError,
    NotAllowedError,
    NotFoundError,
    Question,
    QuestionAsked,
    QuestionCallbackError,
    QuestionClosed,
    Run,
    StatusChanged,
    WrongStateError,
)

URL, API = os.environ["CCB_TEST_URL"], os.environ["CCB_TEST_API"]
ASK = '@say before\n@ask Bash {"command":"rm x"}\n@say after'
ALLOWED = 'before\n\nallowed {"command":"rm x"}\nafter'
CHOICE = (
    '@ask AskUserQuestion {"questions":[{"question":"Which?","options":[{"label":"A"},'
    '{"label":"B"}]}]}'
)


async def never(_question: Question) -> Answer | None:
    """Wait for ever, so that only a cancellation ends the call."""
    await asyncio.Event().wait()
    return None


class QuestionsTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.bridge = await self.enterAsyncContext(Bridge(URL))

    async def asked(self, run: Run) -> Question:
        """Read a run up to its next question."""
        async for event in run.events():
            if isinstance(event, QuestionAsked):
                return event.question
        raise AssertionError("the run has ended without a question")

    async def closed(self, run: Run) -> ClosedQuestion:
        """Read a run up to the next end of a question."""
        async for event in run.events():
            if isinstance(event, QuestionClosed):
                return event.question
        raise AssertionError("the run has ended without the end of a question")

    async def test_the_callback_allows_a_tool(self) -> None:
        asked = []

        async def allow(question: Question) -> Answer:
            asked.append(question)
            return Answer.allow()

        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=allow)
        self.assertEqual(await run.text(), ALLOWED)
        [question] = asked
        self.assertEqual(
            (question.kind, question.tool, question.title), ("permission", "Bash", "rm x")
        )
        self.assertEqual((question.input, question.input_bytes), ({"command": "rm x"}, 18))
        self.assertEqual((question.suggestions, question.agent_id), (("Bash(rm x)",), None))
        self.assertIsNotNone(question.expires_at)
        status = await run
        self.assertEqual(
            (status.state, status.questions, status.questions_open), ("completed", (), 0)
        )

    async def test_the_callback_denies_a_tool(self) -> None:
        async def deny(_question: Question) -> Answer:
            return Answer.deny("keep x")

        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=deny)
        self.assertEqual(await run.text(), "before\n\ndenied keep x\nafter")

    async def test_a_denial_may_end_the_turn(self) -> None:
        async def stop(_question: Question) -> Answer:
            return Answer.deny(interrupt=True)

        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=stop)
        self.assertEqual(await run.text(), "before")
        self.assertEqual((await run).state, "failed")

    async def test_the_callback_changes_the_input_and_remembers_a_rule(self) -> None:
        async def change(question: Question) -> Answer:
            return Answer.allow(updated_input={"command": "ls"}, remember=question.suggestions)

        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=change)
        self.assertEqual(await run.text(), 'before\n\nallowed {"command":"ls"}\nafter')

    async def test_the_callback_answers_a_choice(self) -> None:
        async def choose(question: Question) -> Answer:
            self.assertEqual((question.kind, question.title), ("choice", "Which?"))
            assert question.input is not None
            labels = [option["label"] for option in question.input["questions"][0]["options"]]
            return Answer.allow(answers={"Which?": labels[1]})

        run = await self.bridge.execute(CHOICE, permission_prompts="ask", on_question=choose)
        self.assertIn('"answers":{"Which?":"B"}', await run.text())

    async def test_each_question_of_a_run_is_answered_although_nobody_reads_it(self) -> None:
        titles = []

        async def allow(question: Question) -> Answer:
            titles.append(question.title)
            return Answer.allow()

        asks = [f'@ask Bash {{"command":"{number}"}}' for number in range(5)]
        run = await self.bridge.execute(
            "\n".join(asks), permission_prompts="ask", on_question=allow
        )
        async with asyncio.timeout(60):
            while not (await self.bridge.status(run.id)).is_terminal:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        self.assertEqual(titles, ["0", "1", "2", "3", "4"])
        self.assertEqual((await run.text()).count("allowed"), 5)

    async def test_a_status_lists_the_open_question(self) -> None:
        run = await self.bridge.execute(ASK, permission_prompts="ask")
        question = await self.asked(run)
        status = await self.bridge.status(run.id)
        self.assertEqual((status.activity, status.questions_open), ("waiting: Bash", 1))
        [listed] = status.questions
        self.assertEqual((listed.question_id, listed.title), (question.question_id, "rm x"))
        self.assertEqual(listed.expires_at, question.expires_at)
        answered = await self.bridge.answer(run.id, question.question_id, Answer.allow())
        self.assertEqual(answered, AnswerResult(question.question_id, "allow", "team-a"))
        closed = await self.closed(run)
        self.assertEqual((closed.question_id, closed.closed_by), (question.question_id, "answer"))
        self.assertEqual((closed.decision, closed.principal), ("allow", "team-a"))
        self.assertTrue((await run).is_success)
        # The same answer again has the same result, also after the end.
        again = await self.bridge.answer(run.id, question.question_id, Answer.allow())
        self.assertEqual(again, answered)

    async def test_of_two_clients_that_answer_at_once_one_wins(self) -> None:
        async with Bridge(URL) as other:
            for _ in range(5):
                run = await self.bridge.execute(ASK, permission_prompts="ask")
                question = await self.asked(run)
                view = await other.attach(run.id)
                self.assertEqual(await self.asked(view), question)
                outcomes = await asyncio.gather(
                    self.bridge.answer(run.id, question.question_id, Answer.allow()),
                    other.answer(run.id, question.question_id, Answer.deny()),
                    return_exceptions=True,
                )
                [winner] = [one for one in outcomes if isinstance(one, AnswerResult)]
                [loser] = [one for one in outcomes if isinstance(one, WrongStateError)]
                details = {"closedBy": "answer", "decision": winner.decision, "principal": "team-a"}
                self.assertEqual(loser.data, {**loser.data, **details})
                for viewer in (run, view):
                    self.assertEqual((await self.closed(viewer)).decision, winner.decision)
                    self.assertTrue((await viewer).is_success)
                word = "allowed" if winner.decision == "allow" else "denied"
                self.assertIn(word, await (await other.attach(run.id)).text())

    async def test_two_callbacks_answer_at_once_and_no_run_fails(self) -> None:
        async def allow(_question: Question) -> Answer:
            return Answer.allow()

        async def deny(_question: Question) -> Answer:
            return Answer.deny()

        async with Bridge(URL, on_question=deny) as other:
            for _ in range(5):
                run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=allow)
                view = await other.attach(run.id)
                first, second = await asyncio.gather(run.text(), view.text())
                self.assertEqual(first, second)
                self.assertTrue(first.endswith("after"), first)

    async def test_an_answer_of_another_client_cancels_the_callback(self) -> None:
        cancelled = asyncio.Event()

        async def think(question: Question) -> Answer | None:
            try:
                return await never(question)
            finally:
                cancelled.set()

        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=think)
        question = await self.asked(run)
        async with Bridge(URL) as other:
            await other.answer(run.id, question.question_id, Answer.deny("no"))
        self.assertTrue((await run.text()).endswith("denied no\nafter"))
        self.assertTrue(cancelled.is_set())

    async def test_a_callback_that_raises_leaves_the_question_open(self) -> None:
        async def fail(question: Question) -> Answer:
            raise KeyError(question.tool)

        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=fail)
        with self.assertRaises(QuestionCallbackError) as raised:
            await run
        self.assertIsInstance(raised.exception.__cause__, KeyError)
        # The execution waits, and another run answers.
        status = await self.bridge.status(run.id)
        self.assertEqual((status.state, status.questions_open), ("running", 1))

        async def allow(_question: Question) -> Answer:
            return Answer.allow()

        again = await self.bridge.attach(run.id, on_question=allow)
        self.assertEqual(await again.text(), ALLOWED)

    async def test_an_answer_that_does_not_fit_ends_the_run_and_not_the_question(self) -> None:
        async def without_answers(_question: Question) -> Answer:
            return Answer.allow()

        run = await self.bridge.execute(
            CHOICE, permission_prompts="ask", on_question=without_answers
        )
        with self.assertRaises(QuestionCallbackError) as raised:
            await run
        self.assertIsInstance(raised.exception.__cause__, InvalidParamsError)
        self.assertEqual((await self.bridge.status(run.id)).questions_open, 1)
        await self.bridge.cancel(run.id)

    async def test_a_question_without_an_answer_is_denied_in_time(self) -> None:
        run = await self.bridge.execute(
            ASK, permission_prompts="ask", question_timeout_seconds=0.5, on_question=never
        )
        closed = await self.closed(run)
        self.assertEqual((closed.closed_by, closed.decision), ("timeout", "deny"))
        # The text may have arrived before the close of the question, so it is read again.
        text = await (await self.bridge.attach(run.id)).text()
        self.assertTrue(text.endswith("after"), text)

    async def test_a_pause_stops_the_time_of_a_question_and_a_cancel_ends_it(self) -> None:
        run = await self.bridge.execute(ASK, permission_prompts="ask", on_question=never)
        question = await self.asked(run)
        await run.pause()
        async for event in run.events():
            if isinstance(event, StatusChanged) and event.status.state == "paused":
                self.assertEqual(event.status.questions_open, 1)
                break
        await run.cancel()
        self.assertEqual((await self.closed(run)).closed_by, "end")
        self.assertEqual((await run).state, "cancelled")
        with self.assertRaises(WrongStateError) as raised:
            await self.bridge.answer(run.id, question.question_id, Answer.allow())
        self.assertEqual(raised.exception.data["closedBy"], "end")

    async def test_a_large_input_is_read_from_claude_api(self) -> None:
        command = "echo " + "x" * 200_000
        wholes = []

        async def read(question: Question) -> Answer:
            self.assertIsNone(question.input)
            whole = await self.bridge.question(API, question.execution_id, question.question_id)
            wholes.append(whole)
            return Answer.deny()

        prompt = f'@ask Bash {{"command":"{command}"}}'
        run = await self.bridge.execute(prompt, permission_prompts="ask", on_question=read)
        await run
        [whole] = wholes
        self.assertEqual(whole.input, {"command": command})
        with self.assertRaises(NotFoundError):
            await self.bridge.question(API, run.id, run.id)

    async def test_a_share_for_viewers_sees_a_question_and_cannot_answer(self) -> None:
        run = await self.bridge.execute(ASK, permission_prompts="ask")
        question = await self.asked(run)
        share = await self.bridge.share(run.id)
        async with Bridge(URL, token=share.token) as guest:
            view = await guest.attach(run.id)
            self.assertEqual((await self.asked(view)).question_id, question.question_id)
            with self.assertRaises(NotAllowedError):
                await guest.answer(run.id, question.question_id, Answer.allow())
        with self.assertRaises(NotFoundError):
            await self.bridge.answer(run.id, run.id, Answer.allow())
        await self.bridge.answer(run.id, question.question_id, Answer.allow())
        self.assertTrue((await run.text()).endswith("after"))


if __name__ == "__main__":
    unittest.main()
