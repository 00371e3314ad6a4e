"""Run guests whose conversions and memory devices meet calls that fail.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import signal
from errno import EACCES, ENOMEM

from .bare import BareGuest, negative
from .failing import POOL, Books, Errors, qmp_pages, run_commands
from .faults import ALWAYS, fault, faults, faults_of
from .matrix import fill_pool, mode, two_nodes
from .outcomes import CONVERSION, KEPT, UNPLUG, expect_outcome
from .tap import FULL, check, expect, expect_in
from .vm import GUEST_MEMFD, main_ram

DIMM_SIZE = 8
# what removes a memslot; QEMU cannot go on if that fails
REMOVAL = 'KVM_SET_USER_MEMORY_REGION2 of 0'
ATTRIBUTES = 'KVM_SET_MEMORY_ATTRIBUTES', 'KVM_SET_MEMORY_ATTRIBUTES2'


def plan(calls):
    """Return what is to fail of a conversion, the last one first.

    None stands for a time without a fault: the second one, and the last.
    """
    every = faults_of(calls, FULL)
    for call in ATTRIBUTES:
        if calls.count(call) > 1:
            # what was done before is undone, or cannot be
            every += [fault(call, ENOMEM, 2), fault(call, EACCES, 2, ALWAYS)]
    return [None, *every, None]


class FaultGuest(BareGuest):
    """A guest that converts memory while calls fail, in each direction."""

    def __init__(self, control, page, *args):
        super().__init__('faults', *two_nodes(page), '-m',
                         '64M,slots=1,maxmem=1G', *args)
        self.control = control
        self.page = page
        # by direction, once it is known: what is still to fail
        self.left = {}
        self.direction = None
        self.now = None
        # what is private
        self.known = None
        self.books = {}

    def answer(self, question):
        """Do what the guest asks for."""
        what, *words = question.split()
        if what in ('before', 'after', 'plug', 'unplug'):
            getattr(self, what)(*words)
        else:
            super().answer(question)

    def before(self, direction):
        """Let something fail, but the first time in each direction."""
        self.direction = direction
        self.known = self.known_states()
        self.control.calls()
        self.now = None
        if self.left.get(direction):
            self.choose(self.left[direction])
        self.agree(len(self.left) < 2 or any(self.left.values()))

    def choose(self, left):
        """Take what is to fail from a plan."""
        if len(left) == 1 and any(len(each) > 1
                                  for each in self.left.values()):
            # The other direction is not done yet.
            return
        self.now = left.pop()
        if self.now:
            self.control.give(self.now)
        else:
            self.books.setdefault(self.direction, Books(self)).expect_same()

    def after(self, answer):
        """See what came of it; say whether all is as it was before."""
        self.control.clear()
        ret = negative(answer)
        if not self.now:
            expect(ret, 0)
            self.left.setdefault(self.direction, plan(self.control.calls()))
            self.agree(False)
            return
        expect_outcome(self.now, CONVERSION,
                       os.strerror(-ret) if ret else None)
        undone = ret and (self.now.count == 1 or self.now.nth == 1)
        if undone:
            expect(self.known_states(), self.known)
        self.agree(bool(undone))

    def plug(self):
        """Plug nothing."""
        self.agree(False)


def run_conversions(page):
    """Each call fails that a conversion makes, and some that undo it."""
    with check(f'conversions, {mode()}, pages of {page}'), \
            faults() as control, FaultGuest(control, page) as guest:
        guest.run()
        expect(guest.left, {'private': [], 'shared': []})


class UnpluggingGuest(FaultGuest):
    """A guest that has memory unplugged while calls fail."""

    def __init__(self, control, page):
        super().__init__(control, page)
        self.errors = Errors(self)
        self.left = {'private': [], 'shared': []}
        # what is to fail, once it is known
        self.unplugs = None
        self.plugged = None
        self.dimms = 0

    def plug(self):
        """Plug memory, if that is to be unplugged with a fault."""
        if self.dimms:
            self.unplugged()
        if self.unplugs == []:
            self.agree(False)
            return
        self.dimms += 1
        self.plugged = Books(self)
        self.cmd('object-add', qom_type=GUEST_MEMFD, id=f'mem{self.dimms}',
                 size=DIMM_SIZE << 20, **qmp_pages(self.page))
        self.cmd('device_add', driver='pc-dimm', id='dimm',
                 memdev=f'mem{self.dimms}')
        self.agree()

    def unplug(self):
        """Let something fail when the guest lets go of the memory."""
        self.control.calls()
        self.errors.new()
        if self.unplugs:
            self.now = self.unplugs.pop()
            self.control.give(self.now)
        self.cmd('device_del', id='dimm')
        self.agree()

    def unplugged(self):
        """See what came of it."""
        self.await_event('DEVICE_DELETED',
                         lambda data: data.get('device') == 'dimm')
        self.control.clear()
        error = self.errors.new()
        name = f'mem{self.dimms}'
        if self.now:
            expect_outcome(self.now, UNPLUG, error if KEPT in error else None)
        else:
            self.unplugs = faults_of(
                [call for call in self.control.calls() if call != REMOVAL])
        self.now = None
        if KEPT in error:
            expect_in('already busy', self.refusal(
                'device_add', driver='pc-dimm', memdev=name))
            expect_in('in use', self.refusal('object-del', id=name))
        else:
            self.cmd('object-del', id=name)
            self.plugged.expect_same()


def run_unplugs(page):
    """Each call fails that empties memory which is unplugged."""
    with check(f'unplug, {mode()}, pages of {page}'), \
            faults() as control, UnpluggingGuest(control, page) as guest:
        guest.run()
        expect(guest.unplugs, [])


class AbortingGuest(UnpluggingGuest):
    """A guest whose QEMU cannot take memory back."""

    def __init__(self, control, page):
        super().__init__(control, page)
        self.unplugs = [fault(REMOVAL, ENOMEM)]

    def check_end(self):
        """QEMU has ended."""
        expect(self.process.wait(), -signal.SIGABRT)
        expect_in(f"KVM cannot unmap memory 'mem{self.dimms}': "
                  'Cannot allocate memory', self.errors.new())


def run_abort():
    """No guest goes on with memory that is taken from it in vain."""
    with check(f'unplug of memory that KVM keeps, {mode()}'), \
            faults() as control, AbortingGuest(control, '4 KiB') as guest:
        guest.run()


class StoppedGuest(BareGuest):
    """A guest that KVM cannot run for once."""

    def __init__(self, control):
        super().__init__('refused', *main_ram(GUEST_MEMFD, 64))
        self.control = control

    def answer(self, question):
        """Let the guest go on, to where it stops, and reset it."""
        if self.answers:
            super().answer(question)
            return
        self.control.order('KVM_RUN', ENOMEM)
        self.agree()
        self.await_event('STOP')
        expect(self.cmd('query-status')['status'], 'internal-error')
        self.control.clear()
        self.cmd('system_reset')
        self.await_event('RESET')
        self.cmd('cont')


def run_stopped():
    """A page that cannot be had stops the machine, until it is reset."""
    with check(f'KVM_RUN: Cannot allocate memory, {mode()}'), \
            faults() as control, StoppedGuest(control) as guest:
        guest.run()
        expect(guest.answers > 1, True)


def run_faults():
    """Run them all, with private memory."""
    fill_pool('2 MiB', POOL)
    for page in '4 KiB', '2 MiB':
        run_commands(page)
        run_conversions(page)
        run_unplugs(page)
    run_stopped()
    run_abort()
