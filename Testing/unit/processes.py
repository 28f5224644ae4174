"""Python programs in processes of their own, which start in milliseconds.

On Linux a prepared process, which has imported NumPy, pydicom and the library, forks for each program: importing them
takes half a second. Elsewhere, and where a test asks for it, the program has a new interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PREPARED = (
    "numpy.ma",
    "pydicom.pixels",
    "pydicom.sr.codedict",
    "RealTimeImagingLib.Export.Worker",
    "RealTimeImagingLib.Worker.Worker",
    "unit.recordings",
)
"""Modules that most programs import."""

_prepared: socket.socket | None = None
"""Takes requests to fork."""


def start(*command, text=False, environment=None, limit=None, fresh=False):
    """Start a Python program whose standard streams are pipes; returns what subprocess.Popen does.

    :param command: a file, or "-c" and code; then arguments.
    :param text: strings instead of unbuffered bytes.
    :param environment: variables beside those of this process.
    :param limit: most bytes that a file of it may have (POSIX).
    :param fresh: give it a new interpreter.
    """
    words = [str(word) for word in command]
    if sys.platform == "linux" and not fresh:
        return ForkedProcess(words, text, environment or {}, limit)
    return subprocess.Popen(
        [sys.executable, "-u", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=-1 if text else 0,
        env={**os.environ, **(environment or {})},
        text=text,
        preexec_fn=(lambda: _limitFiles(limit)) if limit else None,
    )


class ForkedProcess:
    """A running program, with the attributes of subprocess.Popen that the tests use."""

    def __init__(self, command: list[str], text: bool, environment: dict[str, str], limit: int | None) -> None:
        (given, toGive), (out, told), (err, complained), (status, ended) = [os.pipe() for _ in range(4)]
        request = {
            "command": command,
            "environment": {**os.environ, **environment},
            "folder": os.getcwd(),
            "limit": limit,
        }
        socket.send_fds(_connection(), [json.dumps(request).encode()], [given, told, complained, ended])
        for handle in (given, told, complained, ended):
            os.close(handle)
        kind, options = ("", {"encoding": "utf-8"}) if text else ("b", {"buffering": 0})
        self.stdin = os.fdopen(toGive, "w" + kind, **options)
        self.stdout = os.fdopen(out, "r" + kind, **options)
        self.stderr = os.fdopen(err, "r" + kind, **options)
        self._status = os.fdopen(status, encoding="ascii")
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._take()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self._take()
        return self.returncode

    def _take(self) -> None:
        self.returncode = int(self._status.readline())
        self._status.close()

    def send_signal(self, number: int) -> None:
        """Send a signal while it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, text=None):
        """Give it a last text, close its input, read the rest and wait for the end."""
        if text:
            self.stdin.write(text)
        self.stdin.close()
        rest = self.stdout.read(), self.stderr.read()
        self.stdout.close()
        self.stderr.close()
        self.wait()
        return rest


def _connection() -> socket.socket:
    # The prepared process ends when this connection does, which is when this process ends.
    global _prepared
    if _prepared is None:
        _prepared, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Without the mark by which the test host finds what a module has left behind.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLICER")}
        environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / name) for name in ("RealTimeImaging", "Testing"))
        handle = theirs.fileno()
        command = [sys.executable, __file__, str(handle)]
        subprocess.run(command, stdin=subprocess.DEVNULL, pass_fds=[handle], env=environment, check=True)
        theirs.close()
    return _prepared


def _limitFiles(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# ---- the prepared process


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns it in the fork; returns None at the end."""
    while True:
        data, handles, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not data:
            return None
        if os.fork() == 0:
            requests.close()
            *streams, status = handles
            # One process waits for the program and tells its number and its end.
            program = os.fork()
            if program:
                for handle in streams:
                    os.close(handle)
                os.write(status, b"%d\n" % program)
                _, end = os.waitpid(program, 0)
                with contextlib.suppress(BrokenPipeError):  # the test is over
                    os.write(status, b"%d\n" % os.waitstatus_to_exitcode(end))
                os._exit(0)
            os.close(status)
            for number, handle in enumerate(streams):
                os.dup2(handle, number)
                os.close(handle)
            request: dict[str, Any] = json.loads(data)
            return request
        for handle in handles:
            os.close(handle)
        while _reaped():
            pass


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def run(installed: list[str], command: list[str], environment: dict[str, str], folder: str, limit: int | None) -> None:
    """Run a program as a new interpreter does.

    :param installed: the entries of sys.path that no variable of the environment has.
    """
    sys.stdout.reconfigure(write_through=True)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if limit:
        _limitFiles(limit)
    file, *rest = command
    sys.path[:] = [*_pythonPath(environment), *installed]
    if file == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = command
        sys.path.insert(0, os.path.dirname(file))
        runpy.run_path(file, run_name="__main__")


def _pythonPath(environment: dict[str, str]) -> list[str]:
    return [os.path.abspath(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


def main() -> None:
    """Import what programs need, then serve, as a process without a parent and of no terminal."""
    if os.fork():
        return
    os.setsid()
    for name in PREPARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    own = _pythonPath(dict(os.environ))
    installed = [path for path in sys.path[1:] if os.path.abspath(path) not in own]
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request:
        run(installed, **request)


if __name__ == "__main__":
    main()
