"""leftovers() sees each kind of thing that can stay behind, and nothing when all is gone."""

import sys
import threading

import pytest
import slicerhost


def test_nothing_is_left_by_the_host_and_its_views(layout):
    assert slicerhost.leftovers() == []


def only():
    found = slicerhost.leftovers()
    assert len(found) == 1, found
    return found[0]


def test_an_active_timer(qt):
    def tick():
        pass

    timer = qt.QTimer()
    timer.connect("timeout()", tick)
    assert slicerhost.leftovers() == []
    timer.start(1000)
    assert only().startswith("A QTimer of 1000 ms is active, connected to")
    assert "tick" in only()
    timer.stop()
    assert slicerhost.leftovers() == []


def test_a_pending_single_shot(qt):
    done = []
    qt.QTimer.singleShot(1, lambda: done.append(1))
    assert "singleShot" in only()
    assert slicerhost.runUntil(lambda: done, everyMs=5)
    assert slicerhost.leftovers() == []


def test_a_watched_folder(qt, tmp_path):
    watcher = qt.QFileSystemWatcher()
    watcher.addPath(str(tmp_path))
    assert str(tmp_path) in only()
    watcher.removePath(str(tmp_path))
    assert slicerhost.leftovers() == []


def test_a_listening_server(qt):
    server = qt.QTcpServer()
    assert server.listen(qt.QHostAddress(qt.QHostAddress.LocalHost), 0)
    assert str(server.serverPort()) in only()
    server.close()
    assert slicerhost.leftovers() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="child processes are looked up in /proc")
def test_a_running_process_and_its_pid(qt):
    process = qt.QProcess()
    process.start(sys.executable, ["-S", "-c", "input()"])
    assert process.waitForStarted(5000)
    found = slicerhost.leftovers()
    assert len(found) == 2
    assert found[0].startswith(f"QProcess {process.processId()} ")
    assert found[1].startswith(f"Process {process.processId()} is running:")
    process.closeWriteChannel()
    process.waitForFinished(5000)
    assert slicerhost.leftovers() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="child processes are looked up in /proc")
def test_an_orphan(slicer):
    import os
    import signal
    import subprocess

    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(30)'],"
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(p.pid)"
    )
    pid = int(subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=True, timeout=20).stdout)
    try:
        assert only().startswith(f"Process {pid} is running:")
    finally:
        os.kill(pid, signal.SIGKILL)
    assert slicerhost.runUntil(lambda: not slicerhost.leftovers(), everyMs=10)


def test_a_thread(slicer):
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="reader")
    thread.start()
    try:
        assert only() == "Python thread 'reader' is running."
    finally:
        stop.set()
        thread.join()
    assert slicerhost.leftovers() == []


def test_observers_of_the_scene_and_its_nodes(slicer, emptyScene):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Live")
    sceneTag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, lambda *_: None)
    assert only() == "A Python function observes EndCloseEvent of slicer.mrmlScene."
    slicer.mrmlScene.RemoveObserver(sceneTag)
    nodeTag = node.AddObserver("ModifiedEvent", lambda *_: None)
    assert only() == "A Python function observes an event of vtkMRMLScalarVolumeNode 'Live'."
    node.RemoveObserver(nodeTag)
    assert slicerhost.leftovers() == []


def test_connections_to_what_outlives_the_module(slicer):
    def stop():
        pass

    slicer.app.connect("aboutToQuit()", stop)
    assert "aboutToQuit()" in only()
    assert "stop" in only()
    slicer.app.disconnect("aboutToQuit()", stop)
    slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", stop)
    assert "moduleAboutToBeUnloaded" in only()
    slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", stop)
    assert slicerhost.leftovers() == []


def test_a_loaded_module_with_its_panel_leaves_nothing(slicer, writeModule):
    slicerhost.loadModule(writeModule("Calm")).widgetRepresentation()
    assert slicerhost.leftovers() == []
