/* SPDX-License-Identifier: Apache-2.0 */
/* A backup in an event loop: the run has a thread of its own, the loop polls the run's descriptor
 * next to its others (here: standard input, where "stop" cancels).
 * usage: 04_event_loop CLUSTER-DIR STORE-DIR
 * The folders exist already; STORE-DIR is an absolute path. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vmbackup/vmbackup.h>

struct work {
    vmb_run *run;
    vmb_error *err;
    atomic_int ended;
};

static void *execute(void *data)
{
    struct work *work = data;

    (void)vmb_run_execute(work->run, &work->err); /* the phase and err tell how it went */
    atomic_store(&work->ended, 1);
    return NULL;
}

static void print_events(vmb_run *run)
{
    vmb_event *event = NULL;

    while (vmb_run_next_event(run, &event, NULL) == VMB_OK && event) {
        switch (vmb_event_kind(event)) {
        case VMB_EVENT_PHASE:
            printf("phase %s\n", vmb_event_text(event));
            break;
        case VMB_EVENT_PROGRESS:
            printf("%lld items\n", (long long)vmb_event_done(event));
            break;
        case VMB_EVENT_STORED:
            printf("stored %s\n", vmb_event_subject(event));
            break;
        default: /* skip the kinds that one does not know */
            break;
        }
        vmb_event_free(event);
        event = NULL;
    }
}

static void loop(struct work *work)
{
    struct pollfd fds[2] = {{vmb_run_fd(work->run), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    char line[64];

    while (!atomic_load(&work->ended)) {
        (void)poll(fds, 2, 100); /* the end of the run is looked for at least every 100 ms */
        if (fds[0].revents) {
            print_events(work->run);
        }
        if (fds[1].revents) {
            ssize_t n = read(STDIN_FILENO, line, sizeof(line));

            if (n >= 4 && !memcmp(line, "stop", 4)) {
                vmb_run_cancel(work->run);
            }
            if (n <= 0) {
                fds[1].fd = -1; /* poll skips negative descriptors */
            }
        }
    }
    print_events(work->run);
}

static int prepare(vmb_ctx *ctx, char **argv, struct work *work)
{
    char cluster[512];
    char location[512];
    vmb_spec *spec = NULL;
    vmb_code code;

    snprintf(cluster, sizeof(cluster), "{\"path\": \"%s\"}", argv[1]);
    snprintf(location, sizeof(location),
             "{\"apiVersion\": \"velero.io/v1\", \"kind\": \"BackupStorageLocation\", "
             "\"metadata\": {\"name\": \"default\"}, \"spec\": {\"provider\": "
             "\"vmbackup.io/dir\", \"config\": {\"path\": \"%s\"}}}",
             argv[2]);
    code = vmb_ctx_use(ctx, "cluster.dir", cluster, strlen(cluster), &work->err);
    if (code == VMB_OK) {
        code = vmb_ctx_add_location(ctx, location, strlen(location), &work->err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_new("event-loop", &spec, &work->err);
    }
    if (code == VMB_OK) {
        code = vmb_spec_add_string(spec, "spec.includedNamespaces", "other", &work->err);
    }
    if (code == VMB_OK) {
        code = vmb_run_new(ctx, spec, &work->run, &work->err);
    }
    vmb_spec_free(spec); /* the run has a copy */
    return code;
}

int main(int argc, char **argv)
{
    struct work work = {0};
    vmb_ctx *ctx = NULL;
    pthread_t thread;
    int result = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: %s CLUSTER-DIR STORE-DIR\n", argv[0]);
        return 2;
    }
    if (vmb_ctx_new(&ctx, &work.err) == VMB_OK && prepare(ctx, argv, &work) == VMB_OK &&
        pthread_create(&thread, NULL, execute, &work) == 0) {
        loop(&work);
        pthread_join(thread, NULL);
        printf("ended as %s\n", vmb_run_phase(work.run));
        result = strcmp(vmb_run_phase(work.run), "Completed") != 0;
    }
    if (work.err) {
        fprintf(stderr, "backup: %s\n", vmb_error_message(work.err));
    }
    vmb_error_free(work.err);
    vmb_run_free(work.run);
    vmb_ctx_unref(ctx);
    return result;
}
