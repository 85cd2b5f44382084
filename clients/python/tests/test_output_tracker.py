import random
import unittest
import zlib

from cc_bridge import OutputCheck, OutputError, OutputTracker


def crc(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


class OutputTrackerTest(unittest.TestCase):
    def test_an_overlap_is_cut(self) -> None:
        tracker = OutputTracker(0)
        self.assertEqual(tracker.accept(0, b"hello"), b"hello")
        self.assertEqual(tracker.accept(3, b"lo, world"), b", world")
        self.assertEqual(tracker.accept(0, b"hello"), b"")
        self.assertEqual(tracker.finish(12, crc(b"hello, world")), OutputCheck.VERIFIED)

    def test_a_hole_is_an_error(self) -> None:
        tracker = OutputTracker(0)
        tracker.accept(0, b"hello")
        with self.assertRaisesRegex(OutputError, "bytes 5 to 6"):
            tracker.accept(6, b"x")
        with self.assertRaisesRegex(OutputError, "bytes 5 to 6"):
            tracker.gap(6, 8)

    def test_a_gap_makes_the_check_partial(self) -> None:
        tracker = OutputTracker(0)
        self.assertEqual(tracker.gap(0, 4), (0, 4))
        self.assertIsNone(tracker.gap(0, 3))
        self.assertEqual(tracker.gap(2, 6), (4, 6))
        self.assertEqual(tracker.accept(6, b"x"), b"x")
        self.assertEqual(tracker.finish(7, "00000000"), OutputCheck.PARTIAL)
        self.assertEqual(tracker.missing, 6)

    def test_another_length_or_crc32_is_an_error(self) -> None:
        tracker = OutputTracker(0)
        tracker.accept(0, b"hello")
        with self.assertRaisesRegex(OutputError, "5 bytes"):
            tracker.finish(6, crc(b"hello"))
        with self.assertRaisesRegex(OutputError, "crc32"):
            tracker.finish(5, crc(b"hallo"))
        self.assertEqual(tracker.finish(5, None), OutputCheck.UNKNOWN)

    def test_a_later_start_cannot_compare_the_crc32(self) -> None:
        tracker = OutputTracker(7)
        tracker.accept(7, b"world")
        self.assertEqual(tracker.finish(12, crc(b"hello, world")), OutputCheck.PARTIAL)

    def test_a_view_may_begin_at_the_first_byte_of_a_character(self) -> None:
        tracker = OutputTracker(3)
        smile = "\N{GRINNING FACE}".encode()
        self.assertEqual(tracker.accept(1, smile), smile)
        self.assertEqual((tracker.start, tracker.reached), (1, 5))
        self.assertEqual(OutputTracker(9).accept(1, b"12345678ab"), b"ab")

    def test_a_taken_back_output_is_not_verified(self) -> None:
        tracker = OutputTracker(0)
        tracker.accept(0, b"hello")
        tracker.take_back(3)
        self.assertEqual(tracker.reached, 3)
        self.assertEqual(tracker.finish(3, crc(b"hel")), OutputCheck.UNKNOWN)

    def test_random_pieces_with_overlaps_join_to_the_output(self) -> None:
        rng = random.Random(7)
        for _ in range(200):
            content = rng.randbytes(rng.randrange(1, 400))
            tracker, joined = OutputTracker(0), b""
            while tracker.reached < len(content):
                start = rng.randrange(tracker.reached + 1)
                end = rng.randrange(start, len(content)) + 1
                joined += tracker.accept(start, content[start:end])
                self.assertEqual(joined, content[: len(joined)])
            self.assertEqual(joined, content)
            self.assertEqual(tracker.finish(len(content), crc(content)), OutputCheck.VERIFIED)


if __name__ == "__main__":
    unittest.main()
