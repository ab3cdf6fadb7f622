# SPDX-License-Identifier: Apache-2.0
"""Write an assembler file that puts a file's bytes between NAME_start and NAME_end."""
import sys

source, target, name = sys.argv[1:4]
with open(target, "w", encoding="utf-8") as out:
    out.write(
        f'    .section .rodata\n    .global {name}_start, {name}_end\n    .hidden {name}_start, {name}_end\n'
        f'{name}_start:\n    .incbin "{source}"\n{name}_end:\n    .section .note.GNU-stack,"",@progbits\n'
    )
