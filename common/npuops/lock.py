"""A lock of this machine: wait for it, then become the command that is to have it. Needs nothing but Python.

    python3 lock.py [--shared] [--now SENTENCE] PATH COMMAND...

PATH is a folder, or a file that is made. The command has the lock until it, and all that it has started, have ended:
what runs is the command itself, so that a signal for it does not end at a process between. Several may have a
--shared lock at once. With --now a lock that another has ends in the sentence and exit code 2, instead of waiting.
"""
import fcntl
import os
import sys


def main() -> None:
    words, how = sys.argv[1:], fcntl.LOCK_EX
    if words[0] == "--shared":
        words, how = words[1:], fcntl.LOCK_SH
    sentence = None
    if words[0] == "--now":
        (_, sentence, *words), how = words, how | fcntl.LOCK_NB
    path, *command = words
    file = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT, 0o666)
    os.set_inheritable(file, True)
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        sys.stderr.write(f"{sentence}\n")
        sys.exit(2)
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        sys.stderr.write(f"{command[0]}: command not found\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
