/*
 * Booting a kernel in place: whether all finds its place in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/loader.h"
#include "directboot-internal.h"

#define LOW_MEMORY_END  0xa0000

static const DirectbootPiece *piece_nr(const GArray *pieces, int nr)
{
    return &g_array_index(pieces, DirectbootPiece, nr);
}

static bool is_in_ram(const DirectbootPiece *piece, uint64_t below_4g)
{
    hwaddr start = piece->blob.addr, end = start + piece->room;

    return end <= LOW_MEMORY_END ||
           (start >= 1 * MiB && end <= below_4g);
}

static bool pieces_overlap(const DirectbootPiece *a, const DirectbootPiece *b)
{
    return a->blob.addr < b->blob.addr + b->room &&
           b->blob.addr < a->blob.addr + a->room;
}

/* What -device loader and the like put there */
static bool check_images(const DirectbootPiece *piece, Error **errp)
{
    ERRP_GUARD();
    hwaddr image, image_end, start = piece->blob.addr;

    if (piece->is_image || !rom_find_next(start, &image, &image_end) ||
        image >= start + piece->room) {
        return true;
    }
    error_setg(errp, "%s at 0x%" HWADDR_PRIx ", size 0x%" PRIx64 ", and an "
               "image that is loaded to 0x%" HWADDR_PRIx ", size 0x%"
               HWADDR_PRIx ", overlap", piece->name, start, piece->room, image,
               image_end - image);
    error_append_hint(errp, "Load the image to another address.\n");
    return false;
}

/* More memory makes no room for what a kernel has in the first MiB. */
static void hint_at_room(const DirectbootPiece *piece, Error **errp)
{
    error_append_hint(errp, piece->is_image && piece->blob.addr < 1 * MiB
                      ? "Link the kernel to 1 MiB, or above.\n"
                      : "Give the guest more memory, with -m.\n");
}

static bool check_piece(const GArray *pieces, int nr, uint64_t below_4g,
                        Error **errp)
{
    ERRP_GUARD();
    const DirectbootPiece *piece = piece_nr(pieces, nr);

    if (!is_in_ram(piece, below_4g)) {
        error_setg(errp, "%s at 0x%" HWADDR_PRIx ", size 0x%" PRIx64 ", is not "
                   "in RAM, of which 0x%" PRIx64 " bytes are below 4 GiB",
                   piece->name, piece->blob.addr, piece->room, below_4g);
        hint_at_room(piece, errp);
        return false;
    }
    for (int i = 0; i < nr; i++) {
        const DirectbootPiece *other = piece_nr(pieces, i);

        if (pieces_overlap(piece, other)) {
            error_setg(errp, "%s at 0x%" HWADDR_PRIx ", size 0x%" PRIx64
                       ", and %s at 0x%" HWADDR_PRIx ", size 0x%" PRIx64
                       ", overlap", piece->name, piece->blob.addr, piece->room,
                       other->name, other->blob.addr, other->room);
            hint_at_room(other, errp);
            return false;
        }
    }
    return check_images(piece, errp);
}

bool directboot_check_pieces(const GArray *pieces, uint64_t below_4g,
                             Error **errp)
{
    for (int i = 0; i < pieces->len; i++) {
        if (!check_piece(pieces, i, below_4g, errp)) {
            return false;
        }
    }
    return true;
}
