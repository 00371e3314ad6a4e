"""Run domains of libvirt's, as Debian has it, from the XML in the manual.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import grp
import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import time
import tty
from pathlib import Path

from .compiled import TOP
from .guest import KERNEL, NO_CLOCK_CHECK, Guest, initrd
from .tap import expect, say

XML = TOP / 'docs/system/guest-memfd'
EMULATOR = Path('/usr/bin/qemu-system-x86_64-guest-memfd')
IMAGES = Path('/var/lib/libvirt/images')
SOCKET = Path('/run/libvirt/libvirt-sock')
RUNTIME = Path('/run/libvirt/qemu')
# what belongs to the machine's libvirt: its domains, and files only root reads
OWN = '/etc/libvirt', '/var/lib/libvirt', '/var/cache/libvirt', \
    '/var/log/libvirt'
USER = 'libvirt-qemu'
# MiB
DISK = 16
# what guests of the lab need, see testlib/guest.py
WORDS = f'console=ttyS0 loglevel=5 panic=-1 {NO_CLOCK_CHECK} ' \
        'lapic=notscdeadline swiotlb=4096'


def hide_own():
    """Give libvirt empty directories, as it is after its installation.

    The lab has the machine's, as whoever runs the lab may read them.  All of
    Debian's configuration is comments: without a file, libvirt does the same.
    """
    for directory in map(Path, OWN):
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs',
                        directory], check=True)
    IMAGES.mkdir()
    IMAGES.chmod(0o711)
    state = IMAGES.with_name('qemu')
    state.mkdir()
    state.chmod(0o750)
    user = pwd.getpwnam(USER)
    os.chown(state, user.pw_uid, user.pw_gid)


def set_up():
    """Install QEMU, put images where the XML names them, open /dev/kvm.

    All of this ends with the lab.
    """
    hide_own()
    shutil.copyfile(KERNEL, IMAGES / 'vmlinuz')
    shutil.copyfile(initrd().name, IMAGES / 'initrd.img')
    subprocess.run([TOP / 'scripts/install'], check=True,
                   env={**os.environ, 'PREFIX': '/usr'})
    # where libvirt 11 looks for drivers made for an assigned device
    modules = Path('/lib/modules') / platform.release()
    modules.mkdir(parents=True, exist_ok=True)
    (modules / 'modules.alias').touch()
    # udev's work
    os.chown('/dev/kvm', 0, grp.getgrnam('kvm').gr_gid)
    os.chmod('/dev/kvm', 0o660)
    subprocess.run(['virtlogd', '--daemon'], check=True)


def start_daemon():
    """Start libvirtd."""
    SOCKET.unlink(missing_ok=True)
    subprocess.run(['libvirtd', '--daemon'], check=True)
    while not SOCKET.exists():
        time.sleep(0.01)


def kill_daemon():
    """Let libvirtd end where it is."""
    pid = int(Path('/run/libvirtd.pid').read_text('utf-8'))
    os.kill(pid, 9)
    while Path(f'/proc/{pid}').exists():
        time.sleep(0.01)


def try_virsh(*words, uri='qemu:///system', wrapper=()):
    """Run a command of virsh; return its status, and what it prints."""
    done = subprocess.run([*wrapper, 'virsh', '--quiet', '--connect', uri,
                           *words], check=False, stdin=subprocess.DEVNULL,
                          text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.strip()


def virsh(*words, **options):
    """Run a command of virsh that must work; return what it prints."""
    status, said = try_virsh(*words, **options)
    if status:
        raise AssertionError(f'virsh {" ".join(words)}: {said}')
    return said


class Domain(Guest):
    """A domain, whose console is that of a guest of testlib's."""

    # how virsh is run for it
    options = {}

    def __init__(self, name):
        # no QEMU of ours
        self.name = name
        self.socket = self.console = None

    def virsh(self, *words):
        """Run a command of virsh that must work; return what it prints."""
        return virsh(*words, **self.options)

    def define(self, *changes):
        """Define it by the manual's XML, for a kernel of the lab.

        Changes are texts there, and what to write in their place.
        """
        text = (XML / f'{self.name}.xml').read_text('utf-8')
        for old, new in [('<cmdline>.*</cmdline>',
                          f'<cmdline>{WORDS}</cmdline>'), *changes]:
            text, count = re.subn(old, new, text)
            expect(count, 1)
        file = Path(f'/tmp/{self.name}.xml')
        file.write_text(text, 'utf-8')
        self.virsh('define', str(file))
        return re.findall(r"<source file='(.*?)'", text)

    def make_disks(self, images):
        """Make the files of its disks."""
        for image in images:
            with open(image, 'wb') as disk:
                disk.truncate(DISK << 20)

    def start(self):
        """Start it, and follow its console from the first line on."""
        self.virsh('start', self.name, '--paused')
        path = self.virsh('ttyconsole', self.name)
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(descriptor)
        self.console = open(descriptor, 'r', errors='replace',
                            encoding='utf-8')
        self.virsh('resume', self.name)

    def type(self, line):
        """Type a line, without waiting for what comes of it."""
        os.write(self.console.fileno(), line.encode() + b'\n')

    def cmd(self, command, **arguments):
        """Run a command of QEMU's monitor; return what it returns."""
        arguments = {key.replace('_', '-'): value
                     for key, value in arguments.items()}
        reply = json.loads(self.virsh(
            'qemu-monitor-command', self.name,
            json.dumps({'execute': command, 'arguments': arguments})))
        return reply['return']

    def state(self):
        """Return the domain's state, in libvirt's word."""
        return self.virsh('domstate', self.name)

    def await_state(self, state):
        """Wait until it has a state."""
        while self.state() != state:
            time.sleep(0.05)

    def pid(self):
        """Return the number of its QEMU."""
        return int((RUNTIME / f'{self.name}.pid').read_text('utf-8'))

    def attach_disk(self, size):
        """Plug a disk of so many MiB."""
        image = IMAGES / 'more.raw'
        with image.open('wb') as file:
            file.truncate(size << 20)
        device = Path('/tmp/more.xml')
        device.write_text(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='{image}'/><target dev='vdb' bus='virtio'/></disk>",
            'utf-8')
        virsh('attach-device', self.name, str(device))


class Session(Domain):
    """A domain of an ordinary user's own libvirtd."""

    user = '65534'

    def __init__(self, name, directory):
        super().__init__(name)
        directory.mkdir()
        os.chown(directory, int(self.user), int(self.user))
        self.options = {
            'uri': 'qemu:///session', 'wrapper': (
                'setpriv', f'--reuid={self.user}', f'--regid={self.user}',
                '--clear-groups', 'env', f'HOME={directory}',
                f'XDG_RUNTIME_DIR={directory}')}

    def make_disks(self, images):
        """They are the user's."""
        super().make_disks(images)
        for image in images:
            os.chown(image, int(self.user), int(self.user))


def expect_nothing_left(name):
    """Expect no trace of a domain that was undefined."""
    expect(virsh('list', '--all', '--name'), '')
    emulators = [path for path in Path('/proc').glob('[0-9]*/exe')
                 if os.path.lexists(path) and
                 os.path.realpath(path) == str(EMULATOR)]
    expect(emulators, [])
    left = [str(path) for directory in (RUNTIME, Path('/var/lib/libvirt/qemu'))
            for path in directory.rglob('*')
            if name in path.name and path.suffix != '.log']
    for path in left:
        say(path)
    expect(left, [])
