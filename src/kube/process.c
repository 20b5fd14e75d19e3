/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

enum {
    CHUNK = 8192,
    POLL_MS = 100 /* how late we notice that the program ended while its children hold the pipes */
};

typedef struct process {
    pid_t pid;
    int fd[2]; /* its standard output and error; -1 once at the end */
    bool reaped;
    int wait_status;
} process;

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* read ends: nothing to lose */
        *fd = -1;
    }
}

/* Signals as a fresh program expects them, whatever the host program has set; a group of its own,
 * so that it can be killed with its children. */
static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none;
    sigset_t defaults;
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    (void)sigaddset(&defaults, SIGCHLD);
    (void)sigaddset(&defaults, SIGTERM);
    int rc = posix_spawnattr_setflags(
        attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    rc = rc != 0 ? rc : posix_spawnattr_setsigmask(attr, &none);
    rc = rc != 0 ? rc : posix_spawnattr_setsigdefault(attr, &defaults);
    return rc != 0 ? rc : posix_spawnattr_setpgroup(attr, 0);
}

static int spawn(pid_t *pid, char *const *argv, char *const *envp, int out_fd, int err_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0) {
        return rc;
    }
    rc = posix_spawnattr_init(&attr);
    if (rc == 0) {
        rc = set_attributes(&attr);
        rc = rc != 0 ? rc : posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
        rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, err_fd, 2);
        rc = rc != 0 ? rc : posix_spawnp(pid, argv[0], &actions, &attr, argv, envp);
        (void)posix_spawnattr_destroy(&attr);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static vmb_code start(process *p, char *const *argv, char *const *envp, vmb_error **err)
{
    int out[2] = {-1, -1};
    int errs[2] = {-1, -1};
    int errnum = 0;
    /* only our ends may not block; the ends are separate open files */
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(errs, O_CLOEXEC) != 0 ||
        fcntl(out[0], F_SETFL, O_NONBLOCK) != 0 || fcntl(errs[0], F_SETFL, O_NONBLOCK) != 0) {
        errnum = errno;
    } else {
        errnum = spawn(&p->pid, argv, envp, out[1], errs[1]);
    }
    close_fd(&out[1]);
    close_fd(&errs[1]);
    p->fd[0] = out[0];
    p->fd[1] = errs[0];
    return errnum == 0 ? VMB_OK : vmbi_fail_errno(err, errnum, "start %s", argv[0]);
}

static void reap(process *p, bool wait)
{
    while (!p->reaped) {
        pid_t rc = waitpid(p->pid, &p->wait_status, wait ? 0 : WNOHANG);
        if (rc == p->pid) {
            p->reaped = true;
        } else if (rc == 0) {
            return;
        } else if (errno != EINTR) {
            p->reaped = true; /* ECHILD: the host program ignores SIGCHLD or reaps all children */
            p->wait_status = 0;
        }
    }
}

/* Takes what a pipe holds now; true when it gave something. */
static bool drain(int *fd, vmbi_buf *to)
{
    char chunk[CHUNK];
    ssize_t n = *fd >= 0 ? read(*fd, chunk, sizeof(chunk)) : -1;
    if (n > 0) {
        size_t room = to->max - to->len;
        vmbi_buf_add(to, chunk, (size_t)n < room ? (size_t)n : room);
        explicit_bzero(chunk, (size_t)n);
        return true;
    }
    if (*fd >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
        close_fd(fd);
    }
    return false;
}

static vmb_code collect(process *p, const vmbi_limits *limits, vmbi_buf *out, vmbi_buf *errout,
                        const char *name, vmb_error **err)
{
    int cancel_fd = vmbi_cancel_fd(limits != NULL ? limits->cancel : NULL);
    for (;;) {
        bool over = p->reaped;
        bool moved = drain(&p->fd[0], out);
        moved = drain(&p->fd[1], errout) || moved;
        if (over && (!moved || out->len == out->max)) {
            return VMB_OK; /* what children of it still print does not matter */
        }
        vmb_code rc = vmbi_limits_check(limits, err, name); /* a flood leaves no pause for it */
        if (rc != VMB_OK) {
            return rc;
        }
        if (!moved) {
            bool ended = p->fd[0] < 0 && p->fd[1] < 0;
            struct pollfd fds[3] = {
                {p->fd[0], POLLIN, 0}, {p->fd[1], POLLIN, 0}, {cancel_fd, POLLIN, 0}};
            (void)poll(fds, 3, vmbi_limits_poll_ms(limits, ended ? 5 : POLL_MS));
        }
        reap(p, false);
    }
}

vmb_code vmbi_kube_process_run(char *const *argv, char *const *envp, const vmbi_limits *limits,
                               vmbi_buf *out, vmbi_buf *errout, int *wait_status, vmb_error **err)
{
    process p = {.pid = -1, .fd = {-1, -1}};
    vmb_code rc = start(&p, argv, envp, err);
    if (rc == VMB_OK) {
        rc = collect(&p, limits, out, errout, argv[0], err);
        if (rc != VMB_OK) {
            (void)kill(-p.pid, SIGKILL);
            (void)kill(p.pid, SIGKILL); /* before it has become the leader of its group */
            reap(&p, true);
        }
    }
    close_fd(&p.fd[0]);
    close_fd(&p.fd[1]);
    if (rc == VMB_OK) {
        *wait_status = p.wait_status;
    }
    return rc;
}
