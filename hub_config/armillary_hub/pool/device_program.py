"""The program by which Linux asks a control group whether a GPU's device file may be opened.

Version 2 of control groups has no list of devices: a small eBPF program decides about every opening (see `Device
controller <https://docs.kernel.org/admin-guide/cgroup-v2.html#device-controller>`_). Ours refuses the files of GPUs,
``/dev/nvidia0`` and so on, except those that it lists; every other device is let through, NVIDIA's control files too,
for one cannot compute by them alone. What was open before stays open.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Collection
from pathlib import Path

#: The number of NVIDIA's character devices (``NV_MAJOR_DEVICE_NUMBER`` of its open kernel modules). A GPU's file has
#: the GPU's minor number; those of control files follow after all of these.
MAJOR, MINORS = 195, 254

#: The system call bpf(2), by what ``uname -m`` prints.
_BPF = {"x86_64": 321, "aarch64": 280}

# Of linux/bpf.h.
_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE_HOOK = 15, 6
_CHARACTER_DEVICE = 2
_LOAD, _AND, _MOVE, _EXIT = 0x61, 0x57, 0xB7, 0x95
_IF_EQUAL, _IF_NOT_EQUAL, _IF_AT_LEAST = 0x15, 0x55, 0x35
_CONTEXT, _ANSWER, _VALUE = 1, 0, 2  # registers
_TYPE_AT, _MAJOR_AT, _MINOR_AT = 0, 4, 8  # in bytes, of struct bpf_cgroup_dev_ctx
_LET_THROUGH = -1  # in the place of an offset: a jump to the end


def attach(group: Path, allowed: Collection[int]) -> None:
    """Let the processes of a control group open these GPUs only, in the place of what it said before.

    Parameters
    ----------
    group
        The group's folder.
    allowed
        The minor numbers of GPUs.

    Raises
    ------
    OSError
        If Linux does not allow that: it takes ``CAP_SYS_ADMIN``, or ``CAP_BPF`` and ``CAP_NET_ADMIN``.
    """
    code = ctypes.create_string_buffer(instructions(allowed))
    licence = ctypes.create_string_buffer(b"BSD")
    length = (len(code) - 1) // 8
    program = _call(
        _PROG_LOAD,
        struct.pack("=IIQQ", _CGROUP_DEVICE_PROGRAM, length, ctypes.addressof(code), ctypes.addressof(licence)),
    )
    try:
        folder = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _call(_PROG_ATTACH, struct.pack("=IIII", folder, program, _CGROUP_DEVICE_HOOK, 0))
        finally:
            os.close(folder)
    finally:
        os.close(program)  # the group keeps it


def instructions(allowed: Collection[int]) -> bytes:
    """Return the program: 1 to let an opening through, 0 to refuse it."""
    # An operation on the register, its offset in the context, and the number that it takes.
    checks = [
        (_LOAD, _TYPE_AT, 0),
        (_AND, 0, 0xFFFF),
        (_IF_NOT_EQUAL, _LET_THROUGH, _CHARACTER_DEVICE),
        (_LOAD, _MAJOR_AT, 0),
        (_IF_NOT_EQUAL, _LET_THROUGH, MAJOR),
        (_LOAD, _MINOR_AT, 0),
        (_IF_AT_LEAST, _LET_THROUGH, MINORS),
        *((_IF_EQUAL, _LET_THROUGH, minor) for minor in sorted(allowed)),
    ]
    refuse, let_through = ([(_MOVE, value), (_EXIT, 0)] for value in (0, 1))
    end = len(checks) + len(refuse)
    packed = [
        _pack(operation, _VALUE, end - place - 1 if offset == _LET_THROUGH else offset, number)
        for place, (operation, offset, number) in enumerate(checks)
    ]
    return b"".join([*packed, *(_pack(operation, _ANSWER, 0, number) for operation, number in (*refuse, *let_through))])


def _pack(operation: int, register: int, offset: int, number: int) -> bytes:
    """Return one instruction (struct bpf_insn)."""
    source = _CONTEXT if operation == _LOAD else 0
    return struct.pack("=BBhi", operation, source << 4 | register, offset, number)


def _call(command: int, attributes: bytes) -> int:
    number = _BPF.get(platform.machine())
    if number is None:
        raise OSError(f"eBPF's system call is not known for {platform.machine()}")
    # Linux takes a shorter structure for one whose other fields are 0.
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    answer = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(attributes))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "bpf")
    return int(answer)
