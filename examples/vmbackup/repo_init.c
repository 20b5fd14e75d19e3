/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo init. */
#include "repo_cli.h"

const struct cli_option cli_repo_init_options[] = {
    {"repository-version", 0, CLI_STRING, "N", "1, or 2 with compression; default 2"},
    {"copy-chunker-params", 0, CLI_BOOL, NULL,
     "cut files as --from-repo does, so that copies between the two share data"},
    {"from-repo", 0, CLI_STRING, "REPOSITORY", "for --copy-chunker-params"},
    {"from-password-file", 0, CLI_STRING, "FILE", "its password; default $RESTIC_FROM_PASSWORD…"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static json_t *info(struct repo_session *s, int *result)
{
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *value;

    if (vmb_repo_info_json(s->repo, &text, &len, &err) != VMB_OK) {
        *result = repo_fail(s, s->where, err);
        return NULL;
    }
    value = cli_take_json(text, len);
    *result = value ? CLI_OK : CLI_FAILED;
    return value;
}

/* The polynomial of --from-repo into settings. */
static int copy_chunker(const struct cli_args *args, json_t *settings)
{
    struct repo_session from;
    json_t *value;
    int result = repo_open_from(&from, args);

    if (result != CLI_OK) {
        return result;
    }
    value = info(&from, &result);
    if (value) {
        json_object_set(settings, "chunkerPolynomial", json_object_get(value, "chunkerPolynomial"));
        json_decref(value);
    }
    repo_close(&from);
    return result;
}

int cli_repo_init(struct cli_args *args)
{
    struct repo_session s;
    json_t *settings = json_object();
    json_t *value = NULL;
    int result = CLI_OK;

    if (!repo_add_number(args, "repository-version", settings, "version")) {
        result = CLI_USAGE;
    } else if (cli_flag(args, "copy-chunker-params")) {
        result = copy_chunker(args, settings);
    }
    if (result != CLI_OK) {
        json_decref(settings);
        return result;
    }
    result = repo_init(&s, args, settings);
    if (result != CLI_OK) {
        return result;
    }
    value = info(&s, &result);
    if (value && s.json) {
        json_t *line = json_pack("{s:s,s:s,s:s}", "message_type", "initialized", "id",
                                 cli_text(value, "id", NULL), "repository", s.where);

        repo_print_line(line);
        json_decref(line);
    } else if (value && !s.quiet) {
        printf("created repository %.10s (version %lld) at %s\n\n"
               "Keep the password: without it nobody can read the repository, and nobody can get "
               "it back.\n",
               cli_text(value, "id", NULL), cli_number(value, "version", NULL), s.where);
    }
    json_decref(value);
    repo_close(&s);
    return result;
}
