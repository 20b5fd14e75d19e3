/* SPDX-License-Identifier: Apache-2.0 */
/* From flags and environment to an opened repository; what its failures mean to a user. */
#include "repo_cli.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cli_option cli_repo_options[] = {
    {"repo", 'r', CLI_STRING, "REPOSITORY",
     "a folder, or s3:http://host:port/bucket/prefix; default $VMBACKUP_REPOSITORY, "
     "$RESTIC_REPOSITORY"},
    {"location", 0, CLI_STRING, "NAME|FILE",
     "instead: a storage location by name, or the file of one"},
    {"prefix", 0, CLI_STRING, "PATH", "where the repository lies in it, such as restic/shop"},
    {"password-file", 'p', CLI_STRING, "FILE",
     "file with the password; default $VMBACKUP_PASSWORD, $RESTIC_PASSWORD, "
     "$…_PASSWORD_FILE, or asked for"},
    {"key-hint", 0, CLI_STRING, "ID", "key to try first"},
    {"no-lock", 0, CLI_BOOL, NULL, "read without a lock"},
    {"retry-lock", 0, CLI_STRING, "DURATION", "wait so long for the locks of others, such as 5m"},
    {"compression", 0, CLI_STRING, "MODE", "auto, off or max; default auto"},
    {"pack-size", 0, CLI_STRING, "MIB", "size of the packs to write, 4 to 128; default 16"},
    {"json", 0, CLI_BOOL, NULL, "print JSON, as restic's --json does"},
    {"quiet", 'q', CLI_BOOL, NULL, "no progress and no tables of what was done"},
    {"verbose", 'v', CLI_BOOL, NULL, "print the library's log lines to standard error"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static const char *const password_variables[] = {"VMBACKUP_PASSWORD", "RESTIC_PASSWORD", NULL};
static const char *const file_variables[] = {"VMBACKUP_PASSWORD_FILE", "RESTIC_PASSWORD_FILE",
                                             NULL};
static const char *const from_variables[] = {"VMBACKUP_FROM_PASSWORD", "RESTIC_FROM_PASSWORD",
                                             NULL};
static const char *const from_file_variables[] = {"VMBACKUP_FROM_PASSWORD_FILE",
                                                  "RESTIC_FROM_PASSWORD_FILE", NULL};

/* ---- interrupts ------------------------------------------------------------------------------ */

enum { MAX_OPEN = 2 };
/* The repositories that Ctrl-C cancels. Written before the handler is installed. */
static vmb_repo *running[MAX_OPEN];

static void on_interrupt(int number)
{
    static const char text[] = "\ncancelling: locks are given back; interrupt again to kill\n";
    ssize_t written;

    (void)number;
    for (int i = 0; i < MAX_OPEN; i++) {
        vmb_repo_cancel(running[i]);
    }
    written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written; /* nothing can be done about it here */
}

/* The first interrupt cancels; the handler is gone then and the second one kills. */
static void watch_interrupts(vmb_repo *repo)
{
    struct sigaction action = {0};

    running[running[0] != NULL ? 1 : 0] = repo;
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void forget_interrupts(const vmb_repo *repo)
{
    for (int i = 0; i < MAX_OPEN; i++) {
        if (repo && running[i] == repo) {
            signal(SIGINT, SIG_DFL);
            signal(SIGTERM, SIG_DFL);
            running[i] = NULL;
        }
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static void print_log(void *user, int32_t level, const char *msg)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    (void)user;
    fprintf(stderr, "%s: %s\n", level >= 0 && level <= 3 ? names[level] : "log", msg);
}

/* A context with the one location that -r names. */
static int own_context(const struct cli_args *args, const struct repo_source *source, vmb_ctx **out)
{
    char *text = json_dumps(source->location, JSON_COMPACT);
    vmb_error *err = NULL;
    vmb_ctx *ctx = NULL;
    int result = CLI_OK;

    if (!text || vmb_ctx_new(&ctx, &err) != VMB_OK) {
        result = cli_fail("context", err);
    } else if (cli_flag(args, "verbose") &&
               vmb_ctx_set_log(ctx, print_log, NULL, NULL, &err) != VMB_OK) {
        result = cli_fail("log", err);
    } else if (vmb_ctx_add_location(ctx, text, strlen(text), &err) != VMB_OK) {
        result = cli_fail(source->name, err);
    }
    free(text);
    if (result == CLI_OK) {
        *out = ctx;
    } else {
        vmb_ctx_unref(ctx);
    }
    return result;
}

const char *repo_named(const struct cli_args *args)
{
    const char *repo = cli_value(args, "repo");

    if (!repo) {
        repo = getenv("VMBACKUP_REPOSITORY");
    }
    if (!repo || !*repo) {
        repo = getenv("RESTIC_REPOSITORY");
    }
    return repo && *repo ? repo : NULL;
}

/* The locations of the session: of the cluster, of files, of a folder. */
static int session_source(const struct cli_args *args, struct repo_source *source, vmb_ctx **ctx)
{
    struct cli_args with_file = *args;
    const char *given = cli_value(args, "location");
    struct cli_given *all = NULL;
    struct stat st;
    int result;

    *source = (struct repo_source){.prefix = cli_value(args, "prefix"), .session_location = given};
    source->name = strdup(given ? given : "the default storage location");
    if (given && stat(given, &st) == 0 && S_ISREG(st.st_mode)) { /* as --location-file */
        const struct cli_option *option = cli_common_options;

        while (strcmp(option->name, "location-file") != 0) {
            option++;
        }
        all = calloc(args->given_count + 1, sizeof(*all));
        if (!all) {
            cli_error("out of memory");
            return CLI_FAILED;
        }
        memcpy(all, args->given, args->given_count * sizeof(*all));
        all[args->given_count] = (struct cli_given){option, given};
        with_file.given = all;
        with_file.given_count++;
        source->session_location = NULL;
    }
    result = cli_session(&with_file, 0, NULL, ctx);
    free(all);
    return result;
}

/* Finds out where; makes the context. */
static int make_context(const struct cli_args *args, bool make_folder, struct repo_source *source,
                        vmb_ctx **ctx)
{
    const char *repo = repo_named(args);
    bool session = cli_value(args, "location") || cli_value(args, "location-file") ||
                   cli_value(args, "store-dir");
    int result;

    if (cli_value(args, "repo") && session) {
        cli_error("-r and --location exclude each other: a repository lies at one place");
        return CLI_USAGE;
    }
    if (session || (!repo && cli_value(args, "prefix"))) {
        return session_source(args, source, ctx);
    }
    if (!repo) {
        cli_error("no repository is named: give -r FOLDER, -r s3:http://host/bucket, or set "
                  "VMBACKUP_REPOSITORY or RESTIC_REPOSITORY");
        return CLI_USAGE;
    }
    result = repo_source_parse(repo, make_folder, source);
    source->prefix = cli_value(args, "prefix");
    return result == CLI_OK ? own_context(args, source, ctx) : result;
}

static int add_settings(const struct cli_args *args, json_t *settings)
{
    repo_add_flag(args, "no-lock", settings, "noLock");
    repo_add_string(args, "retry-lock", settings, "lockWait");
    repo_add_string(args, "compression", settings, "compression");
    repo_add_string(args, "key-hint", settings, "keyHint");
    return repo_add_number(args, "pack-size", settings, "packSize") ? CLI_OK : CLI_USAGE;
}

/* The last steps, once it is known where and with which password. */
static int open_source(struct repo_session *s, const struct repo_source *source, bool init,
                       json_t *settings)
{
    char *text = repo_options_text(json_incref(settings));
    size_t len = text ? strlen(text) : 0;
    vmb_error *err = NULL;
    vmb_code rc;

    if (!text) {
        return CLI_USAGE;
    }
    rc = init ? vmb_repo_init(s->ctx, source->session_location, text, len, &s->repo, &err)
              : vmb_repo_open(s->ctx, source->session_location, text, len, &s->repo, &err);
    explicit_bzero(text, len);
    free(text);
    if (rc != VMB_OK) {
        bool usage = rc == VMB_E_ARG;
        int result = repo_fail(s, source->name, err);

        return usage ? CLI_USAGE : result;
    }
    watch_interrupts(s->repo);
    return CLI_OK;
}

static void begin(struct repo_session *s, const struct cli_args *args)
{
    const char *output = cli_value(args, "output");

    *s = (struct repo_session){.args = args};
    s->json = cli_flag(args, "json") || (output && !strcmp(output, "json"));
    s->quiet = cli_flag(args, "quiet");
}

int repo_ask(const struct cli_args *args, bool twice, json_t *settings)
{
    return repo_password(cli_value(args, "password-file"), password_variables, file_variables,
                         "password of the repository", twice, settings);
}

static int open_or_init(struct repo_session *s, const struct cli_args *args, bool init,
                        json_t *settings)
{
    struct repo_source source = {0};
    int result;

    begin(s, args);
    result = make_context(args, init, &source, &s->ctx);
    if (result == CLI_OK) {
        result = add_settings(args, settings);
    }
    if (result == CLI_OK && source.prefix) {
        json_object_set_new(settings, "prefix", repo_text("prefix", source.prefix));
    }
    if (result == CLI_OK) {
        result = repo_ask(args, init, settings);
    }
    if (result == CLI_OK) {
        result = open_source(s, &source, init, settings);
    }
    json_decref(settings);
    s->where = source.name ? strdup(source.name) : NULL;
    repo_source_done(&source);
    if (result != CLI_OK) {
        repo_close(s);
    }
    return result;
}

int repo_open(struct repo_session *s, const struct cli_args *args)
{
    return open_or_init(s, args, false, json_object());
}

int repo_init(struct repo_session *s, const struct cli_args *args, json_t *settings)
{
    return open_or_init(s, args, true, settings);
}

int repo_open_from(struct repo_session *s, const struct cli_args *args)
{
    const char *repo = cli_value(args, "from-repo");
    struct repo_source source = {0};
    json_t *settings = json_object();
    int result;

    begin(s, args);
    if (!repo) {
        repo = getenv("VMBACKUP_FROM_REPOSITORY");
    }
    if (!repo || !*repo) {
        repo = getenv("RESTIC_FROM_REPOSITORY");
    }
    if (!repo || !*repo) {
        cli_error("no repository to copy from is named: give --from-repo REPOSITORY");
        json_decref(settings);
        return CLI_USAGE;
    }
    result = repo_source_parse(repo, false, &source);
    if (result == CLI_OK) {
        result = own_context(args, &source, &s->ctx);
    }
    if (result == CLI_OK) {
        result = repo_password(cli_value(args, "from-password-file"), from_variables,
                               from_file_variables, "password of the repository to copy from",
                               false, settings);
    }
    if (result == CLI_OK) {
        repo_add_flag(args, "no-lock", settings, "noLock");
        repo_add_string(args, "retry-lock", settings, "lockWait");
        result = open_source(s, &source, false, settings);
    }
    json_decref(settings);
    repo_source_done(&source);
    if (result != CLI_OK) {
        repo_close(s);
    }
    return result;
}

void repo_close(struct repo_session *s)
{
    repo_progress_end(&s->progress);
    forget_interrupts(s->repo);
    vmb_repo_free(s->repo);
    vmb_ctx_unref(s->ctx);
    free(s->where);
    s->repo = NULL;
    s->ctx = NULL;
    s->where = NULL;
}
