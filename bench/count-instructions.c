/*
 * Plugin of QEMU's emulator: tells the lab how many instructions it ran.
 *
 * A program in the lab, or in a guest there, reads the number by
 * instructions_run() or user_instructions_run().  On a noisy machine times say
 * little, but instructions are as good as the same each time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "asked.h"
#include "user-space.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static qemu_plugin_u64 all, of_user_space;
static struct qemu_plugin_register *rax;

static void find_rax(qemu_plugin_id_t id, unsigned int vcpu)
{
    rax = find_register("rax");
}

static void tell(unsigned int vcpu, void *counter)
{
    answer(rax, qemu_plugin_u64_sum(*(qemu_plugin_u64 *)counter));
}

static void answer_if(struct qemu_plugin_insn *insn, const char *letters,
                      qemu_plugin_u64 *counter)
{
    if (asks(insn, letters)) {
        qemu_plugin_register_vcpu_insn_exec_cb(
            insn, tell, QEMU_PLUGIN_CB_RW_REGS, counter);
    }
}

static void count(struct qemu_plugin_insn *insn, qemu_plugin_u64 counter)
{
    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        insn, QEMU_PLUGIN_INLINE_ADD_U64, counter, 1);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    bool user_space = is_user_space(tb);

    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        count(insn, all);
        if (user_space) {
            count(insn, of_user_space);
        }
        answer_if(insn, "coun", &all);
        answer_if(insn, "user", &of_user_space);
    }
}

static qemu_plugin_u64 new_counter(void)
{
    return qemu_plugin_scoreboard_u64(
        qemu_plugin_scoreboard_new(sizeof(uint64_t)));
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info,
                                           int argc, char **argv)
{
    all = new_counter();
    of_user_space = new_counter();
    qemu_plugin_register_vcpu_init_cb(id, find_rax);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
