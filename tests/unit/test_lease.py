"""How many processes hold a lease, whatever is done to their clocks?"""

from shared.lease import Lease
from shared.stores.memory import MemoryLeases
from tests.builders import after


async def test_setting_the_clock_back_prolongs_no_lease() -> None:
    store, seconds, behind = MemoryLeases(), [0.0], [0.0]
    first = Lease(store, "removal", "a", lambda: after(seconds[0] - behind[0]), lambda: seconds[0])
    second = Lease(store, "removal", "b", lambda: after(seconds[0]), lambda: seconds[0])
    assert await first.is_held()
    behind[0] = 60.0
    both = 0
    for second_number in range(1, 90):
        seconds[0] = float(second_number)
        held = [await first.is_held(), await second.is_held()]
        both += all(held) and first.is_unexpired
    assert both <= 5, "a holder asks the store every five seconds"
    assert await second.is_held()


async def test_a_lease_that_is_not_extended_ends_although_the_clock_stands_still() -> None:
    seconds = [0.0]
    lease = Lease(MemoryLeases(), "removal", "a", lambda: after(0), lambda: seconds[0])
    assert await lease.is_held()
    unexpired = []
    for seconds[0] in (0.0, 9.9, 10.0):
        unexpired.append(lease.is_unexpired)
    assert unexpired == [True, True, False]
