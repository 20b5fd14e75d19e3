/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of "vmbackup repo" share. */
#ifndef VMBACKUP_REPO_CLI_H
#define VMBACKUP_REPO_CLI_H

#include "cli.h"

#include <time.h>

/* Exit codes, besides those of the program: restic's. */
enum { REPO_NONE = 10, REPO_LOCKED = 11, REPO_PASSWORD = 12, REPO_INTERRUPTED = 130 };

/* One line that is rewritten on a terminal, lines elsewhere, JSON lines with --json. */
struct repo_progress {
    bool terminal;
    bool quiet;
    bool json;
    bool line_open;
    bool shown;       /* a status was printed */
    const char *verb; /* "saved", "restored" …; NULL: no progress is shown */
    long long start_ns;
    long long printed_ns;
    long long total;               /* of a scan; -1: not known */
    long long (*scan_total)(void); /* NULL: only the events tell */
    size_t warnings;
};

struct repo_session {
    const struct cli_args *args;
    vmb_ctx *ctx;
    vmb_repo *repo;
    char *where; /* the repository as the user named it */
    bool json;
    bool quiet;
    struct repo_progress progress;
};

/* ---- repo_open.c ---- */

/* Opens the repository that the flags and the environment name, or makes one with the settings that
 * are given (owned). The return value is the exit code; messages are printed. */
int repo_open(struct repo_session *s, const struct cli_args *args);
int repo_init(struct repo_session *s, const struct cli_args *args, json_t *settings);
/* Opens the one of --from-repo. */
int repo_open_from(struct repo_session *s, const struct cli_args *args);
void repo_close(struct repo_session *s);
/* Prints why a call failed, with what can be done; releases err and gives the exit code. */
int repo_fail(const struct repo_session *s, const char *what, vmb_error *err);
/* What -r or the environment name; NULL: nothing. */
const char *repo_named(const struct cli_args *args);
/* The password into settings: from flags, environment or the terminal. */
int repo_ask(const struct cli_args *args, bool twice, json_t *settings);

/* ---- repo_source.c: where a repository lies ---- */

struct repo_source {
    char *name;                   /* for messages */
    json_t *location;             /* a BackupStorageLocation; NULL: one of the session */
    const char *session_location; /* its name; NULL: the default one */
    const char *prefix;
};
int repo_source_parse(const char *repo, bool make_folder, struct repo_source *out);
void repo_source_done(struct repo_source *source);

/* ---- repo_password.c ---- */

/* "password" or "passwordFile" into settings, from flags, environment or terminal. */
int repo_password(const char *file, const char *const *variables, const char *const *file_variables,
                  const char *prompt, bool twice, json_t *settings);
/* A new password for key add and passwd: --new-password-file, or asked for. The caller wipes it. */
int repo_new_password(const struct cli_args *args, char **out, size_t *len);

/* ---- repo_progress.c ---- */

void repo_progress_init(struct repo_progress *p, const char *verb, bool quiet, bool json);
void repo_progress_event(void *user, const vmb_event *event);
void repo_progress_end(struct repo_progress *p);
long long repo_now_ns(void);
/* "1.234 MiB" and "0:12" as restic writes them. */
void repo_bytes(double bytes, char *out, size_t size);
void repo_duration(double seconds, char *out, size_t size);

/* ---- repo_call.c: options and answers ---- */

typedef vmb_code (*repo_call_fn)(vmb_repo *repo, const char *options, size_t len, char **out,
                                 size_t *out_len, vmb_error **err);
/* Calls with options (owned). NULL after a message; *result is the exit code then. */
json_t *repo_call(struct repo_session *s, repo_call_fn fn, json_t *options, const char *what,
                  int *result);
/* A string for options; NULL after a message when it is no UTF-8: repo_options_text() fails then. */
json_t *repo_text(const char *what, const char *value);
/* A string for output, with U+FFFD for bytes that are no UTF-8. */
json_t *repo_lossy(const char *text);
/* The text of options (owned), freed by the caller; NULL after a message. */
char *repo_options_text(json_t *options);
/* --name VALUE… as a list under key; nothing when not given. */
void repo_add_list(const struct cli_args *args, const char *name, json_t *options, const char *key);
void repo_add_flag(const struct cli_args *args, const char *name, json_t *options, const char *key);
void repo_add_string(const struct cli_args *args, const char *name, json_t *options,
                     const char *key);
/* A whole number; false after a message. */
bool repo_add_number(const struct cli_args *args, const char *name, json_t *options,
                     const char *key);
/* "10M" as bytes; false after a message. */
bool repo_add_size(const struct cli_args *args, const char *name, json_t *options, const char *key);
/* "2012-11-01 22:08:41" or RFC 3339; false after a message. */
bool repo_add_time(const struct cli_args *args, const char *name, json_t *options, const char *key);
/* --host, --tag and --path of commands that choose snapshots. */
void repo_add_filters(const struct cli_args *args, json_t *options);
/* The positional arguments from `first` on as "snapshots". */
void repo_add_ids(const struct cli_args *args, size_t first, json_t *options);
/* Splits "ID:/path"; *path is NULL without one. The caller frees id. */
bool repo_split_snapshot(const char *text, char **id, const char **path);
void repo_print_line(const json_t *value); /* one JSON line on standard output */

/* ---- repo_table.c ---- */

/* Local time "2026-11-24 11:09:32" of an RFC 3339 time. */
void repo_time(const char *rfc3339, char *out, size_t size);
/* restic's table of snapshots; reasons: the "reasons" of a forget group, or NULL. */
void repo_print_snapshots(const json_t *list, const json_t *reasons);
/* A table with columns at least as wide as `least`; cells may have several lines. */
struct repo_table {
    size_t columns;
    const char *const *heads;
    const size_t *least;
    char **cells;
    size_t count, room;
    bool failed;
};
void repo_table_add(struct repo_table *table, const char *cell);
void repo_table_print(struct repo_table *table, const char *footer); /* and releases it */
char *repo_lines(const json_t *array); /* elements as lines; the caller frees */

/* ---- commands ---- */

int cli_repo_init(struct cli_args *args);
int cli_repo_backup(struct cli_args *args);
int cli_repo_restore(struct cli_args *args);
int cli_repo_ls(struct cli_args *args);
int cli_repo_snapshots(struct cli_args *args);
int cli_repo_find(struct cli_args *args);
int cli_repo_dump(struct cli_args *args);
int cli_repo_check(struct cli_args *args);
int cli_repo_forget(struct cli_args *args);
int cli_repo_prune(struct cli_args *args);
int cli_repo_copy(struct cli_args *args);
int cli_repo_stats(struct cli_args *args);
int cli_repo_key(struct cli_args *args);
int cli_repo_unlock(struct cli_args *args);
int cli_repo_mount(struct cli_args *args);
extern const struct cli_option cli_repo_init_options[], cli_repo_backup_options[],
    cli_repo_restore_options[], cli_repo_ls_options[], cli_repo_snapshots_options[],
    cli_repo_find_options[], cli_repo_dump_options[], cli_repo_check_options[],
    cli_repo_forget_options[], cli_repo_prune_options[], cli_repo_copy_options[],
    cli_repo_stats_options[], cli_repo_key_options[], cli_repo_unlock_options[],
    cli_repo_mount_options[];

#endif
