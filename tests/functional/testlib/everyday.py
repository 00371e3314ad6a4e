"""Set-ups of every day, with private memory.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import tempfile
from pathlib import Path

from .bare import CONFIDENTIAL, BareGuest
from .compiled import TOP
from .matrix import (fill_pool, guest, image, mode, pages_of,
                     run_guest)
from .tap import check, expect, expect_in
from .vm import GUEST_MEMFD, main_ram, start_refused

SIZE = 64
SANDBOX = ('on,obsolete=deny,elevateprivileges=deny,spawn=deny,'
           'resourcecontrol=deny')
NOBODY = '65534'
ORDINARY = ('prlimit', '--memlock=65536:65536', 'setpriv', f'--reuid={NOBODY}',
            f'--regid={NOBODY}', '--clear-groups')


def run_locked(how):
    """Memory is locked, what is private of it excepted."""
    with check(f'mem-lock={how}, {mode()}'), \
            tempfile.NamedTemporaryFile() as said:
        each = guest('matrix', args=[*main_ram(GUEST_MEMFD, SIZE),
                                     '-overcommit', f'mem-lock={how}'])
        each.wrapper = ('sh', '-c', f'exec "$@" 2>{said.name}', 'sh')
        with each:
            each.run()
        expect(said.read(), b'')


def run_sandbox():
    """QEMU makes no system call for this that the sandbox forbids."""
    with check(f'-sandbox {SANDBOX}, {mode()}'):
        with guest('matrix', args=[*main_ram(GUEST_MEMFD, SIZE), '-sandbox',
                                   SANDBOX]) as each:
            each.run()
        with guest('reset', flags=('-DRESETS=3',),
                   args=[*main_ram(GUEST_MEMFD, SIZE), *image(), '-sandbox',
                         SANDBOX]) as each:
            each.run()


class Daemon(BareGuest):
    """A guest whose QEMU goes to the background."""

    def __init__(self, directory, *args):
        self.pidfile = Path(directory) / 'pid'
        super().__init__('matrix', *args, '-daemonize', '-pidfile',
                         str(self.pidfile))

    @property
    def pid(self):
        """The number of the process that stays."""
        return int(self.pidfile.read_text('utf-8'))

    def check_end(self):
        """Nobody has the status of the process that stays."""
        expect(self.process.wait(), 0)
        expect((self.said, self.answers), ([], 6))


def run_daemon():
    """A guest in the background."""
    with check(f'-daemonize, {mode()}'), \
            tempfile.TemporaryDirectory() as directory:
        with Daemon(directory, *main_ram(GUEST_MEMFD, SIZE)) as each:
            each.run()


def run_ordinary_user():
    """A user who may open /dev/kvm, and may lock next to nothing."""
    # all of this is the lab's alone
    os.chmod('/dev/kvm', 0o666)
    for directory in TOP.parents:
        directory.chmod(directory.stat().st_mode | 0o011)
    with check(f'an ordinary user, {mode()}'):
        each = guest('matrix', args=main_ram(GUEST_MEMFD, SIZE))
        each.wrapper = ORDINARY
        with each:
            expect(Path(f'/proc/{each.pid}').stat().st_uid, int(NOBODY))
            each.run()


class PluggedGuest(BareGuest):
    """A guest that gets a processor while it runs."""

    def answer(self, question):
        """Plug the processor at the first question."""
        if not self.answers:
            free, = [each for each in self.cmd('query-hotpluggable-cpus')
                     if 'qom-path' not in each]
            self.cmd('device_add', driver=free['type'], id='cpu1',
                     **free['props'])
            expect(len(self.cmd('query-cpus-fast')), 2)
        super().answer(question)


def run_plugged_processor():
    """A processor is plugged."""
    with check(f'a processor is plugged, {mode()}'):
        with PluggedGuest('matrix', *main_ram(GUEST_MEMFD, SIZE), '-smp',
                          '1,maxcpus=2') as each:
            each.run()


def run_watchdog():
    """A watchdog resets the machine."""
    with check(f'a watchdog resets the machine, {mode()}'):
        with guest('reset', flags=('-DRESETS=3', '-DHOW=BY_WATCHDOG'),
                   args=[*main_ram(GUEST_MEMFD, SIZE), *image(),
                         '-device', 'ib700', '-action', 'watchdog=reset']
                   ) as each:
            each.run()
            each.await_event('WATCHDOG')


class PanickingGuest(BareGuest):
    """A guest that panics, and is reset by its host."""

    panics = 0

    def answer(self, question):
        """Reset the machine when the guest has panicked."""
        if question != 'panic':
            super().answer(question)
            return
        self.agree()
        self.await_event('GUEST_PANICKED')
        self.await_event('STOP')
        self.panics += 1
        self.cmd('system_reset')
        self.cmd('cont')


def run_panic():
    """A guest panics, which its host sees by pvpanic, and resets it."""
    with check(f'reset after a panic, {mode()}'):
        with PanickingGuest('reset', *main_ram(GUEST_MEMFD, SIZE), *image(),
                            '-device', 'pvpanic', '-action', 'panic=pause',
                            flags=('-DRESETS=2', '-DHOW=BY_PANIC')) as each:
            each.run()
            expect(each.panics, 2)


def run_sizes():
    """Memory of sizes that are no power of two, and beyond 4 GiB."""
    for size in 63, 5119:
        with check(f'{size} MiB, {mode()}'):
            with guest('matrix', args=main_ram(GUEST_MEMFD, size)) as each:
                each.run()


def run_balloon():
    """Memory is given to a balloon, and taken out again."""
    fill_pool('2 MiB', SIZE)
    for page in '4 KiB', '2 MiB':
        run_guest('ballooned', page, args=[
            *main_ram(GUEST_MEMFD, SIZE, **pages_of(page)), '-device',
            'virtio-balloon-pci'])
    fill_pool('2 MiB', 0)
    with check(f'refused: reports of private pages, {mode()}'):
        expect_in("property 'free-page-reporting' of virtio-balloon doesn't "
                  "take 'on': what this guest would report is private memory",
                  start_refused(*CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE),
                                '-device', 'virtio-balloon-pci,'
                                'free-page-reporting=on'))


def run_everyday():
    """Try each."""
    for how in 'on', 'on-fault':
        run_locked(how)
    run_sandbox()
    run_daemon()
    run_ordinary_user()
    run_plugged_processor()
    run_watchdog()
    run_panic()
    run_balloon()
    run_sizes()
