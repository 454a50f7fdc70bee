"""What the conformance suite does not know: this driver's own cards, and their memory."""

from __future__ import annotations

import pytest
from thalweg.api import InvalidArgument, NotSupported, UnknownName
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.host_memory import HostAllocator
from thalweg.hal.types import MemoryAccess
from thalweg_driver_example import vendor
from thalweg_driver_example.device import ExampleDevice
from thalweg_driver_example.driver import ExampleDriver


@pytest.fixture
def device():
    made = ExampleDriver().create_device("1")
    yield made
    made.close()


def test_each_card_is_a_device():
    driver = ExampleDriver()
    assert [(d.device_id, d.path, d.name) for d in driver.query_available_devices()] == [
        (0, "0", "Pretend card 0"),
        (1, "1", "Pretend card 1"),
    ]
    with pytest.raises(UnknownName, match="example has no device '7'; it has: 0, 1"):
        driver.create_device("7")


def test_the_card_s_memory_is_not_the_host_s(device: ExampleDevice):
    assert device.identifier == "example://1"
    with pytest.raises(NotSupported, match="in the card's memory; copy it to a host-visible one"):
        device.allocator.allocate(64).map(MemoryAccess.READ)


def test_a_buffer_of_another_device_is_refused(device: ExampleDevice):
    with pytest.raises(InvalidArgument, match="the card uses buffers that it made; got a HostBuffer"):
        device.queue_fill(BufferRef(HostAllocator().allocate(64)), b"\0")


def test_memory_comes_back(device: ExampleDevice):
    for _ in range(3):
        buffer = device.allocator.allocate(1 << 10)
        assert device.allocator._card._used == 1 << 10
        del buffer
    assert device.allocator._card._used == 0
    with pytest.raises(vendor.VendorError, match="out of memory"):
        vendor.Card(0).allocate(vendor.CAPACITY + 1, 64, pinned=False)
