/*
 * What plugins of QEMU's emulator see of the lab's user space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_USER_SPACE_H
#define BENCH_USER_SPACE_H

#include <glib.h>
#include <string.h>

#include <qemu-plugin.h>

/*
 * Programs that can be loaded anywhere, and their libraries, are far above what
 * a small guest has, and below the kernel.
 */
static inline bool is_user_space(const struct qemu_plugin_tb *tb)
{
    uint64_t pc = qemu_plugin_tb_vaddr(tb);

    return pc >= 1ull << 40 && pc < 1ull << 47;
}

/* Whether it is ASK_EMULATOR() with a word of these letters. */
static inline bool asks(struct qemu_plugin_insn *insn, const char *letters)
{
    /* nopl with a displacement from %rax */
    uint8_t question[7] = { 0x0f, 0x1f, 0x80 }, bytes[sizeof(question)];

    memcpy(question + 3, letters, 4);
    return qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) ==
           sizeof(bytes) && !memcmp(bytes, question, sizeof(bytes));
}

#endif
