"""Make src/estiva/runtime/data/syscalls.json: the system call numbers of every architecture a filter may name.

    tools/make_syscall_table.py X86_INCLUDE ARM64_INCLUDE ARM_INCLUDE > src/estiva/runtime/data/syscalls.json

The arguments are the ``include`` folders of the kernel's user-space headers, as in Debian's linux-libc-dev,
linux-libc-dev-arm64-cross and linux-libc-dev-armhf-cross (``apt-get download`` and ``dpkg -x`` are enough).  The C
preprocessor says what they define; calls newer than those headers are in ``NEWER``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

# Added after Linux 6.1.  From 424 on a call has one number on every architecture (arch/*/syscalls/*.tbl).
NEWER = {
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}
NOT_X32 = {"map_shadow_stack"}
NEWER_X86_64 = {"uretprobe": 335, "uprobe": 336}

# Names that are not calls, and calls of arm that its headers keep apart from the table.
NOT_CALLS = {"syscalls", "arch_specific_syscall", "SYSCALL_BASE", "SYSCALL_MASK", "OABI_SYSCALL_BASE"}
ARM_PRIVATE_BASE = 0x0F0000
ARM_PRIVATE = {"breakpoint": 1, "cacheflush": 2, "usr26": 3, "usr32": 4, "set_tls": 5, "get_tls": 6}


def defined(include: str, header: str, *flags: str) -> dict[str, int]:
    """The ``__NR_`` constants that *header* defines, evaluated by the preprocessor."""
    source = f"#include <{header}>\n"
    command = ["gcc", "-E", "-nostdinc", "-isystem", include, *flags]
    macros = subprocess.run([*command, "-dM", "-"], input=source, capture_output=True, text=True, check=True).stdout
    names = sorted(set(re.findall(r"#define __NR_(\w+) ", macros)) - NOT_CALLS)
    lines = source + "".join(f'"{name}" = __NR_{name};\n' for name in names)  # quoted, so that it is not expanded
    text = subprocess.run([*command, "-P", "-"], input=lines, capture_output=True, text=True, check=True).stdout
    table = {}
    for name, expression in re.findall(r'"(\w+)" = ([^;]+);', text):
        if re.fullmatch(r"[0-9a-fxX+() ]+", expression):
            table[name] = int(eval(expression))
    return table


def main(x86: str, arm64: str, arm: str) -> None:
    tables = {
        "x86_64": defined(x86, "asm/unistd_64.h") | NEWER | NEWER_X86_64,
        "x86": defined(x86, "asm/unistd_32.h") | NEWER,
        "x32": defined(x86, "asm/unistd_x32.h", "-D__X32_SYSCALL_BIT=0x40000000")
        | {name: number | 0x40000000 for name, number in NEWER.items() if name not in NOT_X32},
        "aarch64": defined(arm64, "asm/unistd.h", "-U__x86_64__", "-D__BITS_PER_LONG=64", "-D__aarch64__") | NEWER,
        "arm": defined(arm, "asm/unistd.h", "-D__ARM_EABI__")
        | NEWER
        | {name: ARM_PRIVATE_BASE + number for name, number in ARM_PRIVATE.items()},
    }
    print("{")
    for index, (arch, table) in enumerate(tables.items()):
        ordered = dict(sorted(table.items(), key=lambda item: item[1]))
        print(f'"{arch}": {json.dumps(ordered)}' + ("," if index + 1 < len(tables) else ""))
    print("}")


if __name__ == "__main__":
    main(*sys.argv[1:])
