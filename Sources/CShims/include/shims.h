// What Swift cannot see of the system: packed unions, macros, variadic calls, GNU extensions.
// Thin and total: each function is one call or one macro, errors come back as errno values.
#ifndef MESHBENCH_SHIMS_H
#define MESHBENCH_SHIMS_H

#include <stddef.h>
#include <stdint.h>

// One ready descriptor, out of `struct epoll_event`, which is packed and holds a union.
typedef struct {
    uint32_t events;
    uint32_t reserved;
    uint64_t token;
} mb_event;

enum {
    MB_EPOLL_IN = 0x001,
    MB_EPOLL_OUT = 0x004,
    MB_EPOLL_ERR = 0x008,
    MB_EPOLL_HUP = 0x010,
    MB_EPOLL_RDHUP = 0x2000,
    MB_EPOLL_EDGE = 1u << 31,
};

int mb_epoll_create(void);
int mb_epoll_add(int epoll, int fd, uint32_t events, uint64_t token);
int mb_epoll_remove(int epoll, int fd);
// Waits at most `timeout_ns` (negative: for ever) and fills `out`; returns the count or -1.
int mb_epoll_wait(int epoll, mb_event *out, int capacity, int64_t timeout_ns);

// Takes a waiting connection, non-blocking and close-on-exec, and writes its address, a sockaddr,
// to `peer`; -1 with errno.
int mb_accept(int listener, void *peer, unsigned size);

// A pipe that does not block and is closed on exec; `size` bytes if the system allows.
int mb_sized_pipe(int *exit, int *entry, int size);
// Moves up to `count` bytes from one descriptor to another, of which one is a pipe, without
// waiting; -1 with errno.
long mb_splice(int from, int to, size_t count);

// A counter whose descriptor is readable while it is not zero.
int mb_event_counter(void);
void mb_event_counter_add(int counter);
void mb_event_counter_clear(int counter);

// A descriptor that is readable while one of `signals` is pending; they are blocked in this thread.
int mb_signal_descriptor(const int *signals, int count);
// The next pending signal, or 0.
int mb_signal_next(int descriptor);

void mb_set_thread_name(const char *name);

// How late the kernel may wake the calling thread, to bundle wake-ups; 0: the default, 50 µs.
int mb_set_timer_slack(uint64_t nanoseconds);

// Unmaps what is mapped of the program's code and constants, and of its libraries', until it is
// used again.
void mb_release_program(void);

#endif
