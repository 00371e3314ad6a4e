/*
 * Plugin of QEMU's emulator: tells how long a lock of a program was held.
 *
 * usage: -plugin longest-hold.so,lock=ADDRESS,unlock=ADDRESS
 *
 * These are where the functions begin that take and release it, in hexadecimal.
 * A program in the lab reads the figure by longest_hold().  It counts all
 * instructions that the lab runs meanwhile, whoever runs them: with one
 * processor that is what others wait for.  They get the lock one after the
 * other, so that who waits has it when it is released.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>

#include "asked.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t lock_address, unlock_address;
static qemu_plugin_u64 all;
static struct qemu_plugin_register *rax;

static GMutex mutex;
/* who has the lock, and who waits for it; since when it is held; the longest */
static uint64_t wanted_by, since, longest;

static void ask_for_lock(unsigned int vcpu, void *unused)
{
    g_mutex_lock(&mutex);
    if (!wanted_by++) {
        since = qemu_plugin_u64_sum(all);
    }
    g_mutex_unlock(&mutex);
}

static void release(unsigned int vcpu, void *unused)
{
    uint64_t now = qemu_plugin_u64_sum(all);

    g_mutex_lock(&mutex);
    if (wanted_by) {
        wanted_by--;
        longest = MAX(longest, now - since);
        since = now;
    }
    g_mutex_unlock(&mutex);
}

static void tell(unsigned int vcpu, void *unused)
{
    g_mutex_lock(&mutex);
    answer(rax, longest);
    longest = 0;
    g_mutex_unlock(&mutex);
}

static void find_rax(qemu_plugin_id_t id, unsigned int vcpu)
{
    rax = find_register("rax");
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);

        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
            insn, QEMU_PLUGIN_INLINE_ADD_U64, all, 1);
        if (address == lock_address) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, ask_for_lock, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (address == unlock_address) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, release, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (asks(insn, "hold")) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, tell, QEMU_PLUGIN_CB_RW_REGS, NULL);
        }
    }
}

static bool parse(const char *argument)
{
    return sscanf(argument, "lock=%" SCNx64, &lock_address) == 1 ||
           sscanf(argument, "unlock=%" SCNx64, &unlock_address) == 1;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info,
                                           int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!parse(argv[i])) {
            fprintf(stderr, "longest-hold: cannot use '%s'\n", argv[i]);
            return -1;
        }
    }
    if (!lock_address || !unlock_address) {
        fprintf(stderr, "longest-hold: say lock=ADDRESS,unlock=ADDRESS\n");
        return -1;
    }
    all = qemu_plugin_scoreboard_u64(
        qemu_plugin_scoreboard_new(sizeof(uint64_t)));
    qemu_plugin_register_vcpu_init_cb(id, find_rax);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
