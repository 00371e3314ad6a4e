"""Guests with private memory whose firmware is in a flash.

SPDX-License-Identifier: GPL-2.0-or-later
"""

from pathlib import Path

from .bare import CONFIDENTIAL, BareGuest
from .compiled import firmware
from .files import file_with
from .tap import check, expect, expect_in
from .vm import GUEST_MEMFD, main_ram, start_refused

# of OVMF_CODE_4M.fd and OVMF_VARS_4M.fd
CODE_SIZE, VARS_SIZE = 0x37c000, 0x84000
CODE_AT = (4 << 30) - CODE_SIZE
VARS_AT = CODE_AT - VARS_SIZE


class FlashGuest(BareGuest):
    """A guest whose firmware is in a flash, with another for variables."""

    def load(self, file):
        """Return arguments for firmware."""
        image = Path(file).read_bytes()
        # They live as long as the guest.
        self.code = padded(CODE_SIZE, image)
        self.vars = padded(VARS_SIZE, b'')
        return (*drive(self.code.name, 'on'), *drive(self.vars.name, 'on'))


def padded(size, image):
    """Return a file that ends with an image."""
    return file_with(image.rjust(size, b'\0'))


def drive(file, readonly):
    """Return arguments for a flash."""
    return ('-drive', f'if=pflash,format=raw,readonly={readonly},file={file}')


def blockdev(name, file, read_only):
    """Return arguments for the block device that a flash can have."""
    return ('-blockdev', f'file,node-name={name},filename={file},'
            f'read-only={read_only}')


def run_flash():
    """Firmware in a flash is loaded, and as private as other memory."""
    with check('firmware and variables in flash of the sizes of OVMF'):
        with FlashGuest('refused', *main_ram(GUEST_MEMFD, 64)) as guest:
            expect({info['id'] for info in guest.cmd('query-guest-memfd')
                    if 'flash' in info['id']},
                   {f'flash@{CODE_AT:#x}', f'flash@{VARS_AT:#x}'})
            guest.run()


def refuse_writable():
    """A flash that can be written is refused, however it is given."""
    image = firmware('refused').path
    with check('refused: a drive that can be written'):
        expect_refused('pflash0', *drive(image, 'off'))
    with check('refused: a block device that can be written'), \
            padded(VARS_SIZE, b'') as variables:
        expect_refused('v', *blockdev('c', image, 'on'),
                       *blockdev('v', variables.name, 'off'),
                       '-machine', 'pflash0=c,pflash1=v')


def expect_refused(flash, *args):
    """Expect that a guest is refused because of this flash."""
    expect_in(f"flash '{flash}' is writable, but the machine's confidential "
              'guest has flash as ROM\nAdd readonly=on to its -drive, or '
              'read-only=on to its -blockdev.\n',
              start_refused(*CONFIDENTIAL, '-machine', 'q35', *args))
