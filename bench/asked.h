/*
 * How plugins of QEMU's emulator answer ASK_EMULATOR()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_ASKED_H
#define BENCH_ASKED_H

#include <glib.h>
#include <string.h>

#include <qemu-plugin.h>

/* Whether an instruction is ASK_EMULATOR() with a word of these letters. */
static inline bool asks(struct qemu_plugin_insn *insn, const char *letters)
{
    /* nopl with a displacement from %rax */
    uint8_t question[7] = { 0x0f, 0x1f, 0x80 }, bytes[sizeof(question)];

    memcpy(question + 3, letters, 4);
    return qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) ==
           sizeof(bytes) && !memcmp(bytes, question, sizeof(bytes));
}

static inline struct qemu_plugin_register *find_register(const char *name)
{
    g_autoptr(GArray) registers = qemu_plugin_get_registers();

    for (guint i = 0; i < registers->len; i++) {
        qemu_plugin_reg_descriptor *each =
            &g_array_index(registers, qemu_plugin_reg_descriptor, i);

        if (!strcmp(each->name, name)) {
            return each->handle;
        }
    }
    return NULL;
}

/* Gives a number to who has asked; from a callback that may write registers. */
static inline void answer(struct qemu_plugin_register *rax, uint64_t number)
{
    g_autoptr(GByteArray) value = g_byte_array_sized_new(sizeof(number));

    g_byte_array_append(value, (const guint8 *)&number, sizeof(number));
    qemu_plugin_write_register(rax, value);
}

#endif
