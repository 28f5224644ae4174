"""One user of an installed module: ``python installed.py MODULE PORT FOLDER process | convert``, run in the host.

Says ``live`` when images of the simulated scanner are shown, and ``asked`` when the port is given or refused; each time
it goes on after a line of input. The last line is a JSON object with what was seen.
"""

import json
import os
import sys
from pathlib import Path


def main(module, port, folder, job):
    import slicerhost

    slicer = slicerhost.boot()
    import SampleData
    from slicerhost import runUntil

    def until(condition):
        if not runUntil(condition, 120):
            raise TimeoutError(f"not in time: {condition.__code__.co_firstlineno}, {logic.events()[-3:]}")

    panel = slicerhost.loadModule(module).widgetRepresentation().self().panel
    slicer.app.startupCompleted.emit()
    logic = slicer.util.getModuleLogic("RealTimeImaging")
    from RealTimeImagingLib import OpenIGTLinkSettings
    from RealTimeImagingLib import __file__ as library

    logic.startSimulatedScanner(fps=10)
    until(lambda: logic.statistics()["shown"] >= 3)
    print("live", flush=True)
    sys.stdin.readline()
    server = logic.start(OpenIGTLinkSettings(role="server", port=port, stream="Server"))
    processor = logic.processing.start("Averaging", stream="Live") if job == "process" else None
    logic.startRecording(os.path.join(folder, "recordings"))
    until(lambda: logic.statistics()["recorded"] >= 3)
    until(lambda: not processor or processor.statistics().get("processed", 0) >= 3)
    until(lambda: server.status.startswith("Waiting") or server.remedy is not None)
    print("asked", flush=True)
    sys.stdin.readline()
    busy = bool(server.remedy and "port" in server.remedy.settings)
    logic.stopRecording()
    logic.stop()
    until(lambda: not logic.isRunning() and not logic.recording.building and not logic.exports._running)
    counts = logic.statistics()
    converted = []
    if job == "convert":
        logic.conversion.start(
            SampleData.downloadSample("MRPhantomDICOM"), os.path.join(folder, "converted"), workers=1
        )
        until(lambda: not logic.conversion.status()["running"] and logic.conversion.report)
        converted = [one["status"] for one in logic.conversion.report["series"]]
    seen = {
        "library": os.path.dirname(library),
        "help": slicer.modules.realtimeimaging.helpText,
        "busy": busy,
        "errors": [event.text for event in logic.events() if event.level == "error" and event.code != "port-taken"],
        "counts": {name: counts[name] for name in ("received", "shown", "skipped", "recorded", "failed", "rejected")},
        "recorded": sorted("".join(path.suffixes) for path in Path(folder, "recordings").iterdir()),
        "converted": converted,
        "processed": processor.statistics()["processed"] if processor else 0,
        "settings": panel.ui.sourceComboBox.count,
    }
    slicerhost.unloadModule("RealTimeImaging")
    print(json.dumps(seen), flush=True)
    slicerhost.quit()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
