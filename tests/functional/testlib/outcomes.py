"""What comes of calls that fail.

A table has a text of the error, in which {} stands for the kernel's reason, or
None if QEMU goes on, with the reason why it may; or both, if that depends on
where it happens. What is said of one errno, or of the first call, goes before
what is said of a call.

SPDX-License-Identifier: GPL-2.0-or-later
"""

from errno import EAGAIN, EEXIST, EINTR, EINVAL, ENOTTY

from .bare import in_place
from .faults import ALWAYS
from .tap import say

# A conversion that meets someone who uses the memory, or a signal
TRIED_AGAIN = {
    ('KVM_SET_MEMORY_ATTRIBUTES2', EAGAIN): None,
    ('KVM_SET_MEMORY_ATTRIBUTES2', EINTR): None,
}

# A memory backend, at start-up and by object-add
OBJECT = {
    'KVM_CREATE_GUEST_MEMFD': 'KVM cannot create the guest_memfd: {}',
    ('KVM_CREATE_GUEST_MEMFD', EINVAL): 'KVM refuses the guest_memfd: {}',
    ('KVM_CREATE_GUEST_MEMFD', ENOTTY): 'KVM refuses the guest_memfd: {}',
    'memfd_create': 'failed to create memfd with flags ',
    'ftruncate': 'failed to resize memfd to 16777216: {}',
    'mmap of addresses': 'unable to map backing store for guest RAM: {}',
    'mmap': 'unable to map backing store for guest RAM: {}',
    # of huge pages: a look whether they are what was asked for
    'fallocate PUNCH_HOLE': 'cannot punch a hole into the guest_memfd: {}',
    # advice: the memory works without
    'madvise HUGEPAGE': None,
    'madvise DONTFORK': None,
    'madvise DONTDUMP': None,
    'mbind': 'cannot bind memory to host NUMA nodes: {}',
    'fallocate': "doesn't take value 'on': the memory cannot be allocated: {}",
    # asked again
    ('fallocate', EINTR): None,
    # asked whether it can be done at all; if not, each page is touched
    ('first', 'madvise POPULATE_WRITE'): None,
    'madvise POPULATE_WRITE':
        'qemu_prealloc_mem: preallocating memory failed: {}',
}

START = {
    **OBJECT,
    'KVM_CREATE_VM': 'ioctl(KVM_CREATE_VM) failed: {}',
    'KVM_ENABLE_CAP KVM_CAP_EXIT_HYPERCALL': '(KVM_CAP_EXIT_HYPERCALL): {}',
    'KVM_CHECK_EXTENSION KVM_CAP_VM_TYPES':
        'KVM on this host has no VMs for sw-protected-guest',
    'KVM_CHECK_EXTENSION KVM_CAP_SYNC_MMU': 'host lacks kvm mmu notifiers',
    # what would be mapped beforehand is when it is accessed
    'KVM_CHECK_EXTENSION KVM_CAP_PRE_FAULT_MEMORY': None,
    # QEMU's own memory of firmware and tables is mapped so, too
    'mmap of addresses': ': {}',
    'fcntl DUPFD': 'cannot duplicate the file of memory ',
    'KVM_SET_USER_MEMORY_REGION2': 'is not there for the guest: {}',
    # for KVM the same memory is in two places, which guests may ask for
    ('KVM_SET_USER_MEMORY_REGION2', EEXIST): None,
    'KVM_SET_USER_MEMORY_REGION2 of 0': 'KVM cannot unmap memory ',
    'KVM_SET_USER_MEMORY_REGION2, not bound': ': {}',
    'KVM_SET_MEMORY_ATTRIBUTES2': 'cannot become ',
    **TRIED_AGAIN,
}

NOT_FOUND_OUT = ('cannot find out whether KVM on this host converts a '
                 'guest_memfd in place: {}')
NO_PRIVATE_MEMORY = 'KVM does not support private memory for this VM'
NO_GUEST_MEMFD = 'KVM on this host has no guest_memfd for private memory'

START_PRIVATE = {
    **START,
    'KVM_CHECK_EXTENSION KVM_CAP_GUEST_MEMFD': NO_GUEST_MEMFD,
    'KVM_CHECK_EXTENSION KVM_CAP_USER_MEMORY2': NO_GUEST_MEMFD,
}

START_IN_PLACE = {
    **START_PRIVATE,
    # There is nothing but conversion in place, and that is asked by doing it.
    'KVM_CHECK_EXTENSION KVM_CAP_MEMORY_ATTRIBUTES': None,
    'KVM_CREATE_GUEST_MEMFD to probe': NOT_FOUND_OUT,
    'KVM_SET_MEMORY_ATTRIBUTES2 to probe': NOT_FOUND_OUT,
    **{(f'{call} to probe', error): NO_PRIVATE_MEMORY
       for call in ('KVM_CREATE_GUEST_MEMFD', 'KVM_SET_MEMORY_ATTRIBUTES2')
       for error in (EINVAL, ENOTTY)},
}

START_SEPARATE = {
    **START_PRIVATE,
    'KVM_CHECK_EXTENSION KVM_CAP_MEMORY_ATTRIBUTES': NO_PRIVATE_MEMORY,
    # Where KVM has private memory with a backing of its own, it cannot convert
    # any in place.
    'KVM_CREATE_GUEST_MEMFD to probe': None,
    **dict.fromkeys(['KVM_CREATE_GUEST_MEMFD',
                     ('KVM_CREATE_GUEST_MEMFD', EINVAL),
                     ('KVM_CREATE_GUEST_MEMFD', ENOTTY)],
                    'Error creating KVM guest_memfd: {}'),
    # refused when all is emptied; else the memory waits for the next time
    'fallocate PUNCH_HOLE': ('cannot be freed: {}', None),
    'fallocate PUNCH_HOLE, memfd': None,
    'madvise DONTNEED': None,
    # new memory is shared, whether KVM is told so or not
    'KVM_SET_MEMORY_ATTRIBUTES': ('{}', None),
}

START_SHARED = {
    **START,
    # what private memory takes
    'KVM_CHECK_EXTENSION KVM_CAP_GUEST_MEMFD': None,
    'KVM_CHECK_EXTENSION KVM_CAP_MEMORY_ATTRIBUTES': None,
    'KVM_CHECK_EXTENSION KVM_CAP_USER_MEMORY2': None,
}

# Memory that is plugged, and becomes private
DIMM = {
    'fcntl DUPFD': 'cannot duplicate the file of memory ',
    'KVM_CREATE_GUEST_MEMFD': 'Error creating KVM guest_memfd: {}',
    'KVM_SET_MEMORY_ATTRIBUTES2': ' private: {}',
    **TRIED_AGAIN,
    'KVM_SET_USER_MEMORY_REGION2': 'KVM cannot map memory ',
    'KVM_SET_USER_MEMORY_REGION2, not bound': 'KVM cannot map memory ',
    # with two backings it stays shared, for QEMU, too
    'KVM_SET_MEMORY_ATTRIBUTES': None,
}

# A reset: the machine stops, and says why
RESET = {
    'fallocate PUNCH_HOLE': 'cannot be freed: {}',
    ('fallocate PUNCH_HOLE', EAGAIN): None,
    'KVM_SET_MEMORY_ATTRIBUTES2': 'cannot become ',
    **TRIED_AGAIN,
    'KVM_SET_MEMORY_ATTRIBUTES': '{}',
    # what cannot be allocated is when it is accessed
    'fallocate': None,
}
RESET_SEPARATE = {
    **RESET,
    # as at start-up
    'fallocate PUNCH_HOLE': ('cannot be freed: {}', None),
    'fallocate PUNCH_HOLE, memfd': None,
    'madvise DONTNEED': None,
}

# Conversions that a guest asks for: it gets the reason as the answer
CONVERSION = {
    'KVM_SET_MEMORY_ATTRIBUTES': '{}',
    'KVM_SET_MEMORY_ATTRIBUTES2': '{}',
    **TRIED_AGAIN,
    # memory of the other side waits for the next time
    'fallocate PUNCH_HOLE': None,
    'fallocate PUNCH_HOLE, memfd': None,
    'madvise DONTNEED': None,
    # what is not mapped beforehand is when it is accessed
    'KVM_PRE_FAULT_MEMORY': None,
    # the file in the place of zeros that QEMU has seen there
    'mmap again': '{}',
    ('mmap again', EAGAIN): None,
    # advice, and a policy that the file has, too
    'madvise HUGEPAGE': None,
    'madvise DONTFORK': None,
    'madvise DONTDUMP': None,
    'mbind': None,
}

# Memory that moves to other nodes; the thread's error is in the event
MOVE = {
    'KVM_GUEST_MEMFD_MOVE': '{}',
    # goes on where it was
    ('KVM_GUEST_MEMFD_MOVE', EINTR): None,
    'fcntl DUPFD': 'cannot duplicate the file of memory ',
    'mbind': 'cannot bind memory to host NUMA nodes: {}',
}

# Memory that is unplugged, but cannot be emptied, is used no more
KEPT = 'It can be neither used again nor deleted.'
UNPLUG = {
    'fallocate PUNCH_HOLE': KEPT,
    ('fallocate PUNCH_HOLE', EAGAIN): None,
    'KVM_SET_MEMORY_ATTRIBUTES2': KEPT,
    **TRIED_AGAIN,
    'fallocate PUNCH_HOLE, memfd': KEPT,
    'madvise DONTNEED': KEPT,
    # no memory is left there, and what comes there next is told again
    'KVM_SET_MEMORY_ATTRIBUTES': None,
}


def start_table():
    """Return what comes of calls while a private guest starts."""
    return START_IN_PLACE if in_place() else START_SEPARATE


def reset_table():
    """Return what comes of calls in a reset of it."""
    return RESET if in_place() else RESET_SEPARATE


def outcome(fault, table):
    """Return what a table says of a fault."""
    keys = [(fault.call, fault.error), fault.call]
    if fault.nth == 1:
        keys.insert(0, ('first', fault.call))
    if fault.error == EAGAIN and fault.count == ALWAYS:
        # It does not go away.
        keys = [fault.call]
    for key in keys:
        if key in table:
            return table[key]
    raise LookupError(f'nobody has said what comes of {fault}')


def expect_outcome(fault, table, error):
    """Expect what a table says of a fault; error is None if QEMU went on."""
    wanted = outcome(fault, table)
    allowed = wanted if isinstance(wanted, tuple) else (wanted,)
    say(f'{fault}: {"QEMU goes on" if error is None else error.rstrip()}')
    if error is None and None in allowed:
        return
    if error is None or not any(text is not None and fault.text(text) in error
                                for text in allowed):
        raise AssertionError(f'{fault}: got {error!r}, wanted {wanted!r}')
