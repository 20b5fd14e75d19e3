/* SPDX-License-Identifier: Apache-2.0 */
/* Flags to options, options to answers. */
#include "repo_cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool bad_text; /* something on the command line was no UTF-8 */

/* JSON has UTF-8 only. What cannot be said must not be left out: without its filter a command would
 * mean more than what was asked for. */
json_t *repo_text(const char *what, const char *value)
{
    json_t *text = json_string(value);

    if (!text) {
        cli_error("%s: \"%s\" is no UTF-8, or memory is out", what, value);
        bad_text = true;
    }
    return text;
}

char *repo_options_text(json_t *options)
{
    char *text = options && !bad_text ? json_dumps(options, JSON_COMPACT) : NULL;

    json_decref(options);
    if (!text && !bad_text) {
        cli_error("the options are no UTF-8, or memory is out");
    }
    return text;
}

json_t *repo_call(struct repo_session *s, repo_call_fn fn, json_t *options, const char *what,
                  int *result)
{
    char *text = repo_options_text(options);
    vmb_error *err = NULL;
    char *answer = NULL;
    size_t len = 0;
    json_t *value = NULL;
    vmb_code rc;

    *result = CLI_FAILED;
    if (!text) {
        return NULL;
    }
    rc = vmb_repo_set_event_fn(s->repo, repo_progress_event, &s->progress, &err);
    if (rc == VMB_OK) {
        rc = fn(s->repo, text, strlen(text), &answer, &len, &err);
    }
    free(text);
    repo_progress_end(&s->progress);
    if (rc != VMB_OK) {
        *result = repo_fail(s, what, err);
        *result = rc == VMB_E_ARG ? CLI_USAGE : *result;
        return NULL;
    }
    value = cli_take_json(answer, len);
    *result = value ? CLI_OK : CLI_FAILED;
    return value;
}

void repo_add_list(const struct cli_args *args, const char *name, json_t *options, const char *key)
{
    json_t *list = NULL;

    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].option->name, name) == 0) {
            list = list ? list : json_array();
            json_array_append_new(list, repo_text(name, args->given[i].value));
        }
    }
    if (list) {
        json_object_set_new(options, key, list);
    }
}

void repo_add_flag(const struct cli_args *args, const char *name, json_t *options, const char *key)
{
    if (cli_flag(args, name)) {
        json_object_set_new(options, key, json_true());
    }
}

void repo_add_string(const struct cli_args *args, const char *name, json_t *options,
                     const char *key)
{
    const char *value = cli_value(args, name);

    if (value) {
        json_object_set_new(options, key, repo_text(name, value));
    }
}

bool repo_add_number(const struct cli_args *args, const char *name, json_t *options,
                     const char *key)
{
    const char *value = cli_value(args, name);
    char *end = NULL;
    long long number;

    if (!value) {
        return true;
    }
    errno = 0;
    number = !strcmp(value, "unlimited") ? -1 : strtoll(value, &end, 10);
    if (errno || (end && (end == value || *end))) {
        cli_error("--%s %s: write a whole number", name, value);
        return false;
    }
    json_object_set_new(options, key, json_integer(number));
    return true;
}

bool repo_add_size(const struct cli_args *args, const char *name, json_t *options, const char *key)
{
    static const char units[] = "kmgt";
    const char *value = cli_value(args, name);
    char *end = NULL;
    const char *unit;
    long long number;
    int shift = 0;

    if (!value) {
        return true;
    }
    errno = 0;
    number = strtoll(value, &end, 10);
    if (end != value && *end) {
        unit = strchr(units, *end | 0x20);
        if (unit) {
            shift = 10 * (int)(unit - units + 1);
            end++;
        }
        end += *end == 'i' ? 1 : 0;
        end += *end == 'B' ? 1 : 0;
    }
    if (errno || end == value || *end || number < 0 || number > (LLONG_MAX >> shift)) {
        cli_error("--%s %s: write a size such as 500K, 10M or 2G", name, value);
        return false;
    }
    json_object_set_new(options, key, json_integer(number << shift));
    return true;
}

bool repo_add_time(const struct cli_args *args, const char *name, json_t *options, const char *key)
{
    static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"};
    const char *value = cli_value(args, name);
    char text[64];

    if (!value) {
        return true;
    }
    if (strchr(value, 'T')) { /* RFC 3339: the library reads it */
        json_object_set_new(options, key, repo_text(name, value));
        return true;
    }
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm parts = {.tm_isdst = -1};
        const char *end = strptime(value, forms[i], &parts);
        time_t when;

        if (!end || *end) {
            continue;
        }
        when = mktime(&parts); /* written in local time */
        gmtime_r(&when, &parts);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
        json_object_set_new(options, key, json_string(text));
        return true;
    }
    cli_error("--%s %s: write a time such as \"2026-05-20 08:00:22\"", name, value);
    return false;
}

void repo_add_filters(const struct cli_args *args, json_t *options)
{
    repo_add_list(args, "host", options, "host");
    repo_add_list(args, "tag", options, "tags");
    repo_add_list(args, "path", options, "paths");
}

void repo_add_ids(const struct cli_args *args, size_t first, json_t *options)
{
    json_t *list = NULL;

    for (size_t i = first; i < args->name_count; i++) {
        list = list ? list : json_array();
        json_array_append_new(list, repo_text("snapshot", args->names[i]));
    }
    if (list) {
        json_object_set_new(options, "snapshots", list);
    }
}

bool repo_split_snapshot(const char *text, char **id, const char **path)
{
    const char *colon = strchr(text, ':');

    *path = colon && colon[1] ? colon + 1 : NULL;
    *id = strndup(text, colon ? (size_t)(colon - text) : strlen(text));
    if (!*id) {
        cli_error("out of memory");
        return false;
    }
    return true;
}

void repo_print_line(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    fputc('\n', stdout);
}
