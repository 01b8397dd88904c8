"""Notes every file that a Python process reads, for the stage that started it; npuops.stage.reads says what becomes of the notes.

Python imports a module of this name before anything else, if it is found on PYTHONPATH. Here it installs an audit hook: CPython calls
it for every file that it opens and every folder that it lists, modules included. What a library opens by itself, in C or Rust, is
seen because the caller says so: npukit.files.looked_at. Needs nothing but Python, 3.8 or newer; CANN's own Python runs it too.
"""
import os
import sys


def install(notes):
    """Append each path that this process reads to the file `notes`: a line each, when it is first met."""
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    writing = os.O_WRONLY | os.O_RDWR
    seen = set()

    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if flags & writing:
                return
        elif event in ("os.listdir", "os.scandir"):
            path = arguments[0] or "."
        elif event == "npukit.looked_at":
            path = arguments[0]
        else:
            return
        if isinstance(path, (str, bytes, os.PathLike)):
            line = os.path.abspath(os.fsdecode(path)) + "\n"
            if line not in seen:
                seen.add(line)
                os.write(file, line.encode(errors="surrogateescape"))

    sys.addaudithook(hook)


if "NPUKIT_NOTES" in os.environ and hasattr(sys, "addaudithook"):
    install(os.environ["NPUKIT_NOTES"])
