/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of a run: one line that is rewritten on a terminal, plain lines elsewhere. */
#include "cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PLAIN_INTERVAL_S = 5 };

static long long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

void cli_progress_init(struct cli_progress *progress, bool quiet)
{
    *progress = (struct cli_progress){.out = stderr, .quiet = quiet};
    progress->terminal = isatty(STDERR_FILENO) == 1;
    progress->start_ns = now_ns();
    progress->printed_ns = progress->start_ns;
}

/* Removes the open line, so that the next one starts at the left. */
static void close_line(struct cli_progress *progress)
{
    if (progress->line_open) {
        fputs("\r\033[K", progress->out);
        progress->line_open = false;
    }
}

void cli_progress_end(struct cli_progress *progress)
{
    close_line(progress);
    fflush(progress->out);
}

static void print_counts(struct cli_progress *progress, const vmb_event *event)
{
    long long now = now_ns();
    double seconds = (double)(now - progress->start_ns) / 1e9;
    long long done = vmb_event_done(event);
    long long total = vmb_event_total(event);
    double rate = seconds > 0.05 ? (double)done / seconds : 0;

    if (!progress->terminal && now - progress->printed_ns < PLAIN_INTERVAL_S * 1000000000LL) {
        return;
    }
    progress->printed_ns = now;
    close_line(progress);
    fprintf(progress->out, "%lld", done);
    if (total >= 0) {
        fprintf(progress->out, " of %lld", total);
    }
    fprintf(progress->out, " items, %.0f items/s, %.0f s", rate, seconds);
    if (progress->terminal) {
        progress->line_open = true;
    } else {
        fputc('\n', progress->out);
    }
    fflush(progress->out);
}

void cli_progress_event(void *user, const vmb_event *event)
{
    struct cli_progress *progress = user;
    char size[32];

    if (vmb_event_kind(event) == VMB_EVENT_LOG) {
        close_line(progress);
        fprintf(progress->out, "%s: %s\n",
                vmb_event_level(event) >= VMB_LOG_ERROR ? "error" : "warning",
                vmb_event_text(event));
        return;
    }
    if (progress->quiet) {
        return;
    }
    switch (vmb_event_kind(event)) {
    case VMB_EVENT_PHASE:
        close_line(progress);
        fprintf(progress->out, "phase %s\n", vmb_event_text(event));
        break;
    case VMB_EVENT_PROGRESS:
        print_counts(progress, event);
        break;
    case VMB_EVENT_HOOK:
        close_line(progress);
        fprintf(progress->out, "hook %s: %s\n", vmb_event_subject(event), vmb_event_text(event));
        break;
    case VMB_EVENT_VOLUME:
        close_line(progress);
        fprintf(progress->out, "volume %s: %s\n", vmb_event_subject(event), vmb_event_text(event));
        break;
    case VMB_EVENT_STORED:
        close_line(progress);
        cli_bytes(vmb_event_done(event), size, sizeof(size));
        fprintf(progress->out, "stored %s (%s)\n", vmb_event_subject(event), size);
        break;
    default: /* kinds of later versions */
        break;
    }
}
