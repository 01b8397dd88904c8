"""A web server on this machine that misbehaves as it is told."""
import contextlib
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator


class Request(http.server.BaseHTTPRequestHandler):
    """One request; the answers below are called with it and the file that is asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        answers = self.server.answers.get(self.path, [status(404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            answer(self)

    def offset(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def head(self, code: int, **headers) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Request)
        self.answers: dict[str, list[Callable]] = {}
        self.asked: list[tuple[str, dict]] = []

    def url(self, path: str = "/file") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def gives(self, *answers: Callable, path: str = "/file") -> str:
        """Answer the requests for a path in this order, the last answer ever after; return its URL."""
        self.answers[path] = list(answers)
        return self.url(path)

    def ranges(self, path: str = "/file") -> list[str | None]:
        """Return the range that each request for a path asked for."""
        return [headers.get("Range") for asked, headers in self.asked if asked == path]


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def whole(content: bytes, tag: str | None = '"v1"', until: int | None = None, pause: float = 0, piece: int = 1 << 20):
    """Answer with the file from where it is asked for; break off `until` bytes further on; pause between pieces."""
    def answer(request: Request) -> None:
        start = request.offset()
        if request.headers.get("If-Range") not in (None, tag):
            start = 0
        if start and start >= len(content):
            request.head(416, Content_Length=0)
            return
        headers = {"Content_Length": len(content) - start, **({"ETag": tag} if tag else {})}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        request.head(206 if start else 200, **headers)
        sent = content[start:] if until is None else content[start:start + until]
        for place in range(0, len(sent), piece):
            request.wfile.write(sent[place:place + piece])
            request.wfile.flush()
            time.sleep(pause)
        request.close_connection = True
    return answer


def without_ranges(content: bytes, until: int | None = None):
    """Answer every request with the file from its beginning."""
    def answer(request: Request) -> None:
        request.head(200, Content_Length=len(content))
        request.wfile.write(content[:until])
        request.close_connection = True
    return answer


def announcing(content: bytes, length: int | None):
    """Send the content and say that it has another length, or none."""
    def answer(request: Request) -> None:
        request.head(200, **({"Content_Length": length} if length is not None else {"Connection": "close"}))
        request.wfile.write(content)
        request.close_connection = True
    return answer


def stalling(content: bytes, until: int, seconds: float):
    """Send some bytes and then nothing for a while."""
    def answer(request: Request) -> None:
        request.head(200, Content_Length=len(content))
        request.wfile.write(content[:until])
        request.wfile.flush()
        time.sleep(seconds)
        request.close_connection = True
    return answer


def status(code: int, **headers):
    return lambda request: request.head(code, Content_Length=0, **headers)


def redirect(url: str):
    return status(302, Location=url)
