/*
 * guest_memfd memory, as the host and the guest see it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MEMORY_H
#define MEMORY_H

#include "vm.h"

#define SENTINEL        0x5e5e5e5e5e5e5e5eull

struct mem {
    struct vm *vm;
    int fd;
    size_t npages;
    char *map;
};

/* To be called first: SIGBUS is caught, and a broken pipe is an error. */
void signals_init(void);
/* Returns the value at the address, or -1 if reading it raises SIGBUS. */
int64_t peek(const void *addr);
/* Returns false if writing to the address raises SIGBUS. */
bool poke(void *addr, uint32_t value);
bool accessible(const void *addr);
/* Makes a page that is mapped at the address go bad; false if it cannot. */
bool poison(void *addr);

/* Return the file, or -1 and errno. */
int gmem_create(struct vm *vm, size_t size, uint64_t flags);
int gmem_create_huge(struct vm *vm, size_t size, uint64_t flags, int order);

/* A file that can be mapped, and its mapping. */
void mem_create_unbound(struct mem *mem, struct vm *vm, size_t npages,
                        uint64_t flags);
/* With a memslot for it. */
void mem_create(struct mem *mem, struct vm *vm, size_t npages, uint64_t flags);
/* With a memslot, and of huge pages of the given order. */
void mem_create_huge(struct mem *mem, struct vm *vm, size_t npages,
                     uint64_t flags, int order);
void mem_destroy(struct mem *mem);
char *page(struct mem *mem, size_t n);

/* Returns 0 or -errno.  @err gets error_offset, which is SENTINEL if unset. */
int convert_bytes(int fd, uint64_t offset, uint64_t size, uint64_t attrs,
                  uint64_t *err);
/* With an argument that the kernel cannot write to. */
int convert_read_only(int fd, uint64_t offset, uint64_t size, uint64_t attrs);
/* In pages.  Again if a signal comes, or what io_uring does interrupts it. */
int convert(struct mem *mem, size_t first, size_t npages, bool private,
            uint64_t *err);
int to_private(struct mem *mem, size_t first, size_t npages);
int to_shared(struct mem *mem, size_t first, size_t npages);
/* With a bound, as short-lived references of the kernel are legitimate. */
int to_private_retry(struct mem *mem, size_t first, size_t npages,
                     unsigned int *retries);

int punch(int fd, uint64_t offset, uint64_t size);
int allocate(int fd, uint64_t offset, uint64_t size);

int64_t guest_peek(struct mem *mem, size_t n);
int guest_poke(struct mem *mem, size_t n, uint32_t value);

#endif
