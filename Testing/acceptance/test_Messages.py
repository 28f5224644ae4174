"""Device messages on their way into the scene."""

import slicerhost
from RealTimeImagingLib.Model.Errors import TooManyDevicesError
from unit.recordings import deviceMessage


class Source:
    """A source without a process."""

    def __init__(self):
        self.messages = {}


def test_too_many_devices_are_reported_once(caplog):
    slicerhost.boot()
    from RealTimeImagingLib.Host.Callbacks import Callbacks
    from RealTimeImagingLib.Host.Display import DeviceMessages

    def show(message):
        raise TooManyDevicesError(f"More than 500 devices sent messages; {message.device} is not shown.")

    messages = DeviceMessages(show, Callbacks())
    for number in range(700):
        messages.take(Source(), deviceMessage(number, "transform", f"D{number}"))
    messages.showWaiting()
    said = [record for record in caplog.records if "could not be shown" in record.getMessage()]
    assert len(said) == 1
    assert said[0].exc_info is None
