"""Made-up HAL drivers, plugins without packaging: one with two devices, and three that cannot be used."""

from __future__ import annotations

from thalweg.api import Availability, HalDriverSpec, hookimpl

THALWEG_ENTRY_POINTS = {"thalweg.hal_drivers": ["paper", "absent", "torn", "wet"]}


def create_paper(is_wet=False):
    from thalweg.hal.driver import Driver
    from thalweg.hal.types import DeviceInfo

    class Paper(Driver):
        name = "paper"

        def query_available_devices(self):
            if is_wet:
                raise ZeroDivisionError("division by zero")
            return [DeviceInfo(0, "A4", "a sheet"), DeviceInfo(1, "B 5", "another sheet")]

        def create_device(self, path="", params=None):
            raise NotImplementedError("paper computes nothing")

        def dump_device_info(self, path=""):
            return {"format": path, "colours": ["black", "white"]}

    return Paper()


def create_torn():
    raise RuntimeError("torn in two")


def create_wet():
    return create_paper(is_wet=True)


@hookimpl
def thalweg_hal_driver(name):
    if name == "absent":
        probe = lambda: Availability(False, "no pencil; apt install pencil")
        return HalDriverSpec(name=name, summary="Absent", probe=probe, create=create_paper)
    create = {"paper": create_paper, "torn": create_torn, "wet": create_wet}[name]
    return HalDriverSpec(name=name, summary=name.title(), create=create)
