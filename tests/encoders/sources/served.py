"""A web server of a folder, which notes what it is asked for and may break off."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server:
    """How it behaves, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ranges, self.lengths = True, True
        self.at_most: int | None = None
        """Bytes after which every answer breaks off."""
        self.sent: dict[str, int] = {}
        """Bytes of contents by name."""
        self.address = ""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, server: Server, *rest: object) -> None:
        self.told = server
        super().__init__(*rest, directory=str(server.folder))  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        path = self.told.folder / name
        if not path.is_file():
            self.send_error(404)
            return
        content, start = path.read_bytes(), 0
        asked = self.headers.get("Range")
        if asked is not None and self.told.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        if self.told.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start:][: self.told.at_most]
        try:
            self.wfile.write(part)
        except ConnectionError:  # who only asked what there is has gone
            return
        self.told.sent[name] = self.told.sent.get(name, 0) + len(part)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve the folder meanwhile, at `address`."""
    told = Server(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, told))
    told.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
