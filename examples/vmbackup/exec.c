/* SPDX-License-Identifier: Apache-2.0 */
/* An exec provider for --exec-command: a program on this machine runs the commands of hooks. It is
 * called as  PROGRAM NAMESPACE POD CONTAINER COMMAND…  and its exit code is the hook's. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct child {
    pid_t pid;
    int pipes[2]; /* what the child writes to its stdout and stderr */
};

static void close_pipes(struct child *child)
{
    for (size_t i = 0; i < 2; i++) {
        if (child->pipes[i] >= 0) {
            close(child->pipes[i]);
            child->pipes[i] = -1;
        }
    }
}

/* Starts the program in a process group of its own, so that all of it can be ended. */
static int start(struct child *child, char **argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int out[2] = {-1, -1};
    int errout[2] = {-1, -1};
    int failure;

    if (pipe2(out, O_CLOEXEC) != 0) {
        return errno;
    }
    if (pipe2(errout, O_CLOEXEC) != 0) {
        failure = errno;
        close(out[0]);
        close(out[1]);
        return failure;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, errout[1], 2);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    failure = posix_spawnp(&child->pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(errout[1]);
    child->pipes[0] = out[0];
    child->pipes[1] = errout[0];
    if (failure != 0) {
        close_pipes(child);
    }
    return failure;
}

/* How long to wait for output: the job's time, at most a second, in milliseconds. */
static int wait_ms(const vmb_job *job)
{
    int64_t left = vmb_job_remaining_ns(job);

    return left < 0 || left > 1000000000 ? 1000 : (int)(left / 1000000) + 1;
}

/* Reads what has come; closes the pipe at its end. */
static vmb_code drain(int *fd, vmb_sink *sink, vmb_error **err)
{
    char buffer[4096];
    ssize_t n = read(*fd, buffer, sizeof(buffer));

    if (n > 0) {
        return vmb_sink_write(sink, buffer, (size_t)n, err);
    }
    if (n == 0 || errno != EINTR) {
        close(*fd);
        *fd = -1;
    }
    return VMB_OK;
}

/* Passes output on until the child closes both pipes or the job ends. */
static vmb_code pump(struct child *child, vmb_job *job, vmb_sink *out, vmb_sink *errout,
                     vmb_error **err)
{
    vmb_sink *sinks[2] = {out, errout};
    vmb_code code = VMB_OK;

    while (code == VMB_OK && (child->pipes[0] >= 0 || child->pipes[1] >= 0)) {
        struct pollfd fds[3] = {{child->pipes[0], POLLIN, 0},
                                {child->pipes[1], POLLIN, 0},
                                {vmb_job_cancel_fd(job), POLLIN, 0}};

        if (vmb_job_cancelled(job)) {
            code = vmb_job_remaining_ns(job) == 0 ? VMB_E_TIMEOUT : VMB_E_CANCELLED;
            vmb_error_set(err, code, 0,
                          code == VMB_E_TIMEOUT ? "the command did not end in time"
                                                : "the command was cancelled");
            break;
        }
        if (poll(fds, 3, wait_ms(job)) < 0 && errno != EINTR) {
            code = VMB_E_IO;
            vmb_error_set(err, code, 0, "poll failed");
        }
        for (size_t i = 0; i < 2 && code == VMB_OK; i++) {
            if (child->pipes[i] >= 0 && fds[i].revents) {
                code = drain(&child->pipes[i], sinks[i], err);
            }
        }
    }
    return code;
}

static vmb_code run_program(void *user, vmb_job *job, const char *ns, const char *pod,
                            const char *container, const char *const *argv, size_t argc,
                            vmb_sink *out, vmb_sink *errout, int32_t *exit_code, vmb_error **err)
{
    struct child child = {.pipes = {-1, -1}};
    const char *lead[4] = {user, ns, pod, container};
    char **words = calloc(argc + 5, sizeof(*words));
    char text[512];
    int status = 0;
    int failure;
    vmb_code code;

    if (!words) {
        vmb_error_set(err, VMB_E_NOMEM, 0, "out of memory");
        return VMB_E_NOMEM;
    }
    /* posix_spawn takes pointers to char for historical reasons and changes nothing */
    memcpy(words, lead, sizeof(lead));
    memcpy(words + 4, argv, argc * sizeof(*words));
    failure = start(&child, words);
    free(words);
    if (failure != 0) {
        snprintf(text, sizeof(text), "%s: %s", (const char *)user, strerror(failure));
        vmb_error_set(err, VMB_E_IO, 0, text);
        return VMB_E_IO;
    }
    code = pump(&child, job, out, errout, err);
    if (code != VMB_OK) {
        kill(-child.pid, SIGKILL);
    }
    close_pipes(&child);
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (code == VMB_OK) {
        *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return code;
}

int cli_use_exec_command(const struct cli_args *args, vmb_ctx *ctx)
{
    const char *program = cli_value(args, "exec-command");
    vmb_exec_provider provider = {0};
    vmb_error *err = NULL;

    if (!program) {
        return CLI_OK;
    }
    provider.struct_size = sizeof(provider);
    provider.api_version = VMB_PROVIDER_API;
    provider.name = "exec-command";
    provider.user = strdup(program);
    provider.destroy = free;
    provider.exec = run_program;
    if (!provider.user) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    if (vmb_ctx_add_exec_provider(ctx, &provider, &err) != VMB_OK) {
        return cli_fail("--exec-command", err);
    }
    return CLI_OK;
}
