#define _GNU_SOURCE
#include "shims.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

_Static_assert(MB_EPOLL_IN == EPOLLIN && MB_EPOLL_OUT == EPOLLOUT, "epoll constants");
_Static_assert(MB_EPOLL_ERR == EPOLLERR && MB_EPOLL_HUP == EPOLLHUP, "epoll constants");
_Static_assert(MB_EPOLL_RDHUP == EPOLLRDHUP && MB_EPOLL_EDGE == EPOLLET, "epoll constants");
_Static_assert(MB_EPOLL_EXCLUSIVE == EPOLLEXCLUSIVE, "epoll constants");

int mb_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event);
}

int mb_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_ADD, fd, events, token);
}

int mb_epoll_modify(int epoll, int fd, uint32_t events, uint64_t token) {
    return control(epoll, EPOLL_CTL_MOD, fd, events, token);
}

int mb_epoll_remove(int epoll, int fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

enum { BATCH = 256 };

int mb_epoll_wait(int epoll, mb_event *out, int capacity, int64_t timeout_ns) {
    struct epoll_event ready[BATCH];
    struct timespec limit = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    int n = epoll_pwait2(epoll, ready, capacity < BATCH ? capacity : BATCH,
                         timeout_ns < 0 ? NULL : &limit, NULL);
    for (int i = 0; i < n; i++) {
        out[i] = (mb_event){.events = ready[i].events, .token = ready[i].data.u64};
    }
    return n;
}

const void *mb_memmem(const void *haystack, size_t n, const void *needle, size_t m) {
    return memmem(haystack, n, needle, m);
}

int mb_set_parent_death_signal(int signal) { return prctl(PR_SET_PDEATHSIG, signal); }
