/*
 * The entry point of an ELF kernel for PVH
 *
 * It stands in a note of Xen's.  The kernel runs in 32 bits there, whatever the
 * file is for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "elf.h"
#include "pvh-note.h"

/* Files for 64 bits have the same. */
typedef struct PvhNote {
    struct elf32_note header;
    char name[4];
    uint8_t entry[];
} PvhNote;

/* The entry point has the size of an address in either kind of file. */
static uint32_t entry_of(const PvhNote *note, uint64_t size)
{
    uint32_t entry_size = ldl_le_p(&note->header.n_descsz);
    uint64_t entry;

    if (ldl_le_p(&note->header.n_namesz) != sizeof(note->name) ||
        ldl_le_p(&note->header.n_type) != XEN_ELFNOTE_PHYS32_ENTRY ||
        memcmp(note->name, "Xen", sizeof(note->name)) ||
        (entry_size != 4 && entry_size != 8) ||
        size < sizeof(*note) + entry_size) {
        return 0;
    }
    entry = ldn_le_p(note->entry, entry_size);
    return entry <= UINT32_MAX ? entry : 0;
}

/*
 * Linkers put notes that are padded to 4 and to 8 bytes into one segment, so
 * that nothing tells where the next one is.
 */
uint32_t pvh_find_entry(const void *notes, uint64_t size)
{
    uint32_t entry = 0;

    for (uint64_t at = 0; !entry && at + sizeof(PvhNote) <= size; at += 4) {
        entry = entry_of(notes + at, size - at);
    }
    return entry;
}
