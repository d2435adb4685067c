"""The consumer of a service: runs a Faust app with the service's subscriptions, and checks whether they progress."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import prometheus_client as prometheus

from shared.consumer import faust_app
from shared.consumer.batches import BatchRunner
from shared.consumer.dispatch import Dispatcher
from shared.consumer.progress import Progress
from shared.consumer.subscription import Subscription
from shared.dead_letters import DeadLetters
from shared.settings import Settings


class Consumer:
    """Reads the topics of one service's subscriptions as a member of the service's Kafka consumer group.

    `service` is the service's name, which names the group. The records are handed to the subscriptions' handlers. If a
    handler fails at a record although all servers answer, the record is put into `dead_letters`. Metrics are registered
    in `registry`. `monotonic` returns a time in seconds that never goes back; tests replace it. Nothing is read before
    `start` is called.
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        subscriptions: Sequence[Subscription],
        dead_letters: DeadLetters,
        registry: prometheus.CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dispatcher = Dispatcher(dead_letters)
        self._stopping = asyncio.Event()
        self._monotonic = monotonic
        self._finished: Counter[str] = Counter()
        self._records = prometheus.Counter(
            "listing_images_records", "Records read and finished", ["topic"], registry=registry
        )
        self._lag = prometheus.Gauge(
            "listing_images_lag", "Records of this worker's share yet to read", ["topic"], registry=registry
        )
        self.topics = [settings.topic(subscription.topic) for subscription in subscriptions]
        self._progress = {topic: Progress(0, monotonic()) for topic in self.topics}
        for topic in self.topics:
            self._records.labels(topic)  # from 0: an alert sees a topic of which no record was ever finished
        self.app = faust_app.create(settings, service)
        self._runners = {
            topic: BatchRunner(subscription, self._dispatcher, self._stopping, partial(self._count_finished, topic))
            for topic, subscription in zip(self.topics, subscriptions, strict=True)
        }
        for topic, runner in self._runners.items():
            faust_app.add_agent(self.app, topic, runner.run)

    async def start(self) -> None:
        """Join the Kafka consumer group of the service and begin to read, in the background."""
        await self.app.start()

    async def stop(self, within_seconds: float) -> None:
        """Start no further batch, wait up to `within_seconds` for those in flight, and leave the Kafka consumer group.

        Records of batches that do not end in time are delivered again, to whichever worker gets their partition.
        """
        self._stopping.set()
        if in_flight := [task for runner in self._runners.values() for task in runner.in_flight]:
            await asyncio.wait(in_flight, timeout=within_seconds)
        await self.app.stop()

    @property
    def has_crashed(self) -> bool:
        """True if Faust has given up reading from Kafka: the process must then end and be started again."""
        return bool(self.app.crashed)

    @property
    def stuck_topics(self) -> Sequence[str]:
        """The full names of the topics in which the consumer has work, but finished no record for STUCK_SECONDS.

        Whether there is work is as `check_progress` observed it last. Time in which a store or Kafka was unavailable
        does not count. Empty if no topic is stuck.
        """
        return [topic for topic, progress in self._progress.items() if progress.is_stuck(self._monotonic())]

    async def check_progress(self) -> None:
        """Ask Kafka how many records are yet to be read, and update `stuck_topics` and the metric of the lag.

        Do nothing while the consumer stops or has no partitions. Kafka must be asked, because a consumer whose
        connection broke unnoticed receives nothing, as if there were nothing to read. Raises BrokerUnavailable.
        """
        if self._stopping.is_set() or (lag := await faust_app.lag(self.app)) is None:
            return
        for topic, runner in self._runners.items():
            unread = lag.get(topic, 0)
            self._lag.labels(topic).set(unread)
            self._progress[topic] = self._progress[topic].observed(
                self._finished[topic],
                has_work=unread > 0 or bool(runner.in_flight),
                is_waiting=self._dispatcher.is_waiting,
                now=self._monotonic(),
            )

    def _count_finished(self, topic: str) -> None:
        self._records.labels(topic).inc()
        self._finished[topic] += 1
