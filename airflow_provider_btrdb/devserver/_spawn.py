"""Becomes the program it is told to start, in a process that does not outlive its parent.

Run as a script, never imported:

    python -I -S _spawn.py run  PARENT_PID UID PROGRAM [ARGUMENT...]
    python -I -S _spawn.py watch PID       (reads stdin; SIGINT to PID when the other end is gone)

`run` drops to UID (unless it is -), asks Linux for SIGINT when the parent dies, and replaces itself. A fork hook of the
parent could do the same, but running Python between fork and exec in a process full of gRPC threads is not safe.
"""

import contextlib
import os
import signal
import sys


def run(parent: int, uid: str, program: list[str]) -> None:
    """Never returns."""
    libc = None
    if sys.platform == "linux":
        import ctypes  # before the drop: the interpreter may lie where UID cannot read

        libc = ctypes.CDLL(None)
    if uid != "-":
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    if libc is not None:
        pr_set_pdeathsig = 1
        libc.prctl(pr_set_pdeathsig, signal.SIGINT, 0, 0, 0)  # after the drop, which clears it
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.umask(0o077)
    os.execv(program[0], program)  # noqa: S606 - the program is our own choice


def watch(pid: int) -> None:
    """For systems without a death signal: our stdin ends when the parent does, however it dies."""
    while sys.stdin.buffer.read(1):
        pass
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        watch(int(sys.argv[2]))
