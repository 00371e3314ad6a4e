/*
 * Conversion of memory by the hypercall KVM_HC_MAP_GPA_RANGE
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TARGET_I386_KVM_MAP_GPA_RANGE_H
#define TARGET_I386_KVM_MAP_GPA_RANGE_H

#include "exec/hwaddr.h"
#include "hw/core/cpu.h"

/**
 * map_gpa_range: convert memory for a guest
 * @start: guest-physical address
 * @size: in bytes
 * @to_private: what the memory is to be
 *
 * Context: the vCPU's thread, without the BQL.
 *
 * Return: 0; -EINPROGRESS if the vCPU is to stop, and map_gpa_range_finish()
 * goes on; or another negative errno
 */
int map_gpa_range(hwaddr start, uint64_t size, bool to_private);

/**
 * map_gpa_range_pre_fault: map what was converted, before the guest uses it
 * @cpu: the vCPU
 * @start: guest-physical address
 * @size: in bytes
 *
 * Not in place, where that takes many times as long as the conversion itself,
 * nor more than RAM_CONVERSION_STEP, of which guests use little at first, as
 * Linux does of its bounce buffers: it would all be allocated.  If the vCPU is
 * to stop, or KVM refuses, the rest is left to accesses.
 *
 * Context: the vCPU's thread, without the BQL.
 */
void map_gpa_range_pre_fault(CPUState *cpu, hwaddr start, uint64_t size);

/**
 * map_gpa_range_answer: encode the result of the hypercall
 * @ret: from map_gpa_range()
 *
 * KVM hands this on to guests that make the hypercall themselves.  For those of
 * SEV-SNP and TDX it answers what they asked of the firmware's or module's
 * interface, and takes nothing but 0, EINVAL and EAGAIN.
 */
uint64_t map_gpa_range_answer(int ret);

/**
 * map_gpa_range_finish: go on with what was left when the vCPU had to stop
 * @cpu: the vCPU
 *
 * If it is to stop again, more is left.
 *
 * Context: the vCPU's thread, without the BQL, before it runs.
 */
void map_gpa_range_finish(CPUState *cpu);

#endif
