"""Device URIs: ``driver://path?key=value&…``, or the driver's name alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from thalweg.errors import InvalidArgument


@dataclass(frozen=True)
class DeviceUri:
    """Which device: its driver's name, its path there (empty: the driver's choice), and parameters."""

    driver: str
    path: str = ""
    params: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> DeviceUri:
        """Parse ``local-task``, ``local-task://?threads=4``, ``vulkan://GPU-1234``.

        :raises InvalidArgument: no driver, or a parameter without a value or given twice.
        """
        driver, _, rest = text.strip().partition("://")
        path, _, query = rest.partition("?")
        if not driver or "?" in driver or "/" in driver:
            raise InvalidArgument(f"{text!r} is not a device; write DRIVER or DRIVER://PATH?KEY=VALUE")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError:
            raise InvalidArgument(
                f"the parameters of device {text!r} are malformed; write them as ?KEY=VALUE&KEY=VALUE"
            ) from None
        params = dict(pairs)
        if len(params) != len(pairs):
            raise InvalidArgument(f"device {text!r} has a parameter twice")
        return cls(driver, unquote(path), params)

    def __str__(self) -> str:
        query = f"?{urlencode(self.params)}" if self.params else ""
        return f"{self.driver}://{quote(self.path, safe='/:,')}{query}"
