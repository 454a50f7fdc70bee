"""Drivers and devices: listing, creating, asking, closing."""

from __future__ import annotations

from thalweg.api import InvalidArgument, UnknownName
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.types import DeviceInfo

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import equal, holds, raises
from thalweg_conformance.rules import Level, rule
from thalweg_conformance.subject import RUNS_ON, Subject

AREA = "driver"


@rule()
def test_lists_devices(subject: Subject) -> None:
    """HAL-DRV-1: the driver lists its devices, each with an id and a path of its own, and a name.

    Reference: thalweg.hal.driver.Driver.query_available_devices; IREE CTS core/driver.
    """
    devices = subject.driver.query_available_devices()
    asked = "query_available_devices()"
    holds(
        bool(devices) and all(isinstance(d, DeviceInfo) for d in devices),
        devices,
        "DeviceInfo records",
        asked,
    )
    for what in ("device_id", "path"):
        values = [getattr(device, what) for device in devices]
        equal(len(set(values)), len(values), f"{asked}: different {what}s among {values}")
    holds(
        all(device.name for device in devices), [d.name for d in devices], "names that are not empty", asked
    )


@rule()
def test_creates_devices_by_path(subject: Subject) -> None:
    """HAL-DRV-2: each listed device can be created by its path; its identifier is a URI of this driver.

    Reference: thalweg.hal.driver.Driver.create_device; IREE CTS core/driver
    QueryAndCreateAvailableDevicesByPath.
    """
    for info in subject.driver.query_available_devices():
        device = subject.driver.create_device(info.path)
        try:
            identifier = device.identifier
        finally:
            device.close()
        holds(
            identifier.startswith(f"{subject.driver_name}://"),
            identifier,
            f"a URI {subject.driver_name}://…",
            f"identifier of create_device({info.path!r})",
        )


@rule()
def test_refuses_unknown_path(subject: Subject) -> None:
    """HAL-DRV-3: a path that no device has is refused with UnknownName.

    Reference: thalweg.hal.driver.Driver.create_device.
    """
    with raises(UnknownName, "create_device('no-such-device')"):
        subject.driver.create_device("no-such-device").close()


@rule()
def test_refuses_unknown_parameter(bench: Bench, subject: Subject) -> None:
    """HAL-DRV-4: a parameter that the driver does not know is refused with InvalidArgument, which names it.

    Reference: thalweg.hal.driver.Driver.create_device.
    """
    asked = "create_device with the parameter no_such_parameter=1"
    with raises(InvalidArgument, asked) as caught:
        subject.create_device({"no_such_parameter": "1"}).close()
    message = str(caught[0])
    holds("no_such_parameter" in message, message, "a message that names the parameter", asked)


@rule(Level.STANDARD)
def test_describes_its_device(bench: Bench, subject: Subject) -> None:
    """HAL-DRV-5: dump_device_info gives facts by name, among them ``runs_on``: what the device computes on.

    Reference: thalweg.hal.driver.Driver.dump_device_info; DESIGN section 6, reports say where they ran.
    """
    info = subject.driver.dump_device_info(subject.uri.path)
    holds(all(isinstance(key, str) for key in info), list(info), "keys that are text", "dump_device_info")
    came = info.get("runs_on")
    holds(came in RUNS_ON, came, f"one of {', '.join(RUNS_ON)}", "dump_device_info()['runs_on']")


@rule()
def test_answers_queries(bench: Bench) -> None:
    """HAL-DRV-6: an unknown question is answered with 0, and every answer is an integer.

    Reference: thalweg.hal.driver.Device.query.
    """
    for category, key in (("no.such.category", "key"), ("hal.device.kind", "no-such-kind")):
        equal(bench.device.query(category, key), 0, f"query({category!r}, {key!r})")
    came = bench.device.query("hal.device", "concurrency")
    holds(
        isinstance(came, int) and came >= 0,
        came,
        "an integer, 0 or more",
        "query('hal.device', 'concurrency')",
    )


@rule()
def test_declares_capabilities_as_slugs(bench: Bench) -> None:
    """HAL-DRV-7: a device declares its capabilities as a frozenset of lower-case slugs.

    Reference: thalweg.hal.driver.Device.capabilities.
    """
    came = bench.device.capabilities
    slugs = isinstance(came, frozenset) and all(isinstance(c, str) and c == c.lower() and c for c in came)
    holds(slugs, came, "a frozenset of slugs", "device.capabilities")


@rule()
def test_closes_twice(bench: Bench, subject: Subject) -> None:
    """HAL-DRV-8: closing a device twice is closing it once.

    Reference: thalweg.hal.driver.Device.close.
    """
    device = subject.create_device()
    device.close()
    device.close()


@rule(Level.STANDARD)
def test_close_ends_work_in_flight_first(bench: Bench, subject: Subject) -> None:
    """HAL-DRV-9: work that was submitted and can run has ended, and has signaled, when close returns.

    Reference: thalweg.hal.driver.Device.close.
    """
    device = subject.create_device()
    own = Bench(device, bench.seed, bench.limit)
    target, done = own.buffer(bytes(4096)), own.semaphore()
    for value in range(1, 51):
        device.queue_fill(BufferRef(target), b"\x07", signal=[(done, value)], wait=[(done, value - 1)])
    device.close()
    equal(done.query(), 50, "the semaphore of 50 fills after close()")


@rule(Level.STANDARD, capability="wait-idle")
def test_waits_until_idle(bench: Bench) -> None:
    """HAL-DRV-10: wait_idle returns when everything that was submitted has ended.

    Reference: thalweg.hal.driver.Device.wait_idle.
    """
    target, done = bench.buffer(bytes(1 << 16)), bench.semaphore()
    for value in range(1, 21):
        bench.device.queue_fill(BufferRef(target), b"\x07", wait=[(done, value - 1)], signal=[(done, value)])
    bench.device.wait_idle()
    equal(done.query(), 20, "the semaphore of 20 fills after wait_idle()")
