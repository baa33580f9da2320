// Preloaded into a program: counts its calls to the allocator in a file that others can read.
//
// The file named by ALLOCATION_COUNTS holds two 64-bit numbers, allocations and releases, mapped
// shared. It is read from outside at any time, so the program needs neither a signal nor an end.
// glibc's own names of the functions are called: there is no lookup that would itself allocate.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *old);

static struct counts {
    uint64_t allocations;
    uint64_t releases;
} before_mapping, *counts = &before_mapping;

__attribute__((constructor)) static void map_counts(void) {
    const char *path = getenv("ALLOCATION_COUNTS");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapping = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapping != MAP_FAILED) counts = mapping;
}

static void allocated(void) { __atomic_fetch_add(&counts->allocations, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) {
    allocated();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocated();
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    allocated();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    allocated();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
    void *memory = memalign(alignment, size);
    if (memory == NULL) return ENOMEM;
    *result = memory;
    return 0;
}

void free(void *old) {
    if (old != NULL) __atomic_fetch_add(&counts->releases, 1, __ATOMIC_RELAXED);
    __libc_free(old);
}
