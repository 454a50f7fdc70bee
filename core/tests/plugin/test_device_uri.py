"""Device URIs."""

import pytest
from thalweg.errors import InvalidArgument
from thalweg.plugin.device_uri import DeviceUri


@pytest.mark.parametrize(
    "text, uri",
    [
        ("local-task", DeviceUri("local-task")),
        ("local-task://", DeviceUri("local-task")),
        ("local-task://?threads=4", DeviceUri("local-task", "", {"threads": "4"})),
        ("vulkan://GPU-12%2034", DeviceUri("vulkan", "GPU-12 34")),
        ("remote://host:80/0?a=1&b=x%20y", DeviceUri("remote", "host:80/0", {"a": "1", "b": "x y"})),
    ],
)
def test_parses_and_prints_back(text, uri):
    assert DeviceUri.parse(text) == uri
    assert DeviceUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "'' is not a device"),
        ("://x", "'://x' is not a device"),
        ("local/x", "'local/x' is not a device"),
        ("local?threads=1", "'local\\?threads=1' is not a device"),
        ("local://?threads", "the parameters of device 'local://\\?threads' are malformed"),
        ("local://?a=1&a=2", "has a parameter twice"),
    ],
)
def test_malformed(text, message):
    with pytest.raises(InvalidArgument, match=message):
        DeviceUri.parse(text)
