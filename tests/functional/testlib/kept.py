"""Look whether memory that someone keeps is as it was.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import mmap
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .bare import CONFIDENTIAL, PAGE, BareGuest, in_place, pattern
from .pin import spoil
from .tap import check, expect, expect_in
from .vm import GUEST_MEMFD, VM, start_refused

MIB = 1 << 20
SIZE = 4 * MIB
BAD, LAST = SIZE // 2, SIZE - PAGE
# as tests/guest/kept.c has them
SEED, WRITTEN = 0x77, 0x88
NVDIMM, PMEM, DIMM = 4 << 30, (4 << 30) + 64 * MIB, (4 << 30) + 128 * MIB
IVSHMEM_SLOT = 4

FILES = {'a file, share=on': 'on', 'a file, share=off': 'off'}
OTHERS = {'memfd': 'memory-backend-memfd', 'shm': 'memory-backend-shm',
          'ram': 'memory-backend-ram', 'guest_memfd': GUEST_MEMFD}
KINDS = [*FILES, *OTHERS]

RAM = ('-machine', 'q35,memory-backend=ram0,nvdimm=on', '-m',
       '64M,slots=4,maxmem=1G', '-object', f'{GUEST_MEMFD},id=ram0,size=64M')
# with hotplug of PCI Express, and not of ACPI
ROOT_PORTS = ('-device', 'pcie-root-port,id=rp0,chassis=1,slot=1',
              '-device', 'pcie-root-port,id=rp1,chassis=2,slot=2', '-global',
              'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off')


def fill(word_of, size=SIZE):
    """Return content of pages, each one word over and over."""
    return b''.join(word_of(offset).to_bytes(8, 'little') * (PAGE // 8)
                    for offset in range(0, size, PAGE))


@functools.cache
def filled():
    """Return what memory has in it at first."""
    return fill(lambda offset: pattern(offset, SEED))


@functools.cache
def written():
    """Return what it has when the guest has written to it."""
    last = pattern(LAST, WRITTEN).to_bytes(8, 'little')
    return filled()[:LAST] + last + filled()[LAST + 8:]


def expect_content(what, got, wanted):
    """Fail unless memory is as it was."""
    if got != wanted:
        differ = sum(a != b for a, b in zip(got, wanted))
        raise AssertionError(f'{what}: {differ} of {len(wanted)} bytes '
                             f'differ, {got.count(0)} are zero')


class Memory:
    """A memory backend; a file, if it is one, has content."""

    def __init__(self, kind, name, directory, size=SIZE, gpa=None):
        self.name = name
        self.size = size
        self.gpa = gpa
        self.path = None
        self.properties = {'qom-type': OTHERS.get(kind, 'memory-backend-file'),
                           'id': name, 'size': size}
        if kind in FILES:
            self.path = Path(directory) / name
            with self.path.open('wb') as file:
                file.write(filled())
                file.truncate(size)
            self.properties |= {'mem-path': str(self.path),
                                'share': FILES[kind] == 'on'}
        self.writes_through = FILES.get(kind) == 'on'

    def arguments(self):
        """Return arguments that make it."""
        words = {True: 'on', False: 'off'}
        return '-object', ','.join(
            f'{key}={words.get(value, value) if key == "share" else value}'
            for key, value in self.properties.items())

    def add(self, vm):
        """Make it in a QEMU that runs."""
        arguments = dict(self.properties)
        vm.cmd('object-add', qom_type=arguments.pop('qom-type'), **arguments)

    def _where(self, vm):
        """Return where QEMU has mapped it; some of it has no name there."""
        if self.gpa:
            return vm.host_address(self.gpa)
        return int(re.search(rf'^ *\S*/{self.name} .* (0x[0-9a-f]+) +rw',
                             vm.hmp('info ramblock'), re.M)[1], 16)

    def fill(self, vm):
        """Give content to what had none."""
        if self.path:
            return
        memory = os.open(f'/proc/{vm.pid}/mem', os.O_WRONLY)
        expect(os.pwrite(memory, filled(), self._where(vm)), SIZE)
        os.close(memory)

    def look(self, vm, wanted):
        """Compare what the mapping has, and the file."""
        memory = os.open(f'/proc/{vm.pid}/mem', os.O_RDONLY)
        expect_content(self.name, os.pread(memory, SIZE, self._where(vm)),
                       wanted)
        os.close(memory)
        self.look_at_file(wanted)

    def look_at_file(self, wanted):
        """Compare what the file has, if there is one."""
        if self.path:
            with self.path.open('rb') as file:
                expect_content(self.path, file.read(SIZE),
                               wanted if self.writes_through else filled())
            expect(self.path.stat().st_size, self.size)


class KeptGuest(BareGuest):
    """A guest that uses what is kept, and cannot make it private."""

    def __init__(self, kept, again, areas, *args):
        super().__init__('kept', *RAM, *args)
        self.kept, self.again, self.areas = kept, again, areas

    def look(self, wanted):
        """Compare all that is kept."""
        for each in self.kept:
            each.look(self, wanted)

    def check_map(self):
        """Memory of devices has no private side."""
        infos = {info['id'].split('/')[-1]: info
                 for info in self.cmd('query-guest-memfd')}
        for each in self.kept:
            if each.name in infos:
                expect(infos[each.name]['mode'], 'shared')

    def plug(self, driver):
        """Make a device of memory that is used again, in the first slot."""
        self.cmd('device_add', driver=driver, id='again', memdev='again',
                 addr=DIMM, slot=0)

    def answer(self, question):
        """Do what the guest asks for."""
        what, *numbers = question.split()
        if what == 'kept':
            expect(int(numbers[0], 16), self.areas)
            self.look(filled())
        elif question in ('written', 'still written'):
            self.look(written())
        elif what == 'plug':
            self.again.add(self)
            self.plug('pc-dimm')
        elif what == 'unplug':
            self.cmd('device_del', id='again')
        elif what == 'replug':
            self.await_unplugged('again')
            self.plug('nvdimm')
            self.again.look(self, bytes(SIZE))
        else:
            self.check_map()
        self.agree()


@contextmanager
def directory():
    """Make a directory for files, on a file system that can punch holes."""
    with tempfile.TemporaryDirectory(dir='/dev/shm') as path:
        yield path


def devices():
    """Return what takes memory: name, driver and properties."""
    return [('nv', 'nvdimm', {'memdev': 'nv', 'addr': NVDIMM, 'slot': 1}),
            ('pm', 'virtio-pmem-pci', {'memdev': 'pm', 'memaddr': PMEM}),
            ('sh', 'ivshmem-plain', {'memdev': 'sh'})]


def memory_of_devices(kind, path):
    """Return memory for each of them, which guests see at these addresses."""
    return [Memory(kind, name, path, gpa=gpa)
            for name, gpa in (('nv', NVDIMM), ('pm', PMEM), ('sh', None))]


def run_cold(kind, path):
    """Devices take memory at start-up; a guest uses it, and is reset."""
    kept = memory_of_devices(kind, path)
    args = [word for each in kept for word in each.arguments()]
    for name, driver, properties in devices():
        words = [driver, f'id=dev-{name}']
        words += [f'{key}={value}' for key, value in properties.items()]
        words += [f'addr={IVSHMEM_SLOT}'] * (name == 'sh')
        args += ['-device', ','.join(words)]
    again = Memory('guest_memfd' if in_place() else 'memfd', 'again', path,
                   gpa=DIMM)
    with KeptGuest(kept, again, 3, '-S', *args) as guest:
        for each in kept:
            each.fill(guest)
        guest.look(filled())
        guest.reset()
        guest.look(filled())
        guest.cmd('cont')
        guest.run()
    for each in kept:
        each.look_at_file(written())


def unplug_shared(guest):
    """Unplug ivshmem, to which no guest has to agree before a reset."""
    memory = guest.kept.pop()
    guest.cmd('device_del', id='dev-sh')
    guest.await_unplugged('dev-sh')
    guest.cmd('object-del', id='sh')
    memory.look_at_file(filled())


def run_hot(kind, path):
    """Devices are plugged and unplugged; a guest uses what is left."""
    kept = memory_of_devices(kind, path)
    again = Memory('guest_memfd', 'again', path, gpa=DIMM)
    with KeptGuest(kept, again, 2, '-S', *ROOT_PORTS) as guest:
        for port, each, (name, driver, properties) in zip(
                (None, 'rp0', 'rp1'), kept, devices()):
            each.add(guest)
            if port:
                properties['bus'] = port
            guest.cmd('device_add', driver=driver, id=f'dev-{name}',
                      **properties)
            each.fill(guest)
        guest.look(filled())
        unplug_shared(guest)
        guest.reset()
        guest.look(filled())
        guest.cmd('cont')
        guest.run()
    for each in kept[:2]:
        each.look_at_file(written())


def run_cxl(kind, path):
    """Memory of CXL devices is left alone."""
    # a multiple of which it must be
    size = 256 * MIB
    kept = [Memory(kind, name, path, size) for name in ('vol', 'per')]
    label = Memory('ram', 'label', path)
    args = [word for each in (*kept, label) for word in each.arguments()]
    with VM('-S', *CONFIDENTIAL, '-m', '64M', '-machine',
            'q35,cxl=on,cxl-fmw.0.targets.0=cxl0,cxl-fmw.0.size=1G',
            *args, '-device', 'pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl0',
            '-device', 'cxl-rp,port=0,bus=cxl0,id=rp0,chassis=0,slot=2',
            '-device', 'cxl-type3,bus=rp0,volatile-memdev=vol,'
            'persistent-memdev=per,lsa=label') as vm:
        vm.reset()
    for each in kept:
        each.look_at_file(filled())


def run_nvme(kind, path):
    """Memory of an NVMe controller is left alone."""
    memory = Memory(kind, 'pmr', path)
    with VM('-S', *CONFIDENTIAL, *RAM, *memory.arguments(), '-device',
            'nvme,serial=1,pmrdev=pmr') as vm:
        vm.reset()
    memory.look_at_file(filled())


def run_erst(path):
    """Records of errors are left alone."""
    memory = Memory('a file, share=on', 'erst', path)
    memory.path.write_bytes(bytes(SIZE))
    with VM('-S', *CONFIDENTIAL, *RAM, *memory.arguments(), '-device',
            'acpi-erst,memdev=erst') as vm:
        expect(memory.path.read_bytes()[:8], b'ERSTSTOR')
        vm.reset()
        expect(memory.path.read_bytes()[:8], b'ERSTSTOR')


def run_balloon(path):
    """A guest gives pages of a file to the balloon."""
    memory = Memory('a file, share=off', 'nv', path)
    with check('a file, share=off: pages in a balloon'):
        with BalloonGuest('balloon', *RAM, *memory.arguments(), '-device',
                          f'nvdimm,memdev=nv,addr={NVDIMM}', '-device',
                          'virtio-balloon-pci') as guest:
            guest.run()
            memory.look_at_file(filled())


def spoil_page(path):
    """Let the kernel believe that a page in the middle of a file is bad."""
    def map_page():
        with path.open('r+b') as file:
            return mmap.mmap(file.fileno(), PAGE, offset=BAD)
    spoil(map_page)


def run_spoilt(path):
    """Memory of a file goes bad, and the machine is reset."""
    memory = Memory('a file, share=off', 'nv', path, gpa=NVDIMM)
    with check('a file, share=off: a page that goes bad'):
        with VM('-S', *CONFIDENTIAL, *RAM, *memory.arguments(), '-device',
                f'nvdimm,memdev=nv,addr={NVDIMM}') as vm:
            memory.look(vm, filled())
            blocks = memory.path.stat().st_blocks
            spoil_page(memory.path)
            vm.await_event('MEMORY_FAILURE')
            vm.reset()
            expect(memory.path.stat().st_blocks, blocks)
            # what is bad is not in QEMU any more
            expect(vm.hmp(f'xp /1gx {NVDIMM + BAD:#x}').split()[1],
                   f'0x{0:016x}')
        with memory.path.open('rb') as file:
            expect_content(memory.name, file.read(BAD), filled()[:BAD])
            file.seek(BAD + PAGE)
            expect_content(memory.name, file.read(), filled()[BAD + PAGE:])


class BalloonGuest(BareGuest):
    """A guest that says when it has given pages to the balloon."""

    def answer(self, question):
        """The device has done its work."""
        if question == 'given':
            self.agree()
        else:
            super().answer(question)


def run_virtio_mem(path):
    """virtio-mem would have private memory, and says that it cannot."""
    memory = Memory('guest_memfd', 'mem', path, 128 * MIB)
    error = ("property 'memdev' of virtio-mem doesn't take 'mem': RAM of this "
             'guest is private memory, which virtio-mem cannot have')
    with check('refused: virtio-mem'):
        expect_in(f'{error}\nUse pc-dimm to plug private memory.\n',
                  start_refused(*CONFIDENTIAL, *RAM, *memory.arguments(),
                                '-device', 'virtio-mem-pci,memdev=mem'))
    with check('refused: virtio-mem that is plugged'):
        with VM('-S', *CONFIDENTIAL, *RAM, *ROOT_PORTS,
                *memory.arguments()) as vm:
            expect(vm.refusal('device_add', driver='virtio-mem-pci',
                              memdev='mem', bus='rp0'), error)


def run_idle():
    """Memory that nothing uses is as it is in other guests."""
    with check('memory that nothing uses, as libvirt has it'):
        with VM('-S', *CONFIDENTIAL, '-object', 'memory-backend-ram,id=pc.ram,'
                'size=64M,share=off,merge=on,prealloc=on', '-machine',
                'memory-backend=pc.ram', *RAM) as vm:
            idle, = [each for each in vm.cmd('query-memdev')
                     if each['id'] == 'pc.ram']
            expect((idle['merge'], idle['share'], idle['prealloc']),
                   (True, False, True))
            vm.reset()
            vm.cmd('object-del', id='pc.ram')


def refusal(memory):
    """Return how memory is refused as RAM, or None."""
    if in_place() and memory.properties['qom-type'] != GUEST_MEMFD:
        return (f"memory '{memory.name}' cannot be converted between private "
                'and shared in place: it is not in a guest_memfd')
    if memory.path and not in_place():
        return (f"memory '{memory.name}' cannot become private: file "
                f"'{memory.path}' would lose what is in it")
    return None


def uses(name):
    """Return arguments by which memory becomes RAM at start-up."""
    size = SIZE // MIB
    return {
        'RAM of the machine': ('-machine', f'q35,memory-backend={name}',
                               '-m', f'{size}M'),
        'RAM of a node': ('-machine', 'q35', '-m', f'{size}M',
                          '-numa', f'node,memdev={name}'),
        'a DIMM': (*RAM, '-device', f'pc-dimm,memdev={name}'),
    }


def run_ram(kind, path):
    """What can be private becomes RAM, and the rest is refused."""
    memory = Memory(kind, 'mem', path)
    error = refusal(memory)
    for use, args in uses('mem').items():
        args = (*memory.arguments(), *CONFIDENTIAL, *args)
        with check(f'{kind}: {use}'):
            if error:
                expect_in(error + '\n', start_refused(*args))
                memory.look_at_file(filled())
            else:
                with VM('-S', *args):
                    pass


def run_given_up(path):
    """A file that its owner gives up can be RAM."""
    memory = Memory('a file, share=on', 'mem', path)
    memory.properties['discard-data'] = 'on'
    with check('a file, discard-data=on: RAM of the machine'):
        with VM('-S', *memory.arguments(), *CONFIDENTIAL,
                *uses('mem')['RAM of the machine']):
            pass
    with check('a file, discard-data=on, share=off: RAM of the machine'):
        memory = Memory('a file, share=off', 'mem', path)
        memory.properties['discard-data'] = 'on'
        expect_in(f"file '{memory.path}' would lose what is in it",
                  start_refused('-S', *memory.arguments(), *CONFIDENTIAL,
                                *uses('mem')['RAM of the machine']))
        memory.look_at_file(filled())


def run_plugged_ram(path):
    """The same, when it is plugged."""
    with VM('-S', *CONFIDENTIAL, *RAM, '-m', '64M,slots=8,maxmem=1G') as vm:
        for number, kind in enumerate(KINDS):
            with check(f'{kind}: a DIMM that is plugged'):
                memory = Memory(kind, f'plug{number}', path)
                memory.add(vm)
                error = refusal(memory)
                arguments = {'driver': 'pc-dimm', 'memdev': memory.name}
                if error:
                    expect(vm.refusal('device_add', **arguments), error)
                    vm.cmd('object-del', id=memory.name)
                else:
                    vm.cmd('device_add', **arguments)
                memory.look_at_file(filled())


def run_kept():
    """Try all kinds of memory in all devices."""
    with directory() as path:
        for kind in KINDS:
            with check(f'{kind}: memory of devices, at start-up'):
                run_cold(kind, path)
            with check(f'{kind}: memory of devices that are plugged'):
                run_hot(kind, path)
        for kind in FILES:
            with check(f'{kind}: memory of CXL devices'):
                run_cxl(kind, path)
            with check(f'{kind}: memory of NVMe'):
                run_nvme(kind, path)
        with check('records of errors in a file'):
            run_erst(path)
        for kind in KINDS:
            run_ram(kind, path)
        if not in_place():
            run_given_up(path)
        run_plugged_ram(path)
        run_balloon(path)
        run_spoilt(path)
        run_virtio_mem(path)
        run_idle()
