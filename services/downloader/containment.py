"""Takes rights away from this process on Linux, so that bytes that take over a decoder cannot do much with it.

The kernel offers each of the measures or not. `contain` returns those that hold; the child works without the others.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 4, 38, 22
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_ABI_FLAG, _PATH_BENEATH = 1, 1
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute (map libraries), read files, read directories
_WRITE = 1 << 1 | 1 << 5 | 1 << 8  # write to files, remove them, make them
_ALL = (1 << 13) - 1
_TRUNCATE = 1 << 14  # since version 3; before, it is always allowed

# Sockets, other programs and processes, links, and parts of the kernel that attackers like. uapi/asm/unistd_64.h, and
# uapi/asm-generic/unistd.h for aarch64.
_DENIED = {
    "x86_64": (
        *(41, 42, 44, 46, 49, 50, 53),  # socket, connect, sendto, sendmsg, bind, listen, socketpair
        *(57, 58, 59, 322, 62, 200, 424),  # fork, vfork, execve, execveat, kill, tkill, pidfd_send_signal
        *(101, 310, 311, 434, 438),  # ptrace, process_vm_readv, process_vm_writev, pidfd_open, pidfd_getfd
        *(86, 88, 265, 266, 165, 272, 308),  # link, symlink, linkat, symlinkat, mount, unshare, setns
        *(
            248,
            249,
            250,
            298,
            321,
            323,
            425,
        ),  # add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd, io_uring
    ),
    "aarch64": (
        *(198, 203, 206, 211, 200, 201, 199),
        *(221, 281, 129, 130, 424),
        *(117, 270, 271, 434, 438),
        *(37, 36, 40, 97, 268),
        *(217, 218, 219, 241, 280, 282, 425),
    ),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data, of a little-endian machine
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def hide_memory() -> None:
    """Forbid other processes of this user to read this process's memory and environment. Does nothing outside Linux."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def contain(writable: Iterable[Path]) -> list[str]:
    """Take away this process's rights to files, sockets and other processes; return the names of the measures in force.

    The process can then write only files in the folders `writable`. It can read these files, and the files of Python,
    of libraries, of this project and of the process itself. The rights cannot be got back. The result is empty if the
    kernel offers no measure, and outside Linux.
    """
    if sys.platform != "linux":
        return []
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return []
    measures = {"landlock": _restrict_files(libc, writable), "seccomp": _deny_calls(libc)}
    return ["no-new-privs", *(name for name, holds in measures.items() if holds)]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _restrict_files(libc: ctypes.CDLL, writable: Iterable[Path]) -> bool:
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_ABI_FLAG)
    if version < 1:
        return False
    truncate = _TRUNCATE if version >= 3 else 0
    handled = struct.pack("=Q", _ALL | truncate)
    ruleset = libc.syscall(_LANDLOCK_CREATE, handled, len(handled), 0)
    if ruleset < 0:
        return False
    project = Path(__file__).parents[2]
    readable = (
        sys.prefix,
        sys.base_prefix,
        "/usr",
        "/lib",
        "/lib64",
        "/proc/self",
        *(project / "services", project / "shared"),
    )
    for folder, rights in (
        *((path, _READ) for path in readable),
        *((path, _READ | _WRITE | truncate) for path in writable),
    ):
        _allow(libc, ruleset, Path(folder), rights)
    status: int = libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return status == 0


def _allow(libc: ctypes.CDLL, ruleset: int, folder: Path, rights: int) -> None:
    """Add a rule to the Landlock ruleset: allow `rights` (Landlock's flags) beneath the folder. Skip it if missing."""
    if not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    os.close(descriptor)


def _deny_calls(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    code = b"".join(
        [
            *(_instruction(_LOAD, _ARCHITECTURE_AT), _instruction(_JUMP_IF_EQUAL, _ARCHITECTURES[machine], if_true=1)),
            *(_instruction(_RETURN, _REFUSE), _instruction(_LOAD, _NUMBER_AT)),
            *(_instruction(_JUMP_IF_AT_LEAST, _X32, if_false=1), _instruction(_RETURN, _REFUSE)),
            # A thread may be made, but no process. clone3 has its flags in memory: the C library then tries clone.
            *(_instruction(_JUMP_IF_EQUAL, _CLONE3, if_false=1), _instruction(_RETURN, _UNKNOWN)),
            *(_refusal(number) for number in _DENIED[machine]),
            *(_instruction(_JUMP_IF_EQUAL, _CLONE[machine], if_false=3), _instruction(_LOAD, _FIRST_ARGUMENT_AT)),
            *(_instruction(_JUMP_IF_SET, _CLONE_THREAD, if_true=1), _instruction(_RETURN, _REFUSE)),
            _instruction(_RETURN, _ALLOW),
        ]
    )
    program = _Program(len(code) // 8, code)
    status: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    return status == 0


def _refusal(number: int) -> bytes:
    return _instruction(_JUMP_IF_EQUAL, number, if_false=1) + _instruction(_RETURN, _REFUSE)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction of a classic BPF program.

    `code` is the operation, and `value` its operand. `if_true` and `if_false` are how many instructions a jump skips if
    its condition is true or false.
    """
    return struct.pack("=HBBI", code, if_true, if_false, value)
