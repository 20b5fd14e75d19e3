/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of a call on a repository: how much, how fast, how long still, how well it shrinks. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000000LL
enum { PLAIN_INTERVAL_S = 10 };

long long repo_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * SECOND + t.tv_nsec;
}

void repo_bytes(double bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;

    while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, unit ? "%.3f %s" : "%.0f %s", bytes, units[unit]);
}

void repo_duration(double seconds, char *out, size_t size)
{
    long long s = seconds > 0 ? (long long)seconds : 0;

    if (s >= 3600) {
        snprintf(out, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(out, size, "%lld:%02lld", s / 60, s % 60);
    }
}

void repo_progress_init(struct repo_progress *p, const char *verb, bool quiet, bool json)
{
    *p = (struct repo_progress){.verb = verb, .quiet = quiet, .json = json, .total = -1};
    p->terminal = !json && isatty(STDERR_FILENO) == 1;
    p->start_ns = repo_now_ns();
    p->printed_ns = p->start_ns;
}

/* Removes the open line, so that the next one starts at the left. */
static void close_line(struct repo_progress *p)
{
    if (p->line_open) {
        fputs("\r\033[K", stderr);
        p->line_open = false;
    }
}

void repo_progress_end(struct repo_progress *p)
{
    close_line(p);
    fflush(stderr);
}

/* File names may hold what a terminal obeys. */
static void print_plain(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

/* The text with U+FFFD for bytes that are no UTF-8: names of files may be anything. */
json_t *repo_lossy(const char *text)
{
    json_t *value = json_string(text);
    char *copy = value ? NULL : malloc(3 * strlen(text) + 1);
    size_t len = 0;

    while (copy && *text) {
        size_t n = 1;
        json_t *part = json_stringn(text, n);

        while (!part && n < 4 && text[n]) {
            part = json_stringn(text, ++n);
        }
        memcpy(copy + len, part ? text : "\xef\xbf\xbd", part ? n : 3);
        len += part ? n : 3;
        text += part ? n : 1;
        json_decref(part);
    }
    if (copy) {
        value = json_stringn(copy, len);
        free(copy);
    }
    return value;
}

static void print_warning(struct repo_progress *p, const vmb_event *event)
{
    const char *subject = vmb_event_subject(event);

    p->warnings++;
    close_line(p);
    if (p->json) {
        json_t *line =
            json_pack("{s:s,s:{s:o},s:s,s:o}", "message_type", "error", "error", "message",
                      repo_lossy(vmb_event_text(event)), "during", p->verb ? p->verb : "", "item",
                      repo_lossy(subject));

        json_dumpf(line, stderr, JSON_COMPACT);
        json_decref(line);
    } else {
        fputs(vmb_event_level(event) >= VMB_LOG_ERROR ? "error: " : "warning: ", stderr);
        print_plain(stderr, subject);
        fputs(*subject ? ": " : "", stderr);
        print_plain(stderr, vmb_event_text(event));
    }
    fputc('\n', stderr);
}

static void print_json(const struct repo_progress *p, double seconds, long long done,
                       long long total)
{
    json_t *line = json_pack("{s:s,s:I,s:I}", "message_type", "status", "seconds_elapsed",
                             (json_int_t)seconds, "bytes_done", (json_int_t)done);

    (void)p;
    if (total >= 0) {
        json_object_set_new(line, "total_bytes", json_integer(total));
        json_object_set_new(line, "percent_done",
                            json_real(total > 0 ? (double)done / (double)total : 1));
        if (done > 0 && total > done) {
            double left = seconds * (double)(total - done) / (double)done;

            json_object_set_new(line, "seconds_remaining", json_integer((json_int_t)left));
        }
    }
    repo_print_line(line);
    json_decref(line);
    fflush(stdout);
}

static void print_text(struct repo_progress *p, double seconds, long long done, long long total,
                       long long stored)
{
    char text[32];

    close_line(p);
    repo_duration(seconds, text, sizeof(text));
    fprintf(stderr, "[%s]", text);
    if (total > 0) {
        fprintf(stderr, " %.2f%%", 100 * (double)done / (double)total);
    }
    repo_bytes((double)done, text, sizeof(text));
    fprintf(stderr, " %s %s", p->verb, text);
    if (total >= 0) {
        repo_bytes((double)total, text, sizeof(text));
        fprintf(stderr, " of %s", text);
    }
    repo_bytes(seconds > 0.05 ? (double)done / seconds : 0, text, sizeof(text));
    fprintf(stderr, ", %s/s", text);
    if (total > done && done > 0) {
        repo_duration(seconds * (double)(total - done) / (double)done, text, sizeof(text));
        fprintf(stderr, ", ETA %s", text);
    }
    if (stored > 0) {
        fprintf(stderr, ", %.1f:1", (double)done / (double)stored);
    }
    if (p->terminal) {
        p->line_open = true;
    } else {
        fputc('\n', stderr);
    }
    fflush(stderr);
}

void repo_progress_event(void *user, const vmb_event *event)
{
    struct repo_progress *p = user;
    long long now = repo_now_ns();
    long long interval = p->terminal ? 0 : p->json ? SECOND : PLAIN_INTERVAL_S * SECOND;
    double seconds = (double)(now - p->start_ns) / 1e9;
    long long done = vmb_event_done(event);
    long long total = vmb_event_total(event);

    if (vmb_event_kind(event) == VMB_EVENT_LOG) {
        print_warning(p, event);
        return;
    }
    if (vmb_event_kind(event) != VMB_EVENT_PROGRESS || p->quiet || !p->verb ||
        now - p->printed_ns < interval) {
        return;
    }
    if (total < 0 && p->scan_total) {
        total = p->scan_total();
        total = total >= done ? total : -1; /* it grew meanwhile */
    }
    p->printed_ns = now;
    p->shown = true;
    if (p->json) {
        print_json(p, seconds, done, total);
    } else {
        print_text(p, seconds, done, total, strtoll(vmb_event_text(event), NULL, 10));
    }
}
