"""Run QEMU where calls fail that are about the memory of guest_memfds.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import subprocess
import tempfile
import time
from errno import ENOMEM

from .bare import CONFIDENTIAL
from .faults import ALWAYS, faults, faults_of
from .matrix import await_dirty_rate, fill_pool, mode, pages_of
from .outcomes import (DIMM, OBJECT, START_SHARED, expect_outcome, reset_table,
                       start_table)
from .tap import FULL, check, expect, expect_in
from .vm import GUEST_MEMFD, QEMU, VM, in_use, main_ram, open_files

# MiB
SIZE, DIMM_SIZE, POOL = 16, 4, 320
DIMMS = 24
DEVICE_SIZE = 128
PCI_DRIVERS = ['virtio-pmem-pci', 'virtio-mem-pci']
UNBOUND = 'KVM_SET_USER_MEMORY_REGION2, not bound'
ROOM = ['-m', f'{SIZE}M,slots={DIMMS},maxmem=4G']


def memory(page):
    """Return arguments for memory that meets all that there is."""
    return main_ram(GUEST_MEMFD, SIZE, prealloc='on', policy='bind',
                    host_nodes='0', **pages_of(page))


def start(args):
    """Start QEMU and let it quit; return its error, or None."""
    done = subprocess.run(
        [QEMU, '-S', '-accel', 'kvm', '-nodefaults', '-display', 'none',
         '-monitor', 'stdio', *args], check=False, input='quit\n',
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        raise AssertionError(f'QEMU ended with status {done.returncode}: '
                             f'{done.stderr}')
    return done.stderr if done.returncode else None


def answers_of(calls):
    """Leave out all but the first of calls whose answer never changes."""
    fixed = {call for call in calls if call.startswith('KVM_CHECK_EXTENSION')}
    return [*sorted(fixed), *(call for call in calls if call not in fixed)]


def run_start(what, args, table):
    """Each call fails while QEMU starts."""
    with faults() as control:
        with check(f'start-up, {what}: nothing fails'):
            expect(start(args), None)
        every = faults_of(answers_of(control.calls()), FULL)
        with check(f'start-up, {what}: {len(every)} faults'):
            for each in every:
                if not each.error:
                    each = each._replace(count=ALWAYS)
                control.give(each)
                error = start(args)
                control.clear()
                expect_outcome(each, table, error)


def run_starts():
    """QEMU starts, or ends with an error that says why."""
    fill_pool('2 MiB', POOL)
    for page in ('4 KiB', '2 MiB') if FULL else ['2 MiB']:
        run_start(f'private memory, {mode()}, pages of {page}',
                  [*CONFIDENTIAL, *memory(page)], start_table())
    run_start('shared memory', memory('4 KiB'), START_SHARED)


class Books:
    """What a QEMU has of the machine."""

    def __init__(self, vm):
        self.vm = vm
        self.begin = self._look()

    def _look(self):
        """Look at it, after what is under way in the main loop."""
        self.vm.cmd('query-status')
        used = in_use(self.vm.pid)
        # its heap, which may grow and shrink
        del used['QEMU']
        return used, open_files(self.vm.pid)

    def expect_same(self):
        """Expect it to have as much again as at the begin."""
        # The RCU thread gives memory back when it likes, and so does the
        # kernel.
        end = time.monotonic() + 10
        while self._look() != self.begin:
            if time.monotonic() > end:
                expect(self._look(), self.begin)
            time.sleep(0.01)


class Errors:
    """What a QEMU says on its standard error."""

    def __init__(self, vm):
        self.file = tempfile.NamedTemporaryFile('r')
        vm.wrapper = ('/bin/sh', '-c', f'exec "$0" "$@" 2>>{self.file.name}')

    def new(self):
        """Return what is new."""
        return self.file.read()


def refusal(reply):
    """Return the error of a monitor's reply, or None."""
    return reply['error']['desc'] if 'error' in reply else None


def qmp_pages(page):
    """Return the properties of a backend with such pages, for QMP."""
    if page == '4 KiB':
        return {}
    return {'hugetlb': True, 'hugetlbsize': 2 << 20}


def add_with_faults(vm, control, add, table, remove=None):
    """Add something once with each fault; what is refused leaves nothing."""
    control.calls()
    expect(add(), None)
    every = faults_of(control.calls())
    if remove:
        remove()
    for each in every:
        books = Books(vm)
        control.give(each)
        error = add()
        control.clear()
        expect_outcome(each, table, error)
        if error:
            books.expect_same()
            expect(add(), None)
        if remove:
            remove()
            books.expect_same()


def run_objects(vm, control, page, what):
    """Each call fails that object-add makes."""
    properties = {'prealloc': True, 'policy': 'bind', 'host-nodes': [0],
                  'dump': False, **qmp_pages(page)}

    def add():
        return refusal(vm.qmp('object-add', qom_type=GUEST_MEMFD, id='mem',
                              size=SIZE << 20, **properties))

    def remove():
        files = len(open_files(vm.pid))
        vm.cmd('object-del', id='mem')
        # The RCU thread closes its file.
        while len(open_files(vm.pid)) >= files:
            vm.cmd('query-status')

    with check(f'object-add, {what}, pages of {page}'):
        add_with_faults(vm, control, add, OBJECT, remove)


def run_deletion(vm, control, page):
    """What cannot be unmapped stays, until QEMU ends."""
    with check(f'object-del, {mode()}, pages of {page}'):
        for _ in range(2):
            books = Books(vm)
            vm.cmd('object-add', qom_type=GUEST_MEMFD, id='mem',
                   size=SIZE << 20, **qmp_pages(page))
            control.order('munmap', ENOMEM)
            vm.cmd('object-del', id='mem')
            vm.await_files(books.begin[1])
            control.clear()


def run_dimms(vm, control, page, what):
    """Each call fails that device_add of a memory device makes."""
    names = [f'dimm{n}' for n in range(DIMMS)]

    def add():
        error = refusal(vm.qmp('device_add', driver='pc-dimm',
                               memdev=names[0]))
        if not error:
            names.pop(0)
        return error

    for name in names:
        vm.cmd('object-add', qom_type=GUEST_MEMFD, id=name,
               size=DIMM_SIZE << 20, **qmp_pages(page))
    with check(f'device_add, {what}, pages of {page}'):
        add_with_faults(vm, control, add, DIMM)


def ports(*names):
    """Return arguments for ports that devices can be plugged into."""
    return [each for chassis, name in enumerate(names)
            for each in ('-device', f'pcie-root-port,id={name}-port,'
                                    f'chassis={chassis}')]


def run_other_devices():
    """KVM refuses the memory of other memory devices."""
    args = [*main_ram(GUEST_MEMFD, SIZE, machine='q35,nvdimm=on'), *ROOM,
            *ports(*PCI_DRIVERS)]
    with faults() as control, VM('-S', *args) as vm:
        for driver in 'nvdimm', *PCI_DRIVERS:
            bus = {'bus': f'{driver}-port'} if driver in PCI_DRIVERS else {}

            def add(driver=driver, bus=bus):
                return refusal(vm.qmp('device_add', driver=driver,
                                      memdev=driver, **bus))

            vm.cmd('object-add', qom_type=GUEST_MEMFD, id=driver,
                   size=DEVICE_SIZE << 20)
            with check(f'device_add, {driver}'):
                books = Books(vm)
                control.order(UNBOUND, ENOMEM)
                expect_in(DIMM[UNBOUND], add())
                control.clear()
                books.expect_same()
                expect(add(), None)
        vm.quit()


def is_logged(seconds):
    """Refuse a memslot, and have a larger one; return whether logs were on."""
    small, large = 8 << 30, 64 << 30
    with faults('check-dirty-log') as control, \
            VM('-S', *main_ram(GUEST_MEMFD, SIZE),
               '-m', f'{SIZE}M,slots=2,maxmem=100G',
               *ports('small', 'large')) as vm:
        for name, size in ('small', small), ('large', large):
            vm.cmd('object-add', qom_type=GUEST_MEMFD, id=name, size=size)
        control.calls()
        vm.cmd('calc-dirty-rate', calc_time=seconds, mode='dirty-bitmap')
        while UNBOUND not in control.calls():
            pass
        # Logging begins in a thread, for all memory under the BQL.
        vm.cmd('query-status')
        control.order(UNBOUND, ENOMEM, count=ALWAYS)
        expect_in(DIMM[UNBOUND],
                  vm.refusal('device_add', driver='virtio-mem-pci',
                             memdev='small', bus='small-port'))
        control.clear()
        vm.cmd('device_add', driver='virtio-mem-pci', memdev='large',
               bus='large-port')
        logged = vm.cmd('query-dirty-rate')['status'] == 'measuring'
        await_dirty_rate(vm)
        vm.quit()
    return logged


def run_logged():
    """What is logged of a memslot has room, whatever was refused before."""
    with check('device_add while dirty pages are logged'):
        expect(is_logged(3) or is_logged(30) or is_logged(300), True)


def reset(vm, errors):
    """Reset the machine; return why it stops, or None."""
    errors.new()
    vm.cmd('system_reset')
    vm.await_event('RESET')
    status = vm.cmd('query-status')['status']
    if status == 'prelaunch':
        return None
    expect(status, 'internal-error')
    expect_in('the machine cannot run', vm.refusal('cont'))
    return errors.new()


def run_resets(vm, control, errors, page):
    """Each call fails that a reset makes."""
    with check(f'system_reset, {mode()}, pages of {page}'):
        expect(reset(vm, errors), None)
        books = Books(vm)
        control.calls()
        expect(reset(vm, errors), None)
        for each in faults_of(control.calls()):
            control.give(each)
            error = reset(vm, errors)
            control.clear()
            expect_outcome(each, reset_table(), error)
            expect(reset(vm, errors), None)
            books.expect_same()


def run_commands(page):
    """Calls fail that commands of the monitor make."""
    with faults() as control:
        vm = VM('-S', *CONFIDENTIAL, *memory(page), *ROOM)
        errors = Errors(vm)
        with vm:
            run_objects(vm, control, page, mode())
            run_deletion(vm, control, page)
            run_resets(vm, control, errors, page)
            run_dimms(vm, control, page, mode())
            vm.quit()


def run_shared():
    """The same for memory that is all shared."""
    fill_pool('2 MiB', POOL)
    for page in '4 KiB', '2 MiB':
        with faults() as control, VM('-S', *memory(page), *ROOM) as vm:
            run_objects(vm, control, page, 'shared memory')
            run_dimms(vm, control, page, 'shared memory')
            vm.quit()
