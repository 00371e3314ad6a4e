"""The ELF kernel of tests/guest that looks at what it was started with.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import subprocess
import tempfile

from .bare import FLAGS, SOURCES


@functools.cache
def pvh_kernel():
    """Compile the kernel; return the file with it."""
    file = tempfile.NamedTemporaryFile()
    flags = [flag for flag in FLAGS if flag != '-mno-red-zone']
    subprocess.run(
        ['gcc', '-m32', *flags, f'-Wl,-T,{SOURCES}/pvh.lds', '-o', file.name,
         SOURCES / 'pvh-start.S', SOURCES / 'pvh.c'], check=True)
    return file
