import unittest

from cc_bridge import Ended, Gap, Output, OutputCheck
from cc_bridge.run_buffer import RunBuffer
from cc_bridge.status import status_from
from samples import status


def pieces(buffer: RunBuffer, count: int, size: int = 10) -> None:
    for number in range(count):
        buffer.push(Output(number * size, "x" * size), size)


class RunBufferTest(unittest.TestCase):
    def test_items_leave_in_order_and_make_room(self) -> None:
        buffer = RunBuffer(skips=False, limit=25)
        pieces(buffer, 3)
        self.assertTrue(buffer.is_full)
        self.assertEqual(buffer.pop(), Output(0, "x" * 10))
        self.assertFalse(buffer.is_full)
        self.assertEqual(len(buffer), 2)
        buffer.clear()
        self.assertIsNone(buffer.pop())

    def test_a_waiting_buffer_drops_nothing(self) -> None:
        buffer = RunBuffer(skips=False, limit=25)
        pieces(buffer, 100)
        self.assertEqual(len(buffer), 100)

    def test_a_skipping_buffer_turns_its_oldest_output_into_one_gap(self) -> None:
        buffer = RunBuffer(skips=True, limit=2000)
        pieces(buffer, 1000)
        items = []
        while (item := buffer.pop()) is not None:
            items.append(item)
        gap = items[0]
        assert isinstance(gap, Gap)
        self.assertEqual(gap.start, 0)
        reached = gap.end
        for item in items[1:]:
            assert isinstance(item, Output)
            self.assertEqual(item.offset, reached)
            reached += len(item.text)
        self.assertEqual(reached, 10_000)
        self.assertLess(len(items) * 10, 2010)

    def test_a_skip_makes_the_check_partial(self) -> None:
        buffer = RunBuffer(skips=True, limit=500)
        pieces(buffer, 100)
        buffer.push(Ended(status_from(status("completed")), OutputCheck.VERIFIED))
        last = None
        while (item := buffer.pop()) is not None:
            last = item
        assert isinstance(last, Ended)
        self.assertEqual(last.check, OutputCheck.PARTIAL)


if __name__ == "__main__":
    unittest.main()
