/*
 * Plugin of QEMU's emulator: tells which code the lab's user space ran.
 *
 * usage: -plugin profile-instructions.so,out=FILE
 *
 * At each profile_mark(), FILE gets a line "mark" and then, for each block of
 * code that ran since the mark before, its address and how many instructions
 * of it ran, in hexadecimal.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>

#include "asked.h"
#include "user-space.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

struct block {
    uint64_t pc, instructions, runs;
};

static GMutex lock;
static GPtrArray *blocks;
static FILE *out;

static void ran(unsigned int vcpu, void *block)
{
    __atomic_add_fetch(&((struct block *)block)->runs, 1, __ATOMIC_RELAXED);
}

static void write_block(void *data, void *unused)
{
    struct block *block = data;
    uint64_t runs = __atomic_exchange_n(&block->runs, 0, __ATOMIC_RELAXED);

    if (runs) {
        fprintf(out, "%" PRIx64 " %" PRIx64 "\n", block->pc,
                runs * block->instructions);
    }
}

static void mark(unsigned int vcpu, void *unused)
{
    g_mutex_lock(&lock);
    fprintf(out, "mark\n");
    g_ptr_array_foreach(blocks, write_block, NULL);
    fflush(out);
    g_mutex_unlock(&lock);
}

static void count(struct qemu_plugin_tb *tb)
{
    struct block *block = g_new0(struct block, 1);

    block->pc = qemu_plugin_tb_vaddr(tb);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    g_mutex_lock(&lock);
    g_ptr_array_add(blocks, block);
    g_mutex_unlock(&lock);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, ran, QEMU_PLUGIN_CB_NO_REGS,
                                         block);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    if (is_user_space(tb)) {
        count(tb);
    }
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        if (asks(insn, "prof")) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, mark, QEMU_PLUGIN_CB_NO_REGS, NULL);
        }
    }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info,
                                           int argc, char **argv)
{
    if (argc != 1 || !g_str_has_prefix(argv[0], "out=")) {
        fprintf(stderr, "profile-instructions: say out=FILE\n");
        return -1;
    }
    out = fopen(argv[0] + strlen("out="), "w");
    if (!out) {
        perror(argv[0]);
        return -1;
    }
    blocks = g_ptr_array_new();
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
