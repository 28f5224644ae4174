"""A processing function that dies, fails and hangs, at images that follow from their numbers."""

import os
import time

TITLE = "Unruly"


def process(frame):
    """Return the image as it is, or do something worse."""
    number = frame.number
    if number % 17 == 5:
        os._exit(3)
    if number % 11 == 7:
        raise ValueError("an unruly function")
    if number % 37 == 20:
        time.sleep(3600)
    return frame.pixels.copy()
