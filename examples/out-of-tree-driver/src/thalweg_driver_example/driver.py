"""The driver: which cards there are, and how a user names one."""

from __future__ import annotations

from collections.abc import Mapping

from thalweg.api import InvalidArgument, UnknownName
from thalweg.hal.driver import Driver
from thalweg.hal.types import DeviceInfo

from thalweg_driver_example import vendor
from thalweg_driver_example.device import ExampleDevice
from thalweg_driver_example.executables import FORMATS
from thalweg_driver_example.plugin import NAME


class ExampleDriver(Driver):
    """Every card that the vendor's library finds; a card's path is its number."""

    name = NAME

    def query_available_devices(self) -> list[DeviceInfo]:
        """Return the cards."""
        return [DeviceInfo(c.number, str(c.number), f"Pretend card {c.number}") for c in vendor.cards()]

    def create_device(self, path: str = "", params: Mapping[str, str] | None = None) -> ExampleDevice:
        """Open a card, the first one for an empty path; see ``Driver.create_device``."""
        if params:
            raise InvalidArgument(f"{NAME} has no parameter {next(iter(params))!r}; it has none")
        return ExampleDevice(_card(path))

    def dump_device_info(self, path: str = "") -> dict[str, object]:
        """Describe a card; ``runs_on`` is what conformance reports say of it."""
        card = _card(path)
        return {
            "runs_on": "interpreter",  # "hardware" for a card that is one
            "number": card.number,
            "memory": f"{vendor.CAPACITY >> 30} GiB",
            "executable formats": ", ".join(FORMATS),
        }


def _card(path: str) -> vendor.Card:
    cards = {str(card.number): card for card in vendor.cards()}
    if (path or "0") not in cards:
        raise UnknownName(f"{NAME} has no device {path!r}; it has: {', '.join(cards)}")
    return cards[path or "0"]
