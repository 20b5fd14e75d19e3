/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the vmbackup command share: options, session, output. The program uses the
 * public API only; JSON documents that the library hands out are read with jansson. */
#ifndef VMBACKUP_CLI_H
#define VMBACKUP_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>
#include <vmbackup/vmbackup.h>

/* Exit codes of the program. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_PARTIAL = 3 };

/* ---- options.c ------------------------------------------------------------------------------- */

enum cli_kind {
    CLI_STRING, /* --name VALUE, the last one counts */
    CLI_LIST,   /* --name VALUE, may be repeated */
    CLI_BOOL    /* --name or --name=true|false */
};

struct cli_option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* 0: none */
    enum cli_kind kind;
    const char *arg; /* what to call the value in the help */
    const char *help;
};

struct cli_given {
    const struct cli_option *option;
    const char *value;
};

struct cli_args;

struct cli_command {
    const char *name;
    const char *synopsis; /* what follows the command's name */
    const char *summary;  /* one line */
    const char *details;  /* text below the synopsis; may be NULL */
    const struct cli_option *options;
    size_t max_names; /* how many names the command takes */
    bool plain;       /* takes no cluster, store and output options */
    int (*run)(struct cli_args *args);
};

struct cli_args {
    const struct cli_command *command;
    struct cli_given *given;
    size_t given_count;
    const char **names;
    size_t name_count;
};

/* Parses what follows the command's name. *done becomes true when nothing is left to do (help was
 * printed, or a message about bad input); the return value is then the exit code. */
int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_args *args,
              bool *done);
void cli_args_free(struct cli_args *args);
/* Value of the last occurrence, NULL when not given. */
const char *cli_value(const struct cli_args *args, const char *name);
/* A CLI_BOOL option that was given and is not false. */
bool cli_flag(const struct cli_args *args, const char *name);
extern const struct cli_option cli_common_options[];
/* The candidate nearest to word, NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t count);

/* Options of filesystem backup, for backups and restores. */
#define CLI_FS_OPTIONS                                                                            \
    {"fs-backup", 0, CLI_BOOL, NULL,                                                               \
     "filesystem backup of pods' volumes that lie on this machine (the node's)"},                  \
        {"fs-host-pods", 0, CLI_STRING, "DIR",                                                     \
         "the kubelet's folder of pods; default /var/lib/kubelet/pods"},                           \
        {"fs-node", 0, CLI_STRING, "NAME", "only pods of this node"},                              \
        {"fs-password-file", 0, CLI_STRING, "FILE",                                                \
         "password of the repositories; default: the Secret velero-repo-credentials"},             \
    {                                                                                              \
        "fs-compression", 0, CLI_STRING, "MODE", "auto, off or max"                                \
    }

/* ---- session.c ------------------------------------------------------------------------------- */

/* What the command needs of the context. */
enum {
    CLI_NEED_CLUSTER = 1, /* a cluster, even if the locations are given by files */
    CLI_NEED_ENGINE = 2,  /* snapshots and item actions */
    CLI_NEED_VOLUMES = 4, /* what filesystem backup has saved, wherever this runs */
    CLI_NO_LOCATIONS = 8  /* no location is needed */
};

/* Builds the context from the common options. velero_namespace (may be NULL) is used where
 * --namespace is not given. Prints its own messages. */
int cli_session(const struct cli_args *args, unsigned needs, const char *velero_namespace,
                vmb_ctx **out);
/* Opens the catalogue of --storage-location. */
int cli_catalog(const struct cli_args *args, vmb_ctx **ctx, vmb_catalog **out);
/* Reads a file ("-" is standard input), NUL added; the caller frees. */
int cli_read_file(const char *path, char **out, size_t *len);

/* ---- exec.c ---------------------------------------------------------------------------------- */

/* Registers the program of --exec-command, if it was given. */
int cli_use_exec_command(const struct cli_args *args, vmb_ctx *ctx);

/* ---- output.c -------------------------------------------------------------------------------- */

struct cli_table;

enum cli_format { CLI_TABLE, CLI_JSON, CLI_YAML };

/* Prints lists of resources alike: as JSON or YAML a List, or the single one that was named; else a
 * table with a row of each. */
struct cli_listing {
    const char *what; /* "restore" */
    const char *where; /* "in this storage location" */
    const char *const *heads;
    size_t columns;
    void (*add)(struct cli_table *table, const json_t *resource);
};

void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints "error: what: message" and releases err; returns CLI_FAILED. */
int cli_fail(const char *what, vmb_error *err);
/* --output; prints a message and returns false when it is unknown. */
bool cli_output_format(const struct cli_args *args, enum cli_format *out);
/* Parses a document of the library and releases it. NULL after a message. */
json_t *cli_take_json(char *text, size_t len);
/* Takes out of all strings what a terminal would obey: for output that is no JSON. */
void cli_plain(json_t *value);
void cli_print_json(FILE *out, const json_t *value);
void cli_print_yaml(FILE *out, json_t *value);
int cli_print_value(enum cli_format format, json_t *value);

/* A table whose columns are as wide as their widest cell. */
struct cli_table {
    char **cells;
    size_t columns;
    size_t count;
    size_t room;
    bool failed;
};
void cli_table_init(struct cli_table *table, const char *const *heads, size_t columns);
void cli_table_add(struct cli_table *table, const char *cell);
int cli_table_print(struct cli_table *table); /* and releases it */
/* name: the only one to print; NULL: all of them. The list stays the caller's. */
int cli_listing_print(const struct cli_listing *listing, enum cli_format format, json_t *list,
                      const char *name);

/* The string at a path of keys ("metadata", "name", NULL); "" when there is none. */
const char *cli_text(const json_t *object, const char *key, const char *subkey);
long long cli_number(const json_t *object, const char *key, const char *subkey);
/* "a, b" of an array of strings, otherwise `empty`; the caller frees. */
char *cli_join(const json_t *array, const char *separator, const char *empty);
/* The selector as text ("a=b,c in (d,e)"); the caller frees. */
char *cli_selector_text(const json_t *selector);
/* Age of an RFC 3339 time as kubectl prints it, negative for the future ("" when unreadable). */
void cli_age(const char *rfc3339, char *out, size_t size, bool future);
/* "2026-05-20 08:00:22 +0000 UTC" of an RFC 3339 time, "<n/a>" without one. */
void cli_instant(const char *rfc3339, char *out, size_t size);
/* The column of selectors: the one, or the alternatives joined by " or ". */
void cli_add_selector(struct cli_table *table, const json_t *spec);
/* "1.5 MiB" */
void cli_bytes(long long bytes, char *out, size_t size);

/* ---- progress.c ------------------------------------------------------------------------------ */

struct cli_progress {
    FILE *out;
    bool terminal;
    bool quiet;
    bool line_open; /* a progress line stands unfinished on the terminal */
    long long start_ns;
    long long printed_ns; /* when the last plain progress line was printed */
};

void cli_progress_init(struct cli_progress *progress, bool quiet);
void cli_progress_event(void *user, const vmb_event *event);
void cli_progress_end(struct cli_progress *progress);

/* ---- run.c ---------------------------------------------------------------------------------- */

/* Makes the spec where no file gives it; prints its own messages. name: NULL when none is given. */
typedef int (*cli_make_fn)(const struct cli_args *args, const char *name, vmb_spec **out);
/* Builds a spec ("Backup" or "Restore") from --file or make and the flags, runs it with progress and
 * Ctrl-C, and prints the outcome; the exit code. */
int cli_run(const struct cli_args *args, const char *kind, cli_make_fn make);

/* ---- specflags.c ----------------------------------------------------------------------------- */

/* Carries the given options into the spec; prints its own messages. */
int cli_spec_apply(const struct cli_args *args, vmb_spec *spec);

/* ---- validate.c ------------------------------------------------------------------------------ */

/* Reads a Backup from a file and prints a parse error with its place. */
int cli_load_spec(const char *path, vmb_spec **out);
/* Prints the validation report, one problem a line and its remedy below; CLI_OK without errors. */
int cli_check_spec(const vmb_spec *spec, const char *source, FILE *out);

/* ---- describe_parts.c ----------------------------------------------------------------------- */

/* A title and "key=value" lines; width of the title's column. */
void cli_describe_map(const char *title, int width, json_t *map);
void cli_describe_metadata(const json_t *metadata);
/* The spec of a Backup, or the template of a Schedule. */
void cli_describe_spec(FILE *out, const json_t *spec);
/* One part of the results ("Errors" or "Warnings"); nothing when count is 0. */
void cli_describe_results(const char *title, const json_t *part, long long count);
void cli_describe_resources(json_t *resources);
void cli_describe_files(const json_t *files);

/* ---- restores.c ----------------------------------------------------------------------------- */

/* A cluster is asked: one is named, or the locations come from it. */
bool cli_has_cluster(const struct cli_args *args);
/* Session and catalogue in which the files of a restore lie. *restore (a new reference) is the
 * Restore from the cluster or the location; NULL when neither has it. */
int cli_find_restore(const struct cli_args *args, const char *name, vmb_ctx **ctx,
                     vmb_catalog **catalog, json_t **restore);

/* ---- describe_volumes.c --------------------------------------------------------------------- */

/* Parts of a description; doc is what the library gave. */
void cli_describe_operations(const json_t *doc, bool details);
void cli_describe_operation(const json_t *operation, const char *action_title,
                            const char *action_key);
void cli_describe_volumes(const json_t *doc, bool details);

/* ---- plan.c --------------------------------------------------------------------------------- */

/* Prints what a backup would do. */
int cli_plan(enum cli_format format, vmb_ctx *ctx, const vmb_spec *spec);

/* ---- commands -------------------------------------------------------------------------------- */

int cli_backup(struct cli_args *args);
int cli_restore(struct cli_args *args);
int cli_get(struct cli_args *args);
int cli_get_restores(struct cli_args *args);
int cli_get_schedules(struct cli_args *args);
int cli_get_snapshot_locations(struct cli_args *args);
int cli_describe(struct cli_args *args);
int cli_describe_restore(struct cli_args *args);
int cli_describe_schedule(struct cli_args *args);
int cli_logs(struct cli_args *args);
int cli_restore_logs(struct cli_args *args);
int cli_download(struct cli_args *args);
int cli_delete(struct cli_args *args);
int cli_verify(struct cli_args *args);
int cli_copy(struct cli_args *args);
int cli_diff(struct cli_args *args);
int cli_gc(struct cli_args *args);
int cli_schedule_next(struct cli_args *args);
int cli_location_get(struct cli_args *args);
int cli_validate(struct cli_args *args);
int cli_version(struct cli_args *args);

/* "vmbackup repo": argv[0] is "repo". */
int cli_repo(int argc, char **argv);
extern const struct cli_option cli_repo_options[]; /* of all commands named "repo …" */

extern const struct cli_option cli_backup_options[];
extern const struct cli_option cli_restore_options[];
extern const struct cli_option cli_copy_options[];
extern const struct cli_option cli_delete_options[];
extern const struct cli_option cli_diff_options[];
extern const struct cli_option cli_gc_options[];
extern const struct cli_option cli_schedule_options[];
extern const struct cli_option cli_verify_options[];
extern const struct cli_option cli_describe_options[];
extern const struct cli_option cli_download_options[];
extern const struct cli_option cli_location_options[];
extern const struct cli_option cli_validate_options[];
extern const struct cli_option cli_no_options[];

#endif
