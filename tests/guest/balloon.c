/*
 * A guest that gives memory to a balloon which is not its own: of a file that
 * QEMU has mapped privately
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "virtio-modern.h"

#define BALLOON     0x10451af4u
#define NVDIMM      (4096 * MIB)        /* the host knows, too */

enum { PAGES = 8 };

int guest_main(void)
{
    unsigned int device = pci_find(BALLOON);
    struct descriptor *first = (struct descriptor *)RING;

    if (convert(RING, 2 * PAGE, false)) {
        fail("cannot share the ring");
    }
    find_structures(device, pci_enable(device, VIRTIO_BAR));
    start_device(VERSION_1 | ACCESS_PLATFORM);
    for (uint64_t i = 0; i < PAGES; i++) {
        *reg32(REQUESTS, 4 * i) = NVDIMM / PAGE + i;
    }
    *first = (struct descriptor){ REQUESTS, 4 * PAGES, 0, 0 };
    make_available(0);
    await_device();
    ask_host("given");
    return 0;
}
