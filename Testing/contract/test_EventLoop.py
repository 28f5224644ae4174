"""The event loop keeps Python's lock, as Slicer's does."""

import threading
import time

import pytest
import slicerhost


@pytest.fixture
def wakeups():
    """Counts how often a Python thread that sleeps a millisecond got its turn."""
    count, stop = [0], threading.Event()

    def work():
        while not stop.is_set():
            count[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    yield lambda: count[0]
    stop.set()
    thread.join()


def test_threads_stand_still_while_the_loop_idles(slicer, wakeups):
    before = wakeups()
    slicerhost.runUntil(lambda: False, timeout=0.4, everyMs=200)
    assert wakeups() - before < 20


def test_threads_advance_while_a_timer_runs_python(qt, wakeups):
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: time.sleep(0.001))
    before = wakeups()
    timer.start(2)
    advanced = slicerhost.runUntil(lambda: wakeups() - before > 20, timeout=10, everyMs=200)
    timer.stop()
    assert advanced


def test_threads_stand_still_while_a_process_is_waited_for(qt, wakeups):
    import sys

    process = qt.QProcess()
    process.start(sys.executable, ["-S", "-c", "import time; time.sleep(0.3)"])
    before = wakeups()
    assert process.waitForFinished(5000)
    assert wakeups() - before < 20


def test_run_until_returns_as_soon_as_it_holds(slicer, qt):
    done = []
    qt.QTimer.singleShot(5, lambda: done.append(1))
    started = time.monotonic()
    assert slicerhost.runUntil(lambda: done, timeout=5, everyMs=10)
    assert time.monotonic() - started < 2


def test_run_until_does_not_end_the_application(slicer):
    left = []
    slicer.app.connect("aboutToQuit()", lambda: left.append(1))
    slicerhost.runUntil(lambda: False, timeout=0.02, everyMs=10)
    assert left == []
    slicer.app.disconnect("aboutToQuit()")


def test_deleted_later_is_there_until_the_script_has_ended(qt):
    button, gone = qt.QPushButton(), []
    button.connect("destroyed()", lambda: gone.append(1))
    button.deleteLater()
    slicerhost.processEvents()
    slicerhost.runUntil(lambda: gone, timeout=0.02, everyMs=5)
    assert gone == []
    slicerhost.endScript()
    assert gone == [1]


def test_what_a_slot_deletes_later_is_gone_when_it_has_returned(qt):
    button, gone, seen = qt.QPushButton(), [], []
    button.connect("destroyed()", lambda: gone.append(1))

    def slot():
        button.deleteLater()
        slicerhost.processEvents()
        seen.append(list(gone))

    qt.QTimer.singleShot(0, slot)
    assert slicerhost.runUntil(lambda: gone, everyMs=5)
    assert seen == [[]]
