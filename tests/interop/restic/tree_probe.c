/* SPDX-License-Identifier: Apache-2.0 */
/* A thin program over the repository's inner functions, for run_tree.py:
 *   tree_probe init REPO
 *   tree_probe backup REPO PARENT|- PATH...
 *   tree_probe restore REPO SNAPSHOT TARGET [PATH]
 *   tree_probe check REPO
 * The password is $RESTIC_PASSWORD. Prints one JSON line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/job.h"
#include "codec/json.h"
#include "providers/builtin.h"
#include "repo/repo.h"
#include "repo/tree/backup.h"
#include "repo/tree/restore.h"

static void warn(void *user, const char *path, const char *text)
{
    (void)user;
    fprintf(stderr, "warning: %s: %s\n", path, text);
}

static vmb_code run_backup(vmbi_repo *r, vmb_job *job, int argc, char **argv, vmb_error **err)
{
    vmbi_tree_options o = {
        .paths = (const char *const *)argv + 1,
        .n_paths = (size_t)argc - 1,
        .parent = strcmp(argv[0], "-") == 0 ? NULL : argv[0],
        .hostname = "probe",
        .username = "root",
        .warn = warn,
    };
    char id[VMBI_REPO_HEX_SIZE] = "";
    vmbi_tree_stats s = {0};
    vmb_code rc = vmbi_tree_backup(r, &o, job, id, &s, err);
    if (rc == VMB_OK) {
        printf("{\"snapshot\":\"%s\",\"files\":%" PRIu64 ",\"unchanged\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"read\":%" PRIu64 ",\"zero\":%" PRIu64
               ",\"warnings\":%" PRIu64 "}\n",
               id, s.files, s.files_unchanged, s.bytes, s.bytes_read, s.bytes_zero, s.warnings);
    }
    return rc;
}

static vmb_code run_restore(vmbi_repo *r, vmb_job *job, int argc, char **argv, vmb_error **err)
{
    vmbi_restore_options o = {
        .snapshot = argv[0], .target = argv[1], .path = argc > 2 ? argv[2] : NULL, .warn = warn};
    vmbi_restore_stats s = {0};
    vmb_code rc = vmbi_tree_restore(r, &o, job, &s, err);
    if (rc == VMB_OK) {
        printf("{\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"holes\":%" PRIu64
               ",\"warnings\":%" PRIu64 "}\n",
               s.files, s.bytes, s.bytes_hole, s.warnings);
    }
    return rc;
}

static void finding(void *user, const vmbi_repo_finding *f)
{
    (void)user;
    fprintf(stderr, "%s %s %s %s: %s\n", f->level == VMBI_FINDING_ERROR ? "error" : "hint",
            f->file_kind, f->file, f->blob, f->message);
}

static vmb_code work(const char *verb, const vmbi_repo_options *o, vmb_job *job, int argc,
                     char **argv, vmb_error **err)
{
    vmbi_repo *r = NULL;
    vmb_code rc = strcmp(verb, "init") == 0 ? vmbi_repo_init(o, &r, err)
                                            : vmbi_repo_open(o, &r, err);
    if (rc == VMB_OK && strcmp(verb, "init") != 0) {
        rc = vmbi_repo_lock(r, VMBI_REPO_SHARED, 0, err);
        if (rc == VMB_OK && strcmp(verb, "check") != 0) {
            rc = vmbi_repo_load_index(r, err);
        }
    }
    if (rc == VMB_OK && strcmp(verb, "backup") == 0) {
        rc = run_backup(r, job, argc, argv, err);
    } else if (rc == VMB_OK && strcmp(verb, "restore") == 0) {
        rc = run_restore(r, job, argc, argv, err);
    } else if (rc == VMB_OK && strcmp(verb, "check") == 0) {
        uint64_t errors = 0;
        vmbi_repo_check_options co = {.read_data = true};
        rc = vmbi_repo_check(r, &co, finding, NULL, &errors, err);
        printf("{\"errors\":%" PRIu64 "}\n", errors);
    }
    vmbi_repo_close(r);
    return rc;
}

int main(int argc, char **argv)
{
    const char *password = getenv("RESTIC_PASSWORD");
    vmb_store_provider store;
    vmb_error *err = NULL;
    vmb_job job = {0};
    if (argc < 3 || password == NULL) {
        fprintf(stderr, "usage: tree_probe init|backup|restore|check REPO …\n");
        return 2;
    }
    vmbi_json *settings = vmbi_json_object();
    vmbi_json *config = vmbi_json_ensure_object(settings, "config");
    (void)vmbi_json_set_str(config, "path", argv[2]);
    vmb_code rc = vmbi_store_dir_new(settings, &store, &err);
    vmbi_json_free(settings);
    if (rc == VMB_OK) {
        vmbi_repo_options o = {.store = &store, .job = &job, .password = password,
                               .password_len = strlen(password)};
        rc = work(argv[1], &o, &job, argc - 3, argv + 3, &err);
        if (store.destroy != NULL) {
            store.destroy(store.user);
        }
    }
    if (rc != VMB_OK) {
        fprintf(stderr, "error: %s\n", vmb_error_message(err));
    }
    vmb_error_free(err);
    return rc == VMB_OK ? 0 : 1;
}
