/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo check, forget, prune and unlock. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>

/* ---- check ----------------------------------------------------------------------------------- */

const struct cli_option cli_repo_check_options[] = {
    {"read-data", 0, CLI_BOOL, NULL, "read every pack and verify what is in it"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

int cli_repo_check(struct cli_args *args)
{
    struct repo_session s;
    json_t *o;
    json_t *v;
    long long errors;
    int result = repo_open(&s, args);

    if (result != CLI_OK) {
        return result;
    }
    o = json_object();
    repo_add_flag(args, "read-data", o, "readData");
    repo_progress_init(&s.progress, NULL, s.quiet, s.json);
    v = repo_call(&s, vmb_repo_check, o, "check", &result);
    if (v) {
        errors = cli_number(v, "errors", NULL);
        result = errors > 0 ? CLI_FAILED : CLI_OK;
        if (s.json) {
            repo_print_line(v);
        } else if (errors > 0) {
            cli_error("%lld errors were found: make a copy of the repository before you repair it",
                      errors);
        } else if (!s.quiet) {
            if (cli_number(v, "hints", NULL) > 0) {
                printf("%lld harmless leftovers: \"vmbackup repo prune\" removes them\n",
                       cli_number(v, "hints", NULL));
            }
            printf("no errors were found\n");
        }
    }
    json_decref(v);
    repo_close(&s);
    return result;
}

/* ---- prune ----------------------------------------------------------------------------------- */

#define PRUNE_OPTIONS                                                                              \
    {"max-unused", 0, CLI_STRING, "PERCENT",                                                       \
     "how much of the repository may stay unused; default 5"},                                     \
        {"max-repack-size", 0, CLI_STRING, "SIZE", "rewrite at most so much"},                     \
    {                                                                                              \
        "dry-run", 'n', CLI_BOOL, NULL, "only say what would be done"                              \
    }

const struct cli_option cli_repo_prune_options[] = {PRUNE_OPTIONS, {NULL, 0, CLI_BOOL, NULL, NULL}};

/* "5%" and "5" are the same, as with restic. */
static bool add_max_unused(const struct cli_args *args, json_t *o)
{
    const char *value = cli_value(args, "max-unused");
    char *end = NULL;
    long long number = value ? strtoll(value, &end, 10) : 0;

    if (value && (end == value || (*end && strcmp(end, "%") != 0))) {
        cli_error("--max-unused %s: write a percentage such as 5", value);
        return false;
    }
    if (value) {
        json_object_set_new(o, "maxUnused", json_integer(number));
    }
    return true;
}

static int prune(struct repo_session *s)
{
    const struct cli_args *args = s->args;
    json_t *o = json_object();
    char unused[32];
    char freed[32];
    json_t *v;
    int result;

    repo_add_flag(args, "dry-run", o, "dryRun");
    if (!add_max_unused(args, o) || !repo_add_size(args, "max-repack-size", o, "maxRepackSize")) {
        json_decref(o);
        return CLI_USAGE;
    }
    repo_progress_init(&s->progress, NULL, s->quiet, s->json);
    v = repo_call(s, vmb_repo_prune, o, "prune", &result);
    if (v && s->json) {
        repo_print_line(v);
    } else if (v && !s->quiet) {
        repo_bytes((double)cli_number(v, "bytesUnused", NULL), unused, sizeof(unused));
        repo_bytes((double)cli_number(v, "bytesFreed", NULL), freed, sizeof(freed));
        printf(
            "used:   %lld blobs\nunused: %lld blobs, %s\npacks:  %lld kept, %lld rewritten, %lld "
            "deleted\n%s %s\n",
            cli_number(v, "blobsUsed", NULL), cli_number(v, "blobsUnused", NULL), unused,
            cli_number(v, "packsKept", NULL), cli_number(v, "packsRepacked", NULL),
            cli_number(v, "packsDeleted", NULL),
            json_is_true(json_object_get(v, "dryRun")) ? "would free" : "freed", freed);
    }
    json_decref(v);
    return result;
}

int cli_repo_prune(struct cli_args *args)
{
    struct repo_session s;
    int result = repo_open(&s, args);

    if (result == CLI_OK) {
        result = prune(&s);
        repo_close(&s);
    }
    return result;
}

/* ---- forget ---------------------------------------------------------------------------------- */

const struct cli_option cli_repo_forget_options[] = {
    {"keep-last", 'l', CLI_STRING, "N", "keep the last N snapshots; unlimited keeps all"},
    {"keep-hourly", 'H', CLI_STRING, "N", "keep the last N hourly snapshots"},
    {"keep-daily", 'd', CLI_STRING, "N", "keep the last N daily snapshots"},
    {"keep-weekly", 'w', CLI_STRING, "N", "keep the last N weekly snapshots"},
    {"keep-monthly", 'm', CLI_STRING, "N", "keep the last N monthly snapshots"},
    {"keep-yearly", 'y', CLI_STRING, "N", "keep the last N yearly snapshots"},
    {"keep-within", 0, CLI_STRING, "SPAN", "keep those of a span such as 1y5m7d2h"},
    {"keep-within-hourly", 0, CLI_STRING, "SPAN", "keep hourly ones of a span"},
    {"keep-within-daily", 0, CLI_STRING, "SPAN", "keep daily ones of a span"},
    {"keep-within-weekly", 0, CLI_STRING, "SPAN", "keep weekly ones of a span"},
    {"keep-within-monthly", 0, CLI_STRING, "SPAN", "keep monthly ones of a span"},
    {"keep-within-yearly", 0, CLI_STRING, "SPAN", "keep yearly ones of a span"},
    {"keep-tag", 0, CLI_LIST, "TAG[,TAG]", "keep those with these tags; may be repeated"},
    {"host", 0, CLI_LIST, "NAME", "only snapshots of this host"},
    {"tag", 0, CLI_LIST, "TAG[,TAG]", "only snapshots with these tags"},
    {"path", 0, CLI_LIST, "PATH", "only snapshots of this path"},
    {"group-by", 'g', CLI_STRING, "KEYS",
     "host,paths,tags in any choice, or none; default host,paths"},
    {"unsafe-allow-remove-all", 0, CLI_BOOL, NULL, "a policy may remove all of a group"},
    {"compact", 'c', CLI_BOOL, NULL, "no tables, only counts"},
    {"prune", 0, CLI_BOOL, NULL, "drop the data that is no longer needed as well"},
    PRUNE_OPTIONS,
    {NULL, 0, CLI_BOOL, NULL, NULL}};

/* Flags of forget and the options they become. */
static const struct {
    const char *flag;
    const char *key;
    bool number;
} policy[] = {
    {"keep-last", "keepLast", true},
    {"keep-hourly", "keepHourly", true},
    {"keep-daily", "keepDaily", true},
    {"keep-weekly", "keepWeekly", true},
    {"keep-monthly", "keepMonthly", true},
    {"keep-yearly", "keepYearly", true},
    {"keep-within", "keepWithin", false},
    {"keep-within-hourly", "keepWithinHourly", false},
    {"keep-within-daily", "keepWithinDaily", false},
    {"keep-within-weekly", "keepWithinWeekly", false},
    {"keep-within-monthly", "keepWithinMonthly", false},
    {"keep-within-yearly", "keepWithinYearly", false},
    {"group-by", "groupBy", false},
};

static json_t *forget_options(const struct cli_args *args)
{
    json_t *o = json_object();

    for (size_t i = 0; i < sizeof(policy) / sizeof(policy[0]); i++) {
        if (!policy[i].number) {
            repo_add_string(args, policy[i].flag, o, policy[i].key);
        } else if (!repo_add_number(args, policy[i].flag, o, policy[i].key)) {
            json_decref(o);
            return NULL;
        }
    }
    if (!strcmp(cli_text(o, "groupBy", NULL), "none")) {
        json_object_set_new(o, "groupBy", json_string(""));
    }
    repo_add_ids(args, 0, o);
    repo_add_filters(args, o);
    repo_add_list(args, "keep-tag", o, "keepTags");
    repo_add_flag(args, "dry-run", o, "dryRun");
    repo_add_flag(args, "unsafe-allow-remove-all", o, "unsafeAllowRemoveAll");
    return o;
}

/* "host vm, paths [/a]" of a group. */
static void print_group(const json_t *group)
{
    char *paths = cli_join(json_object_get(group, "paths"), ", ", "");
    char *tags = cli_join(json_object_get(group, "tags"), ", ", "");
    const char *host = cli_text(group, "host", NULL);

    if (*host || (paths && *paths) || (tags && *tags)) {
        printf("snapshots for (");
        printf("%s%s", *host ? "host " : "", host);
        if (paths && *paths) {
            printf("%spaths [%s]", *host ? ", " : "", paths);
        }
        if (tags && *tags) {
            printf("%stags [%s]", *host || (paths && *paths) ? ", " : "", tags);
        }
        printf("):\n\n");
    }
    free(paths);
    free(tags);
}

static size_t print_groups(const json_t *groups, bool compact, bool dry_run)
{
    const json_t *group;
    size_t index;
    size_t removed = 0;

    json_array_foreach(groups, index, group)
    {
        const json_t *keep = json_object_get(group, "keep");
        const json_t *gone = json_object_get(group, "remove");

        removed += json_array_size(gone);
        print_group(group);
        if (json_array_size(keep) > 0) {
            printf("keep %zu snapshots:\n", json_array_size(keep));
            if (!compact) {
                repo_print_snapshots(keep, json_object_get(group, "reasons"));
                printf("\n");
            }
        }
        if (json_array_size(gone) > 0) {
            printf("%s %zu snapshots:\n", dry_run ? "would remove" : "remove",
                   json_array_size(gone));
            if (!compact) {
                repo_print_snapshots(gone, NULL);
                printf("\n");
            }
        }
    }
    return removed;
}

int cli_repo_forget(struct cli_args *args)
{
    struct repo_session s;
    json_t *o = forget_options(args);
    json_t *groups;
    bool dry_run = cli_flag(args, "dry-run");
    int result;

    if (!o) {
        return CLI_USAGE;
    }
    result = repo_open(&s, args);
    if (result != CLI_OK) {
        json_decref(o);
        return result;
    }
    repo_progress_init(&s.progress, NULL, s.quiet, s.json);
    groups = repo_call(&s, vmb_repo_forget, o, "forget", &result);
    if (groups && s.json) {
        repo_print_line(groups);
    } else if (groups && !s.quiet) {
        size_t removed;

        cli_plain(groups);
        removed = print_groups(groups, cli_flag(args, "compact"), dry_run);
        printf("%zu snapshots %s\n", removed, dry_run ? "would be removed" : "removed");
    }
    json_decref(groups);
    if (result == CLI_OK && cli_flag(args, "prune")) {
        result = prune(&s);
    }
    repo_close(&s);
    return result;
}

/* ---- unlock ---------------------------------------------------------------------------------- */

const struct cli_option cli_repo_unlock_options[] = {
    {"remove-all", 0, CLI_BOOL, NULL, "remove every lock, also of processes that are at work"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

int cli_repo_unlock(struct cli_args *args)
{
    struct repo_session s;
    vmb_error *err = NULL;
    size_t removed = 0;
    int result = repo_open(&s, args);

    if (result != CLI_OK) {
        return result;
    }
    if (vmb_repo_unlock(s.repo, cli_flag(args, "remove-all"), &removed, &err) != VMB_OK) {
        result = repo_fail(&s, "unlock", err);
    } else if (s.json) {
        json_t *line = json_pack("{s:I}", "removed", (json_int_t)removed);

        repo_print_line(line);
        json_decref(line);
    } else if (!s.quiet) {
        printf("removed %zu locks\n", removed);
    }
    repo_close(&s);
    return result;
}
