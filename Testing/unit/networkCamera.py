"""A camera in the network: a server of moving pictures (multipart/x-mixed-replace), which can be unplugged."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

RATE = 50
BORDER = "picture"


class PictureStream:
    """Serves one picture, 50 times each second, to all who ask: red on the left, blue on the right, green at the
    top."""

    def __init__(self):
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:, :32], pixels[:, 32:], pixels[:8] = (255, 0, 0), (0, 0, 255), (0, 255, 0)
        coded = io.BytesIO()
        Image.fromarray(pixels).save(coded, "JPEG", quality=95, subsampling=0)
        self._data = coded.getvalue()
        self._port = 0
        self.plugIn()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/live.mjpg"

    def plugIn(self):
        """Be there."""
        self._gone = gone = threading.Event()
        data = self._data

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BORDER}")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not gone.wait(1 / RATE):
                        head = f"--{BORDER}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def unplug(self):
        """Be gone, in the middle of a picture or not."""
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self._gone.is_set():
            self.unplug()
