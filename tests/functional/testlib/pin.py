"""Hold a page of another process's memory, as something in the kernel would.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import ctypes
import mmap
import os
import re
import signal
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438
MADV_HWPOISON = 100
PAGE = mmap.PAGESIZE


class IoVector(ctypes.Structure):
    """struct iovec of the C library."""

    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]


def called(result):
    """Raise what a function of the C library failed with."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def find_file(pid, address):
    """Return the inode behind a mapping, and the address's offset in it."""
    for line in Path(f'/proc/{pid}/maps').read_text('utf-8').splitlines():
        span, _, offset, _, inode, *_ = line.split()
        start, end = (int(each, 16) for each in span.split('-'))
        if start <= address < end:
            return int(inode), int(offset, 16) + address - start
    raise LookupError(f'process {pid} has nothing at {address:#x}')


def find_descriptor(pid, inode):
    """Return the number of a file descriptor of a process."""
    for path in Path(f'/proc/{pid}/fd').iterdir():
        if path.stat().st_ino == inode and \
                re.search('kvm-gmem|guest-memfd', os.readlink(path)):
            return int(path.name)
    raise LookupError(f'process {pid} has no file with inode {inode}')


def take_descriptor(pid, number):
    """Return a file descriptor for the file that a process has open."""
    process = os.pidfd_open(pid)
    file = called(LIBC.syscall(PIDFD_GETFD, process, number, 0))
    os.close(process)
    return file


def map_memory(pid, address, size):
    """Map memory of a guest that a process has at an address."""
    inode, offset = find_file(pid, address)
    file = take_descriptor(pid, find_descriptor(pid, inode))
    memory = mmap.mmap(file, size, offset=offset)
    os.close(file)
    return memory


def map_page(pid, address):
    """Map a page of a guest_memfd that a process has at an address."""
    return map_memory(pid, address, PAGE)


def spoil(map_memory):
    """Let the kernel believe that a page is bad which a function maps."""
    child = os.fork()
    if not child:
        # The kernel ends who has it mapped, but for QEMU, which asked not to.
        memory = map_memory()
        memory.madvise(MADV_HWPOISON)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WTERMSIG(status) != signal.SIGBUS:
        raise AssertionError(f'the page is not bad: {status:#x}')


def spoil_guest_page(pid, address):
    """The same for a page of a guest_memfd that a process has there."""
    spoil(lambda: map_page(pid, address))


class Pin:
    """A page of a guest_memfd that waits in a pipe to be read."""

    def __init__(self, pid, address):
        memory = map_page(pid, address)
        self.pipe = os.pipe()
        view = ctypes.c_char.from_buffer(memory)
        vector = IoVector(ctypes.addressof(view), PAGE)
        called(LIBC.vmsplice(self.pipe[1], ctypes.byref(vector), 1, 0))
        del view
        memory.close()

    def release(self):
        """Let go of the page."""
        for end in self.pipe:
            os.close(end)
