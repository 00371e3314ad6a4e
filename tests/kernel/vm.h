/*
 * A virtual machine, and a guest that does as it is told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VM_H
#define VM_H

#include <stdbool.h>
#include <stddef.h>
#include "kvm-abi.h"

#define PAGE            4096ul
#define CODE_GPA        0x10000ul
/* There is room for 2 GiB at the first, and for almost 1 GiB at the other. */
#define DATA_GPA        0x40000000ul
#define OTHER_GPA       0xc0000000ul
#define MAX_VCPUS       4

struct vm {
    int fd;
    int nr_vcpus;
    int vcpu[MAX_VCPUS];
    struct kvm_run *run[MAX_VCPUS];
    size_t run_size;
    uint64_t mmio;      /* address of the last MMIO */
    char *code;
};

extern int kvm;

/* What the guest can do, see vm.c. */
extern const char code_start[], code_read[], code_write[], code_fill[],
                  code_compare[], code_hypercall[], code_count[], code_end[];
#define GUEST(label) code_##label

/* Opens /dev/kvm; returns why the tests cannot run, or NULL. */
const char *kvm_open(void);
int vm_cap(int fd, long cap);
bool kvm_parameter(const char *name);

void vm_create(struct vm *vm, int type, int nr_vcpus);
/* For a VM that was created without vCPUs, to have something before them. */
void vm_add_vcpus(struct vm *vm, int nr_vcpus);
void vm_destroy(struct vm *vm);
int set_region(struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t size,
               void *hva, int gmem, uint64_t offset);

/*
 * Guest accesses.  Returns 0, -errno of KVM_RUN, or the exit reason if it is
 * not the OUT that says "done".
 */
int vcpu_run(struct vm *vm, int n, const char *entry, uint32_t eax,
             uint32_t ebx, uint32_t ecx, uint32_t edx);
/* Runs on from the last exit.  Returns as vcpu_run() does. */
int vcpu_resume(struct vm *vm, int n);

/*
 * Has the guest count in each of @npages pages, which must be zero, @rounds
 * times.  Memory faults of the kind that running again mends are added to
 * @spurious.  Returns as vcpu_run() does.
 */
int vcpu_count(struct vm *vm, int n, uint64_t gpa, uint32_t npages,
               uint32_t rounds, unsigned int *spurious);

/* Maps a range beforehand.  Returns 0 or -errno, with @range what is left. */
int vcpu_pre_fault(struct vm *vm, int n, struct pre_fault *range);

/* Returns the value, -errno of KVM_RUN, or -1000 less the exit reason. */
int64_t guest_peek_gpa(struct vm *vm, uint64_t gpa);
struct memory_fault *memory_fault(struct vm *vm, int n);

#endif
