"""bpf(2): loading programs and attaching them to control groups, as far as device access control needs it."""

from __future__ import annotations

import ctypes
import os
import struct

from estiva.linux.libc import syscall

NUMBER = {"x86_64": 321}.get(os.uname().machine, 280)  # 280 in the generic table: aarch64, riscv64

# enum bpf_cmd, linux/bpf.h
BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_GET_FD_BY_ID = 13
BPF_OBJ_GET_INFO_BY_FD = 15
BPF_PROG_QUERY = 16

BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6  # enum bpf_attach_type
BPF_F_ALLOW_MULTI = 2
BPF_F_REPLACE = 4

DEVICES_NAME = "estiva_devices"  # what bpftool(8) shows for the programs loaded here
_NAME_OFFSET = 64  # of ``name`` in struct bpf_prog_info

_QUERY_MAX = 64  # the kernel attaches no more programs of a type to one cgroup (BPF_CGROUP_MAX_PROGS)


def prog_load(prog_type: int, instructions: bytes, license_name: bytes = b"Apache-2.0") -> int:
    """A descriptor (close-on-exec) of the verified program; the caller closes it.  *instructions*: 8 bytes each."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    text = ctypes.create_string_buffer(license_name)
    pointers = (ctypes.addressof(code), ctypes.addressof(text))
    head = struct.pack("=IIQQ", prog_type, len(instructions) // 8, *pointers)
    # log_level, log_size, log_buf, kern_version, prog_flags, prog_name
    attr = head + struct.pack("=IIQII16s", 0, 0, 0, 0, 0, DEVICES_NAME.encode())
    return _bpf("BPF_PROG_LOAD", BPF_PROG_LOAD, attr)[0]


def prog_attach(cgroup_fd: int, prog_fd: int, attach_type: int, flags: int, replaced_fd: int = 0) -> None:
    """*replaced_fd*: the program whose place it takes, with ``BPF_F_REPLACE``."""
    attr = struct.pack("=IIIII", cgroup_fd, prog_fd, attach_type, flags, replaced_fd)
    _bpf("BPF_PROG_ATTACH", BPF_PROG_ATTACH, attr)


def prog_detach(cgroup_fd: int, prog_fd: int, attach_type: int) -> None:
    _bpf("BPF_PROG_DETACH", BPF_PROG_DETACH, struct.pack("=IIII", cgroup_fd, prog_fd, attach_type, 0))


def prog_query(cgroup_fd: int, attach_type: int) -> list[int]:
    """The ids of the programs attached to the cgroup itself (not to its ancestors)."""
    ids = (ctypes.c_uint32 * _QUERY_MAX)()
    attr = struct.pack("=IIIIQI4x", cgroup_fd, attach_type, 0, 0, ctypes.addressof(ids), _QUERY_MAX)
    _, result = _bpf("BPF_PROG_QUERY", BPF_PROG_QUERY, attr)
    (count,) = struct.unpack_from("=I", result, 24)
    return list(ids[:count])


def prog_get_fd_by_id(prog_id: int) -> int:
    """A descriptor (close-on-exec) of a loaded program; the caller closes it."""
    return _bpf("BPF_PROG_GET_FD_BY_ID", BPF_PROG_GET_FD_BY_ID, struct.pack("=III", prog_id, 0, 0))[0]


def prog_name(prog_fd: int) -> str:
    """The name a program was loaded with, at most 15 letters."""
    info = ctypes.create_string_buffer(_NAME_OFFSET + 16)
    attr = struct.pack("=IIQ", prog_fd, len(info), ctypes.addressof(info))
    _bpf("BPF_OBJ_GET_INFO_BY_FD", BPF_OBJ_GET_INFO_BY_FD, attr)
    return info.raw[_NAME_OFFSET:].rstrip(b"\0").decode(errors="replace")


def _bpf(name: str, command: int, attr: bytes) -> tuple[int, bytes]:
    """The call's result and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attr, len(attr))
    return syscall("bpf", NUMBER, command, buffer, len(attr), about=(name,)), buffer.raw
