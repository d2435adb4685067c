"""Forms batches of a topic's records, handles several batches at the same time, and acknowledges them in order."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import faust

from shared.consumer.dispatch import Dispatcher
from shared.consumer.subscription import Subscription
from shared.events.records import Record, time_of


@dataclass(frozen=True, slots=True)
class _StartedBatch:
    task: asyncio.Task[None]
    events: "list[faust.Event]"


class BatchRunner:
    """Handles the records of one subscription in batches, and acknowledges them to Kafka in their order.

    `dispatcher` calls the subscription's handler with each batch. `on_acknowledged` is called without arguments, once
    for each acknowledged record. The caller sets the event `stopping` so that no further batch is started; batches that
    still run then are in `in_flight`.
    """

    def __init__(
        self,
        subscription: Subscription,
        dispatcher: Dispatcher,
        stopping: asyncio.Event,
        on_acknowledged: Callable[[], None],
    ) -> None:
        self._subscription = subscription
        self._dispatcher = dispatcher
        self._stopping = stopping
        self._on_acknowledged = on_acknowledged
        self._in_flight: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> Collection[asyncio.Task[None]]:
        """The tasks that handle batches of this subscription now, one task for each batch."""
        return self._in_flight

    async def run(self, stream: "faust.Stream[bytes]") -> None:
        """Read the topic's records from Faust's `stream` and handle them in batches, without end.

        When the task that runs this method is cancelled, records that are not acknowledged will be delivered again.
        """
        stream.enable_acks = False  # otherwise reading the next event acknowledges the one before it
        arrived: asyncio.Queue[faust.Event] = asyncio.Queue(self._subscription.batch_size)
        started: asyncio.Queue[_StartedBatch] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._start_batches(arrived, started))
            tasks.create_task(self._acknowledge(stream, started))
            async for event in stream.events():
                await arrived.put(event)

    async def _start_batches(
        self, arrived: "asyncio.Queue[faust.Event]", started: asyncio.Queue[_StartedBatch]
    ) -> None:
        capacity = asyncio.Semaphore(self._subscription.concurrency)
        while True:
            # Before the batch is formed, so that records that arrive while no batch can be started go into one batch.
            await capacity.acquire()
            events = await self._next_batch(arrived)
            if self._stopping.is_set():
                return
            records = [_record(event) for event in events]
            task = asyncio.create_task(self._dispatcher.dispatch(self._subscription, records))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            task.add_done_callback(lambda _: capacity.release())
            started.put_nowait(_StartedBatch(task, events))

    async def _next_batch(self, arrived: "asyncio.Queue[faust.Event]") -> "list[faust.Event]":
        """Return the events of the next batch: wait for one event, then up to `gather_seconds` for more.

        A batch has at most `batch_size` events. Both numbers are the subscription's.
        """
        events = [await arrived.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._subscription.gather_seconds):
                while len(events) < self._subscription.batch_size:
                    events.append(await arrived.get())
        return events

    async def _acknowledge(self, stream: "faust.Stream[bytes]", started: asyncio.Queue[_StartedBatch]) -> None:
        """Acknowledge finished batches in the order of their start: a batch waits until all earlier ones are finished.

        Return at the first batch that failed or was cancelled. The records of this batch and of later ones will be
        delivered again.
        """
        while True:
            batch = await started.get()
            await asyncio.wait([batch.task])
            if batch.task.cancelled() or batch.task.exception():
                return
            for event in batch.events:
                await stream.ack(event)
                self._on_acknowledged()


def _record(event: "faust.Event") -> Record:
    message = event.message
    at = time_of(message.timestamp * 1000)
    headers = tuple(message.headers or ())
    return Record(message.topic, message.partition, message.offset, at, message.key, message.value, headers)
