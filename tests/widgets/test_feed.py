"""The feed behind the widgets: asks once for all, keeps what it knew, and ends."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

from nvlwidgets.feed import Feed, Topic
from tests.waiting import until


class Looker:
    def __init__(self, *topics: Topic) -> None:
        self._topics = topics
        self.times = 0

    def topics(self) -> tuple[Topic, ...]:
        return self._topics

    def told(self) -> None:
        self.times += 1


def counting(name: str = "a", every: float = 60.0) -> tuple[Topic, list[int]]:
    asked: list[int] = []

    def fetch() -> int:
        asked.append(1)
        return len(asked)

    return Topic(name, fetch, every), asked


def ended(feed: Feed) -> bool:
    return not feed.running and not [thread for thread in threading.enumerate() if thread.name == "test-feed"]


def test_what_many_look_at_is_asked_for_once() -> None:
    feed, (topic, asked) = Feed("test-feed"), counting()
    lookers = [Looker(topic) for _ in range(5)]
    for looker in lookers:
        feed.follow(looker)
    until(lambda: all(looker.times for looker in lookers))
    assert (len(asked), feed.reading(topic).value) == (1, 1)
    for looker in lookers:
        feed.leave(looker)
    until(lambda: ended(feed))


def test_a_follower_that_is_gone_is_not_kept_alive_and_the_thread_ends_with_the_last() -> None:
    feed, (topic, _) = Feed("test-feed"), counting(every=0.02)
    lookers = [Looker(topic)]
    gone = weakref.ref(lookers[0])
    feed.follow(lookers[0])
    until(lambda: lookers[0].times)
    lookers.clear()
    until(lambda: gc.collect() is not None and gone() is None)
    until(lambda: ended(feed))


def test_a_failure_keeps_the_last_good_value_with_its_age_and_the_reason() -> None:
    answers: list[Any] = ["good"]

    def fetch() -> str:
        if not answers:
            raise RuntimeError("it does not answer")
        return str(answers.pop())

    feed, topic = Feed("test-feed"), Topic("a", fetch, 0.02)
    looker = Looker(topic)
    feed.follow(looker)
    until(lambda: feed.reading(topic).error)
    reading = feed.reading(topic)
    assert (reading.value, reading.error) == ("good", "it does not answer")
    age = reading.age
    until(lambda: feed.reading(topic).age > age)
    answers.append("better")
    until(lambda: feed.reading(topic).value == "better" and not feed.reading(topic).error)
    feed.leave(looker)
    until(lambda: ended(feed))


def test_after_something_was_done_everything_is_asked_for_at_once() -> None:
    feed, (topic, asked) = Feed("test-feed"), counting(every=3600)
    looker = Looker(topic)
    feed.follow(looker)
    until(lambda: asked)
    done = threading.Event()
    feed.do(done.set)
    until(lambda: len(asked) == 2)
    assert done.is_set()
    feed.leave(looker)
    until(lambda: ended(feed))


def test_one_that_cannot_be_shown_does_not_hold_up_the_others() -> None:
    class Broken(Looker):
        def told(self) -> None:
            raise ZeroDivisionError

    feed, (topic, _) = Feed("test-feed"), counting(every=0.02)
    broken, looker = Broken(topic), Looker(topic)
    feed.follow(broken)
    feed.follow(looker)
    until(lambda: looker.times > 3)
    feed.leave(broken)
    feed.leave(looker)
    until(lambda: ended(feed))


def test_what_is_done_last_is_done_although_nobody_follows() -> None:
    feed, done = Feed("test-feed"), threading.Event()
    feed.do(done.set)
    assert done.wait(60)
    until(lambda: ended(feed))
