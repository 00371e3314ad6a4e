/*
 * What plugins of QEMU's emulator see of the lab's user space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_USER_SPACE_H
#define BENCH_USER_SPACE_H

#include <stdbool.h>

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

#endif
