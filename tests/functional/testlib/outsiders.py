"""Look who else can read a guest's memory, as the manual has it in a table.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import errno
import fcntl
import mmap
import os
import resource
import signal
import struct
from pathlib import Path

from .bare import CONFIDENTIAL, PAGE, in_place
from .guest import KERNEL
from .pin import find_descriptor, find_file, take_descriptor
from .tap import check, expect
from .vm import GUEST_MEMFD, VM, main_ram

SIZE = 64
# of <linux/kvm.h> as the lab kernel has it
KVM_SET_MEMORY_ATTRIBUTES2 = 0xc080aed2
# where a kernel is loaded, and memory that no image is in
KERNEL_AT, EMPTY_AT = 1 << 20, 40 << 20
INFINITE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
CORE_PATTERN = Path('/proc/sys/kernel/core_pattern')
CORE = Path('/tmp/outsiders.core')
# of coredump_filter: what Linux has by default, and files that are shared
DEFAULT, MAPPED_SHARED = 0x33, 1 << 3
MARK = b'what the host wrote'.ljust(PAGE, b'.')


def loaded():
    """Return the first page of the kernel that is loaded."""
    image = KERNEL.read_bytes()
    start = (image[0x1f1] + 1) * 512
    return image[start:start + PAGE]


def access(pid, address, data=None):
    """Read a page of a process as root, or write it; return what is read."""
    memory = os.open(f'/proc/{pid}/mem', os.O_RDWR)
    try:
        return os.pwrite(memory, data, address) if data else \
            os.pread(memory, PAGE, address)
    except OSError as error:
        expect(error.errno, errno.EIO)
        return None
    finally:
        os.close(memory)


def fails_with(number, function, *args):
    """Expect a call to fail with an errno."""
    try:
        function(*args)
    except OSError as error:
        expect(error.errno, number)
        return
    raise AssertionError(f'it did not fail with {errno.errorcode[number]}')


def make_shared(file, offset, size):
    """Make memory of a guest_memfd shared, past QEMU."""
    fcntl.ioctl(file, KVM_SET_MEMORY_ATTRIBUTES2, bytearray(
        struct.pack('=QQQQQ11Q', offset, size, 0, 0, 0, *[0] * 11)))


def look_in_place(vm):
    """Nobody reads private memory by QEMU's mapping; by the file, all do."""
    host = vm.host_address(KERNEL_AT)
    with check('in place: /proc/PID/mem has errors for root'):
        expect(access(vm.pid, host), None)
        expect(access(vm.pid, vm.host_address(EMPTY_AT)), None)
    inode, offset = find_file(vm.pid, host)
    number = find_descriptor(vm.pid, inode)
    with check('in place: the file cannot be opened by its name'):
        fails_with(errno.ENXIO, os.open, f'/proc/{vm.pid}/fd/{number}',
                   os.O_RDWR)
    with check('in place: who takes the file can read all'):
        file = take_descriptor(vm.pid, number)
        make_shared(file, offset, PAGE)
        expect(access(vm.pid, host), loaded())
        with mmap.mmap(file, PAGE, offset=offset) as memory:
            expect(memory[:], loaded())
        os.close(file)


def look_separately(vm):
    """With two backings, nobody has private memory mapped."""
    with check('two backings: root sees zeros by /proc/PID/mem'):
        expect(access(vm.pid, vm.host_address(EMPTY_AT)), bytes(PAGE))
    with check('two backings: the file of private memory cannot be mapped'):
        numbers = [int(path.name)
                   for path in Path(f'/proc/{vm.pid}/fd').iterdir()
                   if 'kvm-gmem' in os.readlink(path)]
        expect(bool(numbers), True)
        for number in numbers:
            file = take_descriptor(vm.pid, number)
            fails_with(errno.ENODEV, mmap.mmap, file, PAGE)
            fails_with(errno.ENOTTY, make_shared, file, 0, PAGE)
            os.close(file)


def is_in_core(file_filter, *args, confidential=(), wrote=PAGE):
    """Return whether what the host writes to RAM is in a core dump."""
    with VM('-S', *confidential, *args) as vm:
        expect(access(vm.pid, vm.host_address(EMPTY_AT), MARK), wrote)
        resource.prlimit(vm.pid, resource.RLIMIT_CORE, INFINITE)
        Path(f'/proc/{vm.pid}/coredump_filter').write_text(
            hex(file_filter), 'utf-8')
        os.kill(vm.pid, signal.SIGABRT)
        vm.process.wait()
    core = CORE.read_bytes()
    CORE.unlink()
    return MARK in core


def look_at_cores():
    """A core dump has what coredump_filter and the backend say."""
    CORE_PATTERN.write_text(str(CORE), 'utf-8')
    ram = main_ram(GUEST_MEMFD, SIZE)
    everything = DEFAULT | MAPPED_SHARED
    with check('core dumps: without a guest_memfd, by default'):
        expect(is_in_core(DEFAULT, *ram), False)
    with check('core dumps: with it, as coredump_filter says'):
        expect(is_in_core(everything, *ram), True)
    with check('core dumps: without it again, with dump=off'):
        expect(is_in_core(everything, *main_ram(GUEST_MEMFD, SIZE,
                                                dump='off')), False)
    # Nobody could write to memory that is private in place.
    with check('core dumps: of QEMU with private memory'):
        expect(is_in_core(everything, *ram, confidential=CONFIDENTIAL,
                          wrote=None if in_place() else PAGE),
               not in_place())


def run_outsiders():
    """Look at a guest that has not run."""
    with VM('-S', *CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE),
            '-kernel', str(KERNEL)) as vm:
        if in_place():
            look_in_place(vm)
        else:
            look_separately(vm)
    look_at_cores()
