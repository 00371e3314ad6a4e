"""Let calls of QEMU fail that are about the memory of guest_memfds.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import mmap
import os
import struct
import tempfile
from collections import Counter, namedtuple
from contextlib import contextmanager
from errno import (EACCES, EAGAIN, EBUSY, EEXIST, EFAULT, EFBIG, EINTR, EINVAL,
                   EIO, EMFILE, ENFILE, ENODEV, ENOENT, ENOMEM, ENOTTY,
                   EOPNOTSUPP, EPERM)
from pathlib import Path

from .vm import preloaded

# struct order of tests/kernel/inject-faults.c
ORDER = struct.Struct('60sIIIi')
ALWAYS = 1 << 31
# of Linux, but not of Python
EHWPOISON = 133

# What the kernel can answer to each call, as QEMU makes it: to well-formed
# requests with pointers that are good.  EACCES is a security module's, which
# is asked at each ioctl, mapping, fcntl and fallocate; 0 says that KVM lacks
# the capability.  See Linux 7.3.4 with patches/linux.
ERRORS = {
    # kvm_dev_ioctl_create_vm(); EBUSY: kvm_enable_virtualization()
    'KVM_CREATE_VM': (ENOMEM, EACCES, EBUSY, EINVAL, EMFILE),
    'KVM_CHECK_EXTENSION KVM_CAP_SYNC_MMU': (0,),
    'KVM_CHECK_EXTENSION KVM_CAP_USER_MEMORY2': (0,),
    'KVM_CHECK_EXTENSION KVM_CAP_MEMORY_ATTRIBUTES': (0,),
    'KVM_CHECK_EXTENSION KVM_CAP_GUEST_MEMFD': (0,),
    'KVM_CHECK_EXTENSION KVM_CAP_VM_TYPES': (0,),
    'KVM_CHECK_EXTENSION KVM_CAP_PRE_FAULT_MEMORY': (0,),
    # kvm_vm_ioctl_enable_cap()
    'KVM_ENABLE_CAP KVM_CAP_EXIT_HYPERCALL': (EINVAL, EACCES),
    # kvm_gmem_create(); ENOTTY: built without it
    'KVM_CREATE_GUEST_MEMFD': (ENOMEM, EACCES, EINVAL, EMFILE, ENFILE, ENOTTY),
    'KVM_CREATE_GUEST_MEMFD to probe': (EMFILE, EACCES, EINVAL, ENFILE, ENOMEM,
                                        ENOTTY),
    # kvm_set_memory_region(), kvm_gmem_commit_memory_region()
    'KVM_SET_USER_MEMORY_REGION2': (ENOMEM, EACCES, EEXIST, EINVAL),
    'KVM_SET_USER_MEMORY_REGION2 of 0': (ENOMEM, EACCES),
    'KVM_SET_USER_MEMORY_REGION2, not bound': (ENOMEM, EACCES, EINVAL),
    # kvm_vm_set_mem_attributes()
    'KVM_SET_MEMORY_ATTRIBUTES': (ENOMEM, EACCES, EINVAL),
    # kvm_gmem_set_attributes(); ENOTTY: without conversion in place
    'KVM_SET_MEMORY_ATTRIBUTES2': (EAGAIN, EACCES, EINTR, EINVAL, EIO, ENOMEM),
    'KVM_SET_MEMORY_ATTRIBUTES2 to probe': (EACCES, EAGAIN, EINVAL, ENOMEM,
                                            ENOTTY),
    # kvm_gmem_ioctl_move(); ENOTTY: without conversion in place
    'KVM_GUEST_MEMFD_MOVE': (EINTR, EACCES, ENOTTY, EOPNOTSUPP),
    # kvm_vcpu_pre_fault_memory(), kvm_arch_vcpu_pre_fault_memory()
    'KVM_PRE_FAULT_MEMORY': (EAGAIN, EACCES, EFAULT, EHWPOISON, EINTR, EINVAL,
                             ENOENT, ENOMEM, EOPNOTSUPP),
    # do_mmap(); EAGAIN: mlock_future_ok()
    'mmap': (ENOMEM, EACCES, EAGAIN, EPERM),
    'mmap of addresses': (ENOMEM, EAGAIN),
    'mmap again': (ENOMEM, EACCES, EAGAIN, EPERM),
    'mmap of zeros': (ENOMEM, EAGAIN),
    # do_vmi_munmap()
    'munmap': (ENOMEM,),
    # madvise_vma_behavior(), faultin_page_range(); EINVAL: not built, or old
    'madvise HUGEPAGE': (EINVAL, EAGAIN, ENOMEM),
    'madvise DONTFORK': (ENOMEM, EAGAIN),
    'madvise DONTDUMP': (ENOMEM, EAGAIN),
    'madvise DONTNEED': (ENOMEM, EINVAL),
    'madvise POPULATE_WRITE': (ENOMEM, EFAULT, EHWPOISON, EINVAL),
    # do_mbind()
    'mbind': (ENOMEM, EFAULT, EINVAL, EIO, EPERM),
    # kvm_gmem_allocate()
    'fallocate': (ENOMEM, EACCES, EINTR),
    # kvm_gmem_punch_hole(); EAGAIN: of huge pages only
    'fallocate PUNCH_HOLE': (EACCES, EAGAIN),
    # shmem_fallocate(), hugetlbfs_punch_hole(); EPERM: it is sealed
    'fallocate PUNCH_HOLE, memfd': (EPERM, EACCES),
    # memfd_alloc_file(); ENODEV: no such huge pages
    'memfd_create': (ENOMEM, EACCES, EINVAL, EMFILE, ENFILE, ENODEV),
    # shmem_setattr(); EFBIG: RLIMIT_FSIZE
    'ftruncate': (EFBIG, EACCES, EPERM),
    'fcntl DUPFD': (EMFILE, EACCES),
}


class Fault(namedtuple('Fault', 'call nth error count')):
    """A call that is to fail, from the n-th one on."""

    __slots__ = ()

    def __str__(self):
        """Say it in a few words."""
        name = os.strerror(self.error) if self.error else 'answer 0'
        often = {1: '', ALWAYS: ', and from then on'}[self.count]
        return f'{self.call}, no. {self.nth}: {name}{often}'

    def text(self, pattern):
        """Return an error's text, with the reason in it."""
        return pattern.replace('{}', os.strerror(self.error))


def fault(call, error, nth=1, count=1):
    """Return a fault."""
    return Fault(call, nth, error, count)


def faults_of(calls, every=True):
    """Return all faults that a list of calls can meet, each once.

    What can go away by itself, does, or never does. Without every, each call
    fails once, and with one errno only.
    """
    found = []
    seen = Counter()
    for call in calls:
        seen[call] += 1
        if not every:
            if seen[call] == 1:
                found.append(fault(call, ERRORS[call][0]))
            continue
        for error in ERRORS[call]:
            found.append(fault(call, error, seen[call]))
            if error == EAGAIN:
                found.append(fault(call, error, seen[call], ALWAYS))
    return found


class Faults:
    """What a QEMU that runs meanwhile is told to let fail, and what it said.
    """

    def __init__(self, directory):
        self.order_file = Path(directory) / 'order'
        self.log = Path(directory) / 'log'
        self.order_file.write_bytes(bytes(ORDER.size))
        self.log.touch()
        self.told = 0
        with open(self.order_file, 'r+b') as file:
            self.shared = mmap.mmap(file.fileno(), ORDER.size)

    def order(self, call, error, nth=1, count=1):
        """Let calls fail: so many, from the n-th one on, with an errno.

        0 stands for an answer of 0.
        """
        self.shared[:] = ORDER.pack(call.encode(), 0, nth, count, error)

    def give(self, wanted):
        """Let a fault happen."""
        self.order(wanted.call, wanted.error, wanted.nth, wanted.count)

    def clear(self):
        """Let nothing fail any more; something must have failed."""
        _, seen, nth, *_ = ORDER.unpack(self.shared[:])
        self.shared[:] = bytes(ORDER.size)
        if seen < nth:
            raise AssertionError(f'there were but {seen} of {nth} calls')

    def calls(self):
        """Return the names of what was called since this was asked last."""
        with open(self.log, encoding='utf-8') as file:
            file.seek(self.told)
            text = file.read()
        self.told += len(text)
        return [line.split('\t')[0] for line in text.splitlines()]


@contextmanager
def faults(*others):
    """Start QEMU so that its calls can be made to fail.

    Others are what is preloaded besides.
    """
    with tempfile.TemporaryDirectory() as directory:
        control = Faults(directory)
        with preloaded('inject-faults', *others,
                       FAULTS=str(control.order_file),
                       FAULTS_LOG=str(control.log)):
            yield control
