// Child processes and their CPU clocks: what has to happen between fork and exec, which Swift must
// not do, and the macros of <sys/wait.h>. Errors come back as errno values, 0 is success.
#ifndef MESHBENCH_PROCESS_H
#define MESHBENCH_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What a child is to be. Every descriptor not named here is closed when the program starts.
typedef struct {
    const char *path;          // absolute
    char *const *arguments;    // ends with NULL
    char *const *environment;  // ends with NULL
    const char *directory;     // NULL: the parent's
    int input;                 // becomes descriptor 0; -1: /dev/null
    int output;                // becomes descriptor 1; -1: /dev/null
    int error;                 // becomes descriptor 2; -1: /dev/null
    int lifeline;              // becomes descriptor 3; -1: none
    int death_signal;          // sent to the child when the calling thread ends; 0: none
} mb_spawn_request;

// Starts a program in a process group of its own, with default signal handling and nothing blocked.
// Returns once the program has replaced the child's image, or the errno that prevented it.
int mb_spawn(const mb_spawn_request *request, pid_t *pid);

// A descriptor that becomes readable when the process ends; -1 and errno on failure.
int mb_pidfd(pid_t pid);

typedef struct {
    int ended;   // 0: still running
    int code;    // exit code, if it exited
    int signal;  // the signal that killed it; 0 if it exited
} mb_exit;

// Looks at a child without waiting. With `keep` a dead child remains a zombie and its number stays
// its own.
int mb_wait(pid_t pid, int keep, mb_exit *result);

// Reaps any one child that has ended: its number, 0 if none has, -ECHILD if there is none at all.
pid_t mb_reap_any(mb_exit *result);

// Orphaned descendants become children of this process, not of init.
int mb_become_subreaper(void);

// CPU time of all threads of a process, those that have ended included; ESRCH if it is gone.
int mb_process_cpu(pid_t pid, int64_t *nanoseconds);

// A pipe whose ends close on exec: reading, writing.
int mb_pipe(int ends[2]);

// FNV-1a, 64 bits, of a whole file.
int mb_hash_file(const char *path, uint64_t *hash);

#endif
