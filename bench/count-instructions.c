/*
 * Plugin of QEMU's emulator: tells the lab how many instructions it ran.
 *
 * A program in the lab, or in a guest there, reads the number by
 * instructions_run().  On a noisy machine times say little, but instructions
 * are as good as the same each time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>
#include <string.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static qemu_plugin_u64 instructions;
static struct qemu_plugin_register *rax;

static void find_rax(qemu_plugin_id_t id, unsigned int vcpu)
{
    g_autoptr(GArray) registers = qemu_plugin_get_registers();

    for (guint i = 0; i < registers->len; i++) {
        qemu_plugin_reg_descriptor *each =
            &g_array_index(registers, qemu_plugin_reg_descriptor, i);

        if (!strcmp(each->name, "rax")) {
            rax = each->handle;
        }
    }
}

static void tell(unsigned int vcpu, void *unused)
{
    uint64_t sum = qemu_plugin_u64_sum(instructions);
    g_autoptr(GByteArray) value = g_byte_array_sized_new(sizeof(sum));

    g_byte_array_append(value, (const guint8 *)&sum, sizeof(sum));
    qemu_plugin_write_register(rax, value);
}

static bool asks(struct qemu_plugin_insn *insn)
{
    /* what instructions_run() has: nopl 0x6e756f63(%rax) */
    static const uint8_t question[] = {
        0x0f, 0x1f, 0x80, 0x63, 0x6f, 0x75, 0x6e
    };
    uint8_t bytes[sizeof(question)];

    return qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) ==
           sizeof(bytes) && !memcmp(bytes, question, sizeof(bytes));
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
            insn, QEMU_PLUGIN_INLINE_ADD_U64, instructions, 1);
        if (asks(insn)) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, tell, QEMU_PLUGIN_CB_RW_REGS, NULL);
        }
    }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info,
                                           int argc, char **argv)
{
    instructions = qemu_plugin_scoreboard_u64(
        qemu_plugin_scoreboard_new(sizeof(uint64_t)));
    qemu_plugin_register_vcpu_init_cb(id, find_rax);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
