/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup schedule next: when a cron expression is due. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct cli_option cli_schedule_options[] = {
    {"count", 0, CLI_STRING, "N", "how many times to show, 1 to 1000; default 5"},
    {"timezone", 0, CLI_STRING, "ZONE",
     "of an expression without TZ=…, such as Europe/Berlin; default UTC"},
    {"after", 0, CLI_STRING, "TIME", "start after 2026-11-24T10:00:00Z; default now"},
    {"output", 'o', CLI_STRING, "FORMAT", "table or json; default table"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static bool read_count(const struct cli_args *args, int *out)
{
    const char *text = cli_value(args, "count");
    int n = 0;

    *out = 5;
    if (!text) {
        return true;
    }
    for (const char *p = text; *p >= '0' && *p <= '9' && n <= 1000; p++) {
        n = n * 10 + (*p - '0');
    }
    if (n < 1 || n > 1000 || strspn(text, "0123456789") != strlen(text)) {
        cli_error("--count %s: write a number from 1 to 1000", text);
        return false;
    }
    *out = n;
    return true;
}

static bool read_after(const struct cli_args *args, int64_t *out)
{
    const char *text = cli_value(args, "after");
    struct tm parts = {0};
    const char *end;

    *out = (int64_t)time(NULL) * 1000000000;
    if (!text) {
        return true;
    }
    end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (!end || *end) {
        cli_error("--after %s: write a time in UTC like 2026-11-24T10:00:00Z", text);
        return false;
    }
    *out = (int64_t)timegm(&parts) * 1000000000;
    return true;
}

static void format_time(int64_t ns, char out[32])
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm parts;

    out[0] = '\0';
    if (gmtime_r(&seconds, &parts)) {
        strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
}

int cli_schedule_next(struct cli_args *args)
{
    enum cli_format format;
    json_t *times = NULL;
    vmb_error *err = NULL;
    int64_t at;
    int count;

    if (args->name_count == 0) {
        cli_error("no expression is given: vmbackup schedule next \"0 22 * * *\"");
        return CLI_USAGE;
    }
    if (!cli_output_format(args, &format) || !read_count(args, &count) || !read_after(args, &at)) {
        return CLI_USAGE;
    }
    times = json_array();
    for (int i = 0; i < count; i++) {
        char text[32];

        if (vmb_schedule_next(args->names[0], cli_value(args, "timezone"), at, &at, &err) !=
            VMB_OK) {
            json_decref(times);
            cli_error("%s", vmb_error_message(err));
            vmb_error_free(err);
            return CLI_FAILED;
        }
        format_time(at, text);
        json_array_append_new(times, json_string(text));
    }
    if (format == CLI_TABLE) {
        const json_t *one;
        size_t index;

        json_array_foreach(times, index, one)
        {
            printf("%s\n", json_string_value(one));
        }
    } else {
        cli_print_value(format, times);
    }
    json_decref(times);
    return CLI_OK;
}
