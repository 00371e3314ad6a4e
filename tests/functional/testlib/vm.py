"""Start QEMU under KVM, and see from outside what its memory is.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
import mmap
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .compiled import preload

QEMU = shutil.which('qemu-system-x86_64')
GUEST_MEMFD = 'memory-backend-guest-memfd'
MEMFD = 'memory-backend-memfd'


def backend(kind, name, size, **properties):
    """Return the arguments that make a memory backend; size is in MiB."""
    words = [kind, f'id={name}', f'size={size}M']
    words += [f'{key.replace("_", "-")}={value}'
              for key, value in properties.items()]
    return ['-object', ','.join(words)]


def main_ram(kind, size, machine='q35', **properties):
    """Return the arguments that make a backend the RAM of a machine."""
    return ['-machine', f'{machine},memory-backend=ram0', '-m', f'{size}M',
            *backend(kind, 'ram0', size, **properties)]


def start_refused(*args, then='quit\n'):
    """Start a QEMU that ends with an error; return what it says.

    One that starts is told to quit, and ends without an error. Where it is
    refused after that, it must be told nothing.
    """
    done = subprocess.run(
        [QEMU, '-accel', 'kvm', '-machine', 'none', '-nodefaults', '-display',
         'none', '-monitor', 'stdio', *args], check=False, input=then,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 1:
        raise AssertionError(f'QEMU ended with status {done.returncode}: '
                             f'{done.stderr}')
    return done.stderr


@contextmanager
def preloaded(*names, **variables):
    """Start QEMU with these, and with variables in its environment."""
    variables['LD_PRELOAD'] = ':'.join(preload(name).path for name in names)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


class Mapping:
    """What a process maps of one guest_memfd: sizes are in KiB."""

    def __init__(self, pid, fields):
        self.start = next(iter(fields)).split('-')[0]
        self.size = int(fields['Size'].split()[0])
        self.rss = int(fields['Rss'].split()[0])
        self.flags = fields['VmFlags'].split()
        self.policy, self.nodes = self._placement(pid)

    def _placement(self, pid):
        """Return the NUMA policy, and how many pages each node has."""
        lines = Path(f'/proc/{pid}/numa_maps').read_text('utf-8').splitlines()
        words = next(line.split() for line in lines
                     if int(line.split()[0], 16) == int(self.start, 16))
        pages = re.findall(r'\bN(\d+)=(\d+)', ' '.join(words))
        return words[1], {int(node): int(count) for node, count in pages}


def mappings(pid):
    """Return what a process maps of guest_memfds, by address."""
    text = Path(f'/proc/{pid}/smaps').read_text('utf-8')
    blocks = re.split(r'^(?=[0-9a-f]+-[0-9a-f]+ )', text, flags=re.M)
    return [Mapping(pid, dict(re.findall(r'^([^ :]+):? +(.*)$', block, re.M)))
            for block in blocks if '[kvm-gmem]' in block]


def count_mappings(pid):
    """Count the pieces in which a process maps guest_memfds."""
    return Path(f'/proc/{pid}/maps').read_text('utf-8').count('[kvm-gmem]')


def open_files(pid):
    """Return what a process's file descriptors are, sorted."""
    links = []
    for path in Path(f'/proc/{pid}/fd').iterdir():
        with suppress(FileNotFoundError):
            links.append(os.readlink(path))
    return sorted(links)


def open_guest_memfds(pid):
    """Count the guest_memfds that a process has open."""
    return sum('[kvm-gmem]' in link for link in open_files(pid))


def meminfo(field):
    """Return a field of the machine's /proc/meminfo, in whole MiB."""
    # Each processor counts for itself; the sums are brought up to date about
    # once a second, or now.
    Path('/proc/sys/vm/stat_refresh').write_text('1', 'utf-8')
    text = Path('/proc/meminfo').read_text('utf-8')
    return int(re.search(rf'^{field}: +(\d+)', text, re.M)[1]) + 512 >> 10


def allocated():
    """Return how many MiB of guest_memfds exist."""
    # Their pages are unevictable, and in the lab no others are; some of 4 KiB
    # wait on lists of each processor until they count.  The kernel counts no
    # blocks of such a file, and free memory is no measure: pages given back
    # wait on such lists, too.
    return meminfo('Unevictable')


def memfd_size(pid):
    """Return how many MiB a process's memfds take, but for huge pages."""
    # Shmem in /proc/meminfo is that of temporary files, too.
    size = 0
    for path in Path(f'/proc/{pid}/fd').iterdir():
        with suppress(FileNotFoundError):
            stat = path.stat()
            if (os.readlink(path).startswith('/memfd:') and
                    stat.st_blksize == mmap.PAGESIZE):
                size += stat.st_blocks * 512
    return size >> 20


def in_use(pid):
    """Return what guests have of the machine, and a QEMU apart from that.

    Sizes are in MiB.
    """
    huge = re.findall(r'^HugePages_(?:Total|Free): +(\d+)',
                      Path('/proc/meminfo').read_text('utf-8'), re.M)
    status = Path(f'/proc/{pid}/status').read_text('utf-8')
    anonymous = re.search(r'^RssAnon:\s+(\d+)', status, re.M)[1]
    maps = Path(f'/proc/{pid}/maps').read_text('utf-8').splitlines()
    return {'guest_memfd': allocated(), 'memfd': memfd_size(pid),
            'huge pages': int(huge[0]) - int(huge[1]),
            'QEMU': int(anonymous) // 1024,
            # of files: threads and the heap have some that come and go
            'mappings': sum(line.split()[4] != '0' for line in maps),
            'files': len(open_files(pid))}


def await_allocated(size):
    """Wait until only so many MiB of guest_memfds are left."""
    # The kernel goes on after a file is closed, or a process gone.
    while allocated() > size:
        time.sleep(0.01)


class Monitor:
    """One end of a QMP connection."""

    def __init__(self, connection):
        self.connection = connection
        # For reading only: a text file that is written to forgets what it has
        # read ahead, such as an event behind a reply.
        self.monitor = connection.makefile('r')
        self.events = []

    def greet(self):
        """Begin, once QEMU runs."""
        self._receive()
        self.cmd('qmp_capabilities')

    def _receive(self):
        """Read a message of the monitor."""
        line = self.monitor.readline()
        if not line:
            raise AssertionError('QEMU ended, or closed its monitor')
        return json.loads(line)

    def qmp(self, command, **arguments):
        """Run a command; return its reply, or its error."""
        arguments = {key.replace('_', '-'): value
                     for key, value in arguments.items()}
        line = json.dumps({'execute': command, 'arguments': arguments}) + '\n'
        self.connection.sendall(line.encode())
        while True:
            message = self._receive()
            if 'event' not in message:
                return message
            self.events.append(message)

    def cmd(self, command, **arguments):
        """Run a command that must work; return what it returns."""
        reply = self.qmp(command, **arguments)
        if 'error' in reply:
            raise AssertionError(f'{command}: {reply["error"]["desc"]}')
        return reply['return']

    def refusal(self, command, **arguments):
        """Return the error that a command is refused with."""
        reply = self.qmp(command, **arguments)
        if 'error' not in reply:
            raise AssertionError(f'{command} was not refused')
        return reply['error']['desc']

    def hmp(self, line):
        """Run a command of the human monitor; return what it prints."""
        return self.cmd('human-monitor-command', command_line=line)

    def host_address(self, gpa):
        """Return where QEMU has mapped guest memory."""
        text = self.hmp(f'gpa2hva {gpa:#x}')
        return int(re.search(r' is (0x[0-9a-f]+)', text)[1], 16)

    def await_event(self, name, wanted=lambda data: True):
        """Wait for an event whose data is wanted; return the data."""
        while True:
            event = self.events.pop(0) if self.events else self._receive()
            if event['event'] == name and wanted(event.get('data')):
                return event.get('data')

    def await_unplugged(self, name):
        """Wait until a device is gone, which a guest may have to agree to."""
        self.await_event('DEVICE_DELETED',
                         lambda data: data.get('device') == name)


class VM(Monitor):
    """A QEMU with KVM and no devices but those asked for.

    QEMU's own Python package would do, but it takes seconds to load in the
    emulator.
    """

    def __init__(self, *args):
        self.args = ['-accel', 'kvm', '-nodefaults', '-display', 'none', *args]
        # what runs QEMU
        self.wrapper = ()
        self.channels = []
        self.process = None
        super().__init__(self.monitor_channel('qmp'))

    def channel(self, name):
        """Give QEMU a character device; return its other end."""
        ours, theirs = socket.socketpair()
        self.channels.append(theirs)
        self.args += ['-chardev', f'socket,id={name},fd={theirs.fileno()}']
        return ours

    def monitor_channel(self, name):
        """Give QEMU a monitor; return its other end."""
        ours = self.channel(name)
        self.args += ['-mon', f'chardev={name},mode=control']
        return ours

    def __enter__(self):
        """Start QEMU."""
        self.process = subprocess.Popen(
            [*self.wrapper, QEMU, *self.args], stdin=subprocess.DEVNULL,
            pass_fds=[each.fileno() for each in self.channels])
        for each in self.channels:
            each.close()
        self.greet()
        return self

    def __exit__(self, *_):
        """End QEMU if it runs."""
        self.process.kill()
        self.process.wait()

    @property
    def pid(self):
        """The process's number."""
        return self.process.pid

    def quit(self):
        """End QEMU in good order."""
        self.cmd('quit')
        self.await_end()

    def await_end(self):
        """Wait until QEMU ends, without an error."""
        status = self.process.wait()
        if status:
            raise AssertionError(f'QEMU ended with status {status}')

    def reset(self):
        """Reset the machine."""
        self.cmd('system_reset')
        self.await_event('RESET')

    def query_memory(self, name, **arguments):
        """Return what QEMU says about the memory of a backend."""
        info, = self.cmd('query-guest-memfd', id=name, **arguments)
        return info

    def await_files(self, files):
        """Wait until QEMU's open files are these."""
        # The RCU thread closes those of freed memory, and tells nobody.
        while open_files(self.pid) != files:
            self.cmd('query-status')

    def await_unmapped(self):
        """Wait until QEMU maps no guest_memfd."""
        # Again the RCU thread, which goes on after a refusal, too.
        maps = Path(f'/proc/{self.pid}/maps')
        while '[kvm-gmem]' in maps.read_text('utf-8'):
            self.cmd('query-status')

    def object_del(self, name):
        """Delete a memory backend, and wait until its memory is freed."""
        left = open_guest_memfds(self.pid) - 1
        self.cmd('object-del', id=name)
        while open_guest_memfds(self.pid) > left:
            self.cmd('query-status')
