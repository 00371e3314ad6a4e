/*
 * A guest that converts all of its memory to shared and back
 *
 * It writes to each page whenever it became something else, so that every page
 * of every backing is used that can be.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#ifndef SIZE
#define SIZE    (64 * MIB)
#endif

/* A q35 with more has none of it between 2 and 4 GiB. */
#define LOW_END (SIZE < 0xb0000000 ? SIZE : 2048 * MIB)

/* Half of a huge page, so that all of them are split. */
#define PIECE   MIB

static const struct { uint64_t start, end; } memory[] = {
    { FREE_MEMORY, LOW_END },
    { 4096 * MIB, 4096 * MIB + SIZE - LOW_END },
};

static void convert_pieces(uint64_t gpa, uint64_t end, bool private)
{
    for (; gpa < end; gpa += PIECE) {
        must_convert(gpa, PIECE, private);
        write_pages(gpa, gpa + PIECE, private);
    }
}

static void convert_all(bool private)
{
    for (int i = 0; i < 2; i++) {
        convert_pieces(memory[i].start, memory[i].end, private);
    }
}

int guest_main(void)
{
    ask_host("phase started");
    for (int i = 0; i < 2; i++) {
        write_pages(memory[i].start, memory[i].end, true);
    }
    ask_host("phase private");
    convert_all(false);
    ask_host("phase shared");
    convert_all(true);
    ask_host("phase private again");
    return 0;
}
