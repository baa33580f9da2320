#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEPT = 4, HIGH = 64 };

// Puts `source` (or /dev/null) at `target`. Sources lie above all targets, so none is overwritten.
static int place(int source, int target) {
    if (source < 0) {
        source = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (source < 0) return errno;
    }
    if (source == target) return fcntl(source, F_SETFD, 0) < 0 ? errno : 0;
    return dup2(source, target) < 0 ? errno : 0;
}

static int raise_above_targets(int fd) {
    return fd < 0 || fd >= KEPT ? fd : fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
}

// Runs in the child, in the parent's memory: async-signal-safe calls only, nothing written but its
// own frame. Returns only if the program could not be started.
static int become(const mb_spawn_request *request, pid_t parent) {
    if (setpgid(0, 0) < 0) return errno;
    if (request->death_signal != 0) {
        if (prctl(PR_SET_PDEATHSIG, request->death_signal) < 0) return errno;
        // The parent may have died before the line above: then no signal would ever come.
        if (getppid() != parent) return ESRCH;
    }
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);

    int sources[KEPT] = {request->input, request->output, request->error, request->lifeline};
    for (int target = 0; target < KEPT; target++) {
        int raised = raise_above_targets(sources[target]);
        if (sources[target] >= 0 && raised < 0) return errno;
        sources[target] = raised;
    }
    int count = request->lifeline < 0 ? KEPT - 1 : KEPT;
    for (int target = 0; target < count; target++) {
        int error = place(sources[target], target);
        if (error != 0) return error;
    }
    if (close_range((unsigned)count, ~0u, CLOSE_RANGE_CLOEXEC) < 0) return errno;
    if (request->directory != NULL && chdir(request->directory) < 0) return errno;

    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(request->path, request->arguments, request->environment);
    return errno;
}

// vfork: the child borrows the parent's memory until exec, so that starting a process costs the
// same however large the parent is, and the errno of a failed exec comes back through a variable.
int mb_spawn(const mb_spawn_request *request, pid_t *pid) {
    sigset_t all, before;
    sigfillset(&all);
    // A handler of the parent must not run in the child, which shares its memory.
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error != 0) return error;
    volatile int failure = 0;
    pid_t parent = getpid();
    pid_t child = vfork();
    if (child == 0) {
        failure = become(request, parent);
        _exit(127);
    }
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (child < 0) return fork_error;
    if (failure != 0) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
        }
        return failure;
    }
    *pid = child;
    return 0;
}

int mb_pidfd(pid_t pid) { return pidfd_open(pid, 0); }

int mb_wait(pid_t pid, int keep, mb_exit *result) {
    siginfo_t info = {0};
    int options = WEXITED | WNOHANG | (keep ? WNOWAIT : 0);
    while (waitid(P_PID, (id_t)pid, &info, options) < 0) {
        if (errno != EINTR) return errno;
    }
    int exited = info.si_code == CLD_EXITED;
    *result = (mb_exit){
        .ended = info.si_pid == pid,
        .code = exited ? info.si_status : 0,
        .signal = exited ? 0 : info.si_status,
    };
    return 0;
}

pid_t mb_reap_any(mb_exit *result) {
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) < 0) {
        if (errno != EINTR) return -errno;
    }
    *result = (mb_exit){
        .ended = pid > 0,
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
    };
    return pid;
}

int mb_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? errno : 0; }

int mb_process_cpu(pid_t pid, int64_t *nanoseconds) {
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    if (error != 0) return error;
    struct timespec time;
    // A process that ended in between no longer has the clock.
    if (clock_gettime(clock, &time) < 0) return errno == EINVAL ? ESRCH : errno;
    *nanoseconds = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    return 0;
}

int mb_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int mb_hash_file(const char *path, uint64_t *hash) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    unsigned char buffer[64 * 1024];
    uint64_t state = 0xcbf29ce484222325u;
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) != 0) {
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) break;
        for (ssize_t i = 0; i < count; i++) state = (state ^ buffer[i]) * 0x100000001b3u;
    }
    int error = count < 0 ? errno : 0;
    close(fd);
    *hash = state;
    return error;
}
