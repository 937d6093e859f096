import unittest

from engine_monitor.watch import Watch


class WatchTest(unittest.TestCase):
    def test_one_high_reading_is_no_news(self) -> None:
        watch = Watch(95, readings=3)

        self.assertEqual([watch.take(celsius) for celsius in (80, 80, 120)], [None, None, None])

    def test_an_engine_that_stays_hot_is_told_of_once(self) -> None:
        watch = Watch(95, readings=2)

        self.assertEqual([watch.take(celsius) for celsius in (94, 100, 101, 102)], [None, "hot", None, None])

    def test_an_engine_is_cool_again_only_well_below_the_limit(self) -> None:
        watch = Watch(95, readings=1, margin=5)

        self.assertEqual([watch.take(celsius) for celsius in (96, 93, 89)], ["hot", None, "cool"])


if __name__ == "__main__":
    unittest.main()
