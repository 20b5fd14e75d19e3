/* SPDX-License-Identifier: Apache-2.0 */
/* vmbackup repo copy and key. */
#include "repo_cli.h"

#include <stdlib.h>
#include <string.h>

/* ---- copy ------------------------------------------------------------------------------------ */

const struct cli_option cli_repo_copy_options[] = {
    {"from-repo", 0, CLI_STRING, "REPOSITORY",
     "where to copy from; default $VMBACKUP_FROM_REPOSITORY, $RESTIC_FROM_REPOSITORY"},
    {"from-password-file", 0, CLI_STRING, "FILE", "its password; default $RESTIC_FROM_PASSWORD…"},
    {"host", 'H', CLI_LIST, "NAME", "snapshots of this host; may be repeated"},
    {"tag", 0, CLI_LIST, "TAG[,TAG]", "snapshots with all of these tags; may be repeated"},
    {"path", 0, CLI_LIST, "PATH", "snapshots of this path; may be repeated"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static vmb_repo *copy_from; /* for the call below */

static vmb_code copy(vmb_repo *repo, const char *options, size_t len, char **out, size_t *out_len,
                     vmb_error **err)
{
    return vmb_repo_copy(copy_from, repo, options, len, out, out_len, err);
}

static void print_copied(const json_t *v)
{
    const json_t *one;
    size_t index;
    char text[32];

    json_array_foreach(json_object_get(v, "snapshots"), index, one)
    {
        bool copied = json_is_true(json_object_get(one, "copied"));

        printf("snapshot %.8s %s %.8s\n", cli_text(one, "source", NULL),
               copied ? "copied as" : "is there already, as", cli_text(one, "id", NULL));
    }
    repo_bytes((double)cli_number(v, "bytes", NULL), text, sizeof(text));
    printf("%lld snapshots copied, %lld were there; %s in %lld blobs\n",
           cli_number(v, "copied", NULL), cli_number(v, "known", NULL), text,
           cli_number(v, "blobs", NULL));
}

int cli_repo_copy(struct cli_args *args)
{
    struct repo_session from;
    struct repo_session s;
    json_t *o;
    json_t *v;
    int result = repo_open_from(&from, args);

    if (result != CLI_OK) {
        return result;
    }
    result = repo_open(&s, args);
    if (result != CLI_OK) {
        repo_close(&from);
        return result;
    }
    o = json_object();
    repo_add_ids(args, 0, o);
    repo_add_filters(args, o);
    copy_from = from.repo;
    repo_progress_init(&s.progress, "copied", s.quiet, s.json);
    v = repo_call(&s, copy, o, "copy", &result);
    if (v && s.json) {
        repo_print_line(v);
    } else if (v && !s.quiet) {
        print_copied(v);
    }
    json_decref(v);
    repo_close(&s);
    repo_close(&from);
    return result;
}

/* ---- keys ------------------------------------------------------------------------------------ */

const struct cli_option cli_repo_key_options[] = {
    {"new-password-file", 0, CLI_STRING, "FILE",
     "the new password for add and passwd; default asked"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

static int list_keys(struct repo_session *s)
{
    static const char *const heads[] = {" ID", "User", "Host", "Created"};
    static const size_t least[] = {9, 4, 4, 19};
    struct repo_table table = {.columns = 4, .heads = heads, .least = least};
    vmb_error *err = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *list;
    const json_t *key;
    size_t index;
    char cell[64];

    if (vmb_repo_keys_json(s->repo, &text, &len, &err) != VMB_OK) {
        return repo_fail(s, "keys", err);
    }
    list = cli_take_json(text, len);
    if (list && s->json) {
        repo_print_line(list);
    } else if (list) {
        cli_plain(list);
        json_array_foreach(list, index, key)
        {
            snprintf(cell, sizeof(cell), "%c%.8s",
                     json_is_true(json_object_get(key, "current")) ? '*' : ' ',
                     cli_text(key, "id", NULL));
            repo_table_add(&table, cell);
            repo_table_add(&table, cli_text(key, "userName", NULL));
            repo_table_add(&table, cli_text(key, "hostName", NULL));
            repo_time(cli_text(key, "created", NULL), cell, sizeof(cell));
            repo_table_add(&table, cell);
        }
        repo_table_print(&table, NULL);
    }
    json_decref(list);
    return list ? CLI_OK : CLI_FAILED;
}

static int new_key(struct repo_session *s, bool replace)
{
    vmb_error *err = NULL;
    char *password = NULL;
    char *id = NULL;
    size_t len = 0;
    int result = repo_new_password(s->args, &password, &len);
    vmb_code rc;

    if (result != CLI_OK) {
        return result;
    }
    rc = replace ? vmb_repo_key_passwd(s->repo, password, len, &id, &err)
                 : vmb_repo_key_add(s->repo, password, len, &id, &err);
    explicit_bzero(password, len);
    free(password);
    if (rc != VMB_OK) {
        return repo_fail(s, replace ? "key passwd" : "key add", err);
    }
    if (!s->quiet) {
        printf("saved new key %.8s%s\n", id, replace ? ", the old one is removed" : "");
    }
    vmb_free(id);
    return CLI_OK;
}

static int remove_key(struct repo_session *s)
{
    vmb_error *err = NULL;

    if (vmb_repo_key_remove(s->repo, s->args->names[1], &err) != VMB_OK) {
        return repo_fail(s, "key remove", err);
    }
    if (!s->quiet) {
        printf("removed key %s\n", s->args->names[1]);
    }
    return CLI_OK;
}

int cli_repo_key(struct cli_args *args)
{
    static const char *const verbs[] = {"list", "add", "remove", "passwd"};
    const char *verb = args->name_count > 0 ? args->names[0] : "";
    struct repo_session s;
    size_t which = 0;
    int result;

    while (which < 4 && strcmp(verb, verbs[which]) != 0) {
        which++;
    }
    if (which == 4 || (args->name_count > 1) != (which == 2)) {
        cli_error("write vmbackup repo key list, add, remove ID or passwd");
        return CLI_USAGE;
    }
    result = repo_open(&s, args);
    if (result == CLI_OK) {
        result = which == 0 ? list_keys(&s) : which == 2 ? remove_key(&s) : new_key(&s, which == 3);
        repo_close(&s);
    }
    return result;
}
