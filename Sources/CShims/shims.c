#define _GNU_SOURCE
#include "shims.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Static_assert(MB_EPOLL_IN == EPOLLIN && MB_EPOLL_OUT == EPOLLOUT, "epoll constants");
_Static_assert(MB_EPOLL_ERR == EPOLLERR && MB_EPOLL_HUP == EPOLLHUP, "epoll constants");
_Static_assert(MB_EPOLL_RDHUP == EPOLLRDHUP && MB_EPOLL_EDGE == EPOLLET, "epoll constants");

int mb_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event);
}

int mb_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_ADD, fd, events, token);
}

int mb_epoll_remove(int epoll, int fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

enum { BATCH = 256 };

int mb_epoll_wait(int epoll, mb_event *out, int capacity, int64_t timeout_ns) {
    struct epoll_event ready[BATCH];
    struct timespec limit = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    if (capacity > BATCH) capacity = BATCH;
    int n = epoll_pwait2(epoll, ready, capacity, timeout_ns < 0 ? NULL : &limit, NULL);
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
        // Before Linux 5.11, or where a filter of system calls does not know it: milliseconds,
        // rounded up so that nobody is woken before his time.
        int64_t ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
        n = epoll_wait(epoll, ready, capacity, ms > INT32_MAX ? INT32_MAX : (int)ms);
    }
    for (int i = 0; i < n; i++) {
        out[i] = (mb_event){.events = ready[i].events, .token = ready[i].data.u64};
    }
    return n;
}

int mb_accept(int listener, void *peer, unsigned size) {
    socklen_t length = size;
    return accept4(listener, peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int mb_sized_pipe(int *exit, int *entry, int size) {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return -1;
    fcntl(ends[1], F_SETPIPE_SZ, size);
    *exit = ends[0];
    *entry = ends[1];
    return 0;
}

long mb_splice(int from, int to, size_t count) {
    return splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int mb_event_counter(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

void mb_event_counter_add(int counter) { eventfd_write(counter, 1); }

void mb_event_counter_clear(int counter) {
    eventfd_t value;
    eventfd_read(counter, &value);
}

int mb_signal_descriptor(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int mb_signal_next(int descriptor) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

void mb_set_thread_name(const char *name) { pthread_setname_np(pthread_self(), name); }

int mb_set_timer_slack(uint64_t nanoseconds) {
    return prctl(PR_SET_TIMERSLACK, (unsigned long)nanoseconds);
}

// Segments that were writable while the loader relocated them hold what is in no file.
static int release(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size;
    uintptr_t page = *(const uintptr_t *)context;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) continue;
        uintptr_t start = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        // Where it cannot be, such as of the kernel's own object, all stays as it is.
        madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void mb_release_program(void) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    dl_iterate_phdr(release, &page);
}
