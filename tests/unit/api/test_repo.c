/* SPDX-License-Identifier: Apache-2.0 */
/* The public handles of repositories and disks: arguments, options, state, locks, cancellation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmbackup/vmbackup.h>

#include "base/alloc.h"
#include "support/fakes.h"

static const char settings[] = "{\"password\":\"geheim\",\"prefix\":\"restic/shop\"}";

typedef struct place {
    char folder[64];
    char source[96];
    vmb_ctx *ctx;
} place;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void write_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    (void)close(fd);
}

static vmb_ctx *context_of(const char *folder, const char *mode)
{
    vmb_ctx *ctx = NULL;
    char text[512];
    assert_int_equal(vmb_ctx_new(&ctx, NULL), VMB_OK);
    (void)snprintf(text, sizeof(text),
                   "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"BackupStorageLocation\","
                   "\"metadata\":{\"name\":\"only\"},\"spec\":{\"provider\":\"vmbackup.io/dir\","
                   "\"accessMode\":\"%s\",\"config\":{\"path\":\"%s\"}}}",
                   mode, folder);
    assert_int_equal(vmb_ctx_add_location(ctx, text, strlen(text), NULL), VMB_OK);
    return ctx;
}

static int begin(void **state)
{
    place *p = calloc(1, sizeof(*p));
    char path[160];
    unsigned char data[70000];
    assert_non_null(p);
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/vmb-repo-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->source, sizeof(p->source), "%s.src", p->folder);
    assert_int_equal(mkdir(p->source, 0700), 0);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char)(i * i >> 7);
    }
    (void)snprintf(path, sizeof(path), "%s/a", p->source);
    write_file(path, data, sizeof(data));
    (void)snprintf(path, sizeof(path), "%s/b", p->source);
    write_file(path, "hello\n", 6);
    p->ctx = context_of(p->folder, "ReadWrite");
    *state = p;
    return 0;
}

static int end(void **state)
{
    place *p = *state;
    vmb_ctx_unref(p->ctx);
    (void)nftw(p->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    (void)nftw(p->source, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

static vmb_repo *make(const place *p)
{
    vmb_repo *r = NULL;
    vmb_error *err = NULL;
    vmb_code rc = vmb_repo_init(p->ctx, NULL, settings, strlen(settings), &r, &err);
    if (rc != VMB_OK) {
        print_error("%s\n", vmb_error_message(err));
    }
    assert_int_equal(rc, VMB_OK);
    return r;
}

static vmb_repo *reopen(const place *p)
{
    vmb_repo *r = NULL;
    assert_int_equal(vmb_repo_open(p->ctx, "only", settings, strlen(settings), &r, NULL), VMB_OK);
    return r;
}

/* Backs the source up; the ID of the snapshot. */
static void save(const place *p, vmb_repo *r, char id[65])
{
    char options[256];
    char *summary = NULL;
    const char *at = NULL;
    (void)snprintf(options, sizeof(options), "{\"paths\":[\"%s\"]}", p->source);
    assert_int_equal(vmb_repo_backup(r, options, strlen(options), &summary, NULL, NULL), VMB_OK);
    at = strstr(summary, "\"snapshot_id\":\"");
    assert_non_null(at);
    (void)snprintf(id, 65, "%.64s", at + strlen("\"snapshot_id\":\""));
    assert_non_null(strstr(summary, "\"total_files_processed\":2"));
    vmb_free(summary);
}

/* Files in a folder of the repository; empty folders come and go. */
static size_t count_files(const place *p, const char *dir)
{
    char path[160];
    size_t n = 0;
    (void)snprintf(path, sizeof(path), "%s/restic/shop/%s", p->folder, dir);
    DIR *d = opendir(path);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.' ? 1 : 0;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return n;
}

static void check_clean(vmb_repo *r)
{
    char *out = NULL;
    const char options[] = "{\"readData\":true}";
    assert_int_equal(vmb_repo_check(r, options, strlen(options), &out, NULL, NULL), VMB_OK);
    if (strstr(out, "\"errors\":0") == NULL) {
        fail_msg("%s", out);
    }
    vmb_free(out);
}

/* ---- arguments and options ------------------------------------------------------------------- */

static vmb_code drop_json(void *user, const char *json, size_t len)
{
    (void)user;
    (void)json;
    (void)len;
    return VMB_OK;
}

static vmb_code drop_data(void *user, const void *data, size_t len)
{
    (void)user;
    (void)data;
    (void)len;
    return VMB_OK;
}

static vmb_code drop_extent(void *user, int64_t offset, int64_t length, int32_t kind)
{
    (void)user;
    (void)offset;
    (void)length;
    (void)kind;
    return VMB_OK;
}

#define REFUSED(call) assert_int_equal((call), VMB_E_ARG)

static void repo_missing_arguments_refused(void **state)
{
    place *p = *state;
    vmb_repo *r = NULL;
    vmb_disk *disk = NULL;
    vmb_blocks_provider blocks = {.struct_size = sizeof(blocks)};
    char *out = NULL;
    REFUSED(vmb_repo_init(NULL, NULL, settings, strlen(settings), &r, NULL));
    REFUSED(vmb_repo_init(p->ctx, NULL, settings, strlen(settings), NULL, NULL));
    REFUSED(vmb_repo_open(NULL, NULL, settings, strlen(settings), &r, NULL));
    REFUSED(vmb_repo_open(p->ctx, NULL, settings, strlen(settings), NULL, NULL));
    REFUSED(vmb_repo_set_event_fn(NULL, NULL, NULL, NULL));
    REFUSED(vmb_repo_info_json(NULL, &out, NULL, NULL));
    REFUSED(vmb_repo_backup(NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_backup_disk(NULL, &blocks, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_restore(NULL, "latest", NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_restore_disk(NULL, "latest", &blocks, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_snapshots_json(NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_ls(NULL, "latest", NULL, 0, drop_json, NULL, NULL));
    REFUSED(vmb_repo_find(NULL, NULL, 0, drop_json, NULL, NULL));
    REFUSED(vmb_repo_dump(NULL, "latest", "/a", drop_data, NULL, NULL));
    REFUSED(vmb_repo_stats_json(NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_check(NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_forget(NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_prune(NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_copy(NULL, NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_unlock(NULL, 0, NULL, NULL));
    REFUSED(vmb_repo_keys_json(NULL, &out, NULL, NULL));
    REFUSED(vmb_repo_key_add(NULL, "x", 1, NULL, NULL));
    REFUSED(vmb_repo_key_remove(NULL, "x", NULL));
    REFUSED(vmb_repo_key_passwd(NULL, "x", 1, NULL, NULL));
    REFUSED(vmb_disk_open(NULL, "latest", NULL, 0, &disk, NULL));
    REFUSED(vmb_disk_extents(NULL, 0, 1, drop_extent, NULL, NULL));
    REFUSED(vmb_disk_pread(NULL, &blocks, 1, 0, NULL));
    assert_int_equal(vmb_disk_size(NULL), 0);
    vmb_repo_free(NULL);
    vmb_disk_free(NULL);
    vmb_repo_cancel(NULL);

    r = make(p);
    REFUSED(vmb_repo_info_json(r, NULL, NULL, NULL));
    REFUSED(vmb_repo_backup_disk(r, NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_restore(r, NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_restore_disk(r, "latest", NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_restore_disk(r, NULL, &blocks, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_snapshots_json(r, NULL, 0, NULL, NULL, NULL));
    REFUSED(vmb_repo_ls(r, "latest", NULL, 0, NULL, NULL, NULL));
    REFUSED(vmb_repo_ls(r, NULL, NULL, 0, drop_json, NULL, NULL));
    REFUSED(vmb_repo_find(r, NULL, 0, NULL, NULL, NULL));
    REFUSED(vmb_repo_dump(r, "latest", NULL, drop_data, NULL, NULL));
    REFUSED(vmb_repo_stats_json(r, NULL, 0, NULL, NULL, NULL));
    REFUSED(vmb_repo_copy(r, r, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_copy(r, NULL, NULL, 0, &out, NULL, NULL));
    REFUSED(vmb_repo_unlock(r, 2, NULL, NULL));
    REFUSED(vmb_repo_keys_json(r, NULL, NULL, NULL));
    REFUSED(vmb_repo_key_add(r, "", 0, NULL, NULL));
    REFUSED(vmb_repo_key_remove(r, "", NULL));
    REFUSED(vmb_disk_open(r, "latest", NULL, 1, &disk, NULL));
    REFUSED(vmb_disk_open(r, "latest", "a", 0, &disk, NULL));
    REFUSED(vmb_disk_open(r, "latest", NULL, 0, NULL, NULL));
    assert_null(out);
    vmb_repo_free(r);
}

typedef struct bad {
    const char *options;
    vmb_code code;
    const char *words; /* in the message */
} bad;

static void expect(vmb_code rc, vmb_error **slot, const bad *b)
{
    vmb_error *err = *slot; /* read after the call: the order of arguments is not given */
    if (rc != b->code || strstr(vmb_error_message(err), b->words) == NULL) {
        fail_msg("%s: %s: %s", b->options, vmb_code_name(rc), vmb_error_message(err));
    }
    vmb_error_free(err);
}

static void settings_bad_refused(void **state)
{
    static const bad all[] = {
        {"{", VMB_E_PARSE, "line 1"},
        {"[]", VMB_E_ARG, "must be an object, not array"},
        {"{}", VMB_E_ARG, "\"passwordFile\""},
        {"{\"pasword\":\"x\"}", VMB_E_ARG,
         "did you mean \"password\"?; known are prefix, password"},
        {"{\"password\":\"x\",\"passwordFile\":\"/y\"}", VMB_E_ARG, "not both"},
        {"{\"password\":\"\"}", VMB_E_ARG, "the password is empty"},
        {"{\"password\":1}", VMB_E_ARG, "\"password\" must be a string, not integer"},
        {"{\"passwordFile\":\"/nowhere\"}", VMB_E_NOT_FOUND, "open /nowhere"},
        {"{\"password\":\"x\",\"version\":3}", VMB_E_ARG, "\"version\" is 3, allowed are 1 to 2"},
        {"{\"password\":\"x\",\"packSize\":3}", VMB_E_ARG, "allowed are 4 to 128"},
        {"{\"password\":\"x\",\"packSize\":4.5}", VMB_E_ARG, "whole number"},
        {"{\"password\":\"x\",\"memory\":1}", VMB_E_ARG, "\"memory\""},
        {"{\"password\":\"x\",\"uploads\":17}", VMB_E_ARG, "\"uploads\""},
        {"{\"password\":\"x\",\"compression\":\"zip\"}", VMB_E_ARG, "auto, off, max"},
        {"{\"password\":\"x\",\"chunkerPolynomial\":\"xyz\"}", VMB_E_ARG, "hex"},
        {"{\"password\":\"x\",\"chunkerPolynomial\":\"3DA3358B4DC17_\"}", VMB_E_ARG, "hex"},
        {"{\"password\":\"x\",\"chunkerPolynomial\":\"0\"}", VMB_E_ARG, "is 0"},
        {"{\"password\":\"x\",\"chunkerPolynomial\":\"11\"}", VMB_E_ARG, "irreducible"},
        {"{\"password\":\"x\",\"lockWait\":\"5\"}", VMB_E_ARG, "Go duration"},
        {"{\"password\":\"x\",\"lockWait\":5}", VMB_E_ARG, "Go duration"},
        {"{\"password\":\"x\",\"noLock\":\"yes\"}", VMB_E_ARG, "true or false"},
        {"{\"password\":\"x\",\"prefix\":\"../a\"}", VMB_E_ARG, "\"prefix\""},
        {"{\"password\":\"x\",\"prefix\":\"/a\"}", VMB_E_ARG, "\"prefix\""},
        {"{\"password\":\"x\",\"prefix\":\"a//b\"}", VMB_E_ARG, "\"prefix\""},
        {"{\"password\":\"x\",\"prefix\":\"a/\"}", VMB_E_ARG, "slash"},
    };
    place *p = *state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        vmb_repo *r = NULL;
        vmb_error *err = NULL;
        expect(vmb_repo_init(p->ctx, NULL, all[i].options, strlen(all[i].options), &r, &err), &err,
               &all[i]);
        assert_null(r);
    }
    assert_int_equal(count_files(p, "."), 0);
    static const bad at_open = {"{\"password\":\"x\",\"version\":2}", VMB_E_ARG,
                                "\"version\" is fixed"};
    static const bad nowhere = {"other", VMB_E_NOT_FOUND, "known: only"};
    vmb_repo *r = NULL;
    vmb_error *err = NULL;
    expect(vmb_repo_open(p->ctx, NULL, at_open.options, strlen(at_open.options), &r, &err), &err,
           &at_open);
    err = NULL;
    expect(vmb_repo_open(p->ctx, "other", settings, strlen(settings), &r, &err), &err, &nowhere);
}

typedef vmb_code (*json_call)(vmb_repo *r, const char *options, size_t len, char **out,
                              size_t *out_len, vmb_error **err);

static vmb_code call_restore(vmb_repo *r, const char *options, size_t len, char **out,
                             size_t *out_len, vmb_error **err)
{
    return vmb_repo_restore(r, "latest", options, len, out, out_len, err);
}

static vmb_code call_ls(vmb_repo *r, const char *options, size_t len, char **out, size_t *out_len,
                        vmb_error **err)
{
    (void)out;
    (void)out_len;
    return vmb_repo_ls(r, "latest", options, len, drop_json, NULL, err);
}

static vmb_code call_find(vmb_repo *r, const char *options, size_t len, char **out, size_t *out_len,
                          vmb_error **err)
{
    (void)out;
    (void)out_len;
    return vmb_repo_find(r, options, len, drop_json, NULL, err);
}

static void options_bad_refused(void **state)
{
    static const struct {
        json_call call;
        bad b;
    } all[] = {
        {vmb_repo_backup, {"{}", VMB_E_ARG, "\"paths\" is missing"}},
        {vmb_repo_backup, {"{\"path\":[]}", VMB_E_ARG, "did you mean \"paths\""}},
        {vmb_repo_backup, {"{\"paths\":[1]}", VMB_E_ARG, "\"paths\" must be a string"}},
        {vmb_repo_backup, {"{\"paths\":[\"\"]}", VMB_E_ARG, "\"paths\" is empty"}},
        {vmb_repo_backup, {"{\"paths\":{}}", VMB_E_ARG, "a list of strings, not object"}},
        {vmb_repo_backup, {"{\"paths\":[\"a\"]}", VMB_E_ARG, "a"}},
        {vmb_repo_backup, {"{\"paths\":[\"/a\"],\"time\":\"now\"}", VMB_E_ARG, "2026-05-20"}},
        {vmb_repo_backup, {"{\"paths\":[\"/a\"],\"chunkSize\":65537}", VMB_E_ARG, "power of two"}},
        {vmb_repo_backup, {"{\"paths\":[\"/nowhere\"]}", VMB_E_NOT_FOUND, "nothing"}},
        {vmb_repo_backup, {"{\"paths\":[\"/\"],\"parent\":\"ab\"}", VMB_E_NOT_FOUND, "ab"}},
        {call_restore, {"{}", VMB_E_ARG, "\"target\" is missing"}},
        {call_restore, {"{\"target\":\"/x\",\"overwrite\":\"no\"}", VMB_E_ARG, "never, always"}},
        {call_restore, {"{\"target\":\"/x\"}", VMB_E_NOT_FOUND, ""}},
        {call_ls, {"{\"recurse\":true}", VMB_E_ARG, "did you mean \"recursive\""}},
        {call_ls, {"{}", VMB_E_NOT_FOUND, ""}},
        {call_find, {"{}", VMB_E_ARG, "\"patterns\" is missing"}},
        {call_find, {"{\"patterns\":[\"[\"]}", VMB_E_ARG, "["}},
        {vmb_repo_snapshots_json, {"{\"latest\":0}", VMB_E_ARG, "allowed are 1"}},
        {vmb_repo_snapshots_json, {"{\"tags\":[[\"a,b\"]]}", VMB_E_ARG, "without commas"}},
        {vmb_repo_stats_json, {"{\"mode\":\"size\"}", VMB_E_ARG, "raw-data"}},
        {vmb_repo_check, {"{\"readdata\":true}", VMB_E_ARG, "did you mean \"readData\""}},
        {vmb_repo_forget, {"{}", VMB_E_ARG, "policy"}},
        {vmb_repo_forget, {"{\"keepLast\":-2}", VMB_E_ARG, "allowed are -1"}},
        {vmb_repo_forget, {"{\"keepWithin\":\"1x\"}", VMB_E_ARG, "\"keepWithin\""}},
        {vmb_repo_forget, {"{\"keepLast\":1,\"groupBy\":\"size\"}", VMB_E_ARG, "\"groupBy\""}},
        {vmb_repo_forget,
         {"{\"keepLast\":1,\"snapshots\":[\"x\"]}", VMB_E_ARG, "either \"snapshots\""}},
        {vmb_repo_prune, {"{\"maxUnused\":101}", VMB_E_ARG, "0 to 100"}},
    };
    place *p = *state;
    vmb_repo *r = make(p);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        vmb_error *err = NULL;
        char *out = NULL;
        expect(all[i].call(r, all[i].b.options, strlen(all[i].b.options), &out, NULL, &err), &err,
               &all[i].b);
        assert_null(out);
    }
    assert_int_equal(count_files(p, "locks"), 0);
    vmb_repo_free(r);
}

/* ---- making and opening ---------------------------------------------------------------------- */

static void init_failed_leaves_nothing(void **state)
{
    (void)state;
    fakes f;
    vmb_ctx *ctx = NULL;
    vmb_repo *r = NULL;
    vmb_error *err = NULL;
    const char plain[] = "{\"password\":\"x\"}";
    fakes_init(&f);
    ctx = fakes_ctx(&f);
    f.lost_answer = "config"; /* the store has it, and says that it has not */
    assert_int_equal(vmb_repo_init(ctx, NULL, plain, strlen(plain), &r, &err), VMB_E_NET);
    vmb_error_free(err);
    assert_null(r);
    assert_int_equal(f.n_files, 0);
    f.lost_answer = NULL;
    assert_int_equal(vmb_repo_init(ctx, NULL, plain, strlen(plain), &r, NULL), VMB_OK);
    assert_int_equal(f.n_files, 2);
    vmb_repo_free(r);
    vmb_ctx_unref(ctx);
    fakes_done(&f);
}

static void open_tells_what_is_wrong(void **state)
{
    place *p = *state;
    vmb_repo *r = NULL;
    const char wrong[] = "{\"password\":\"falsch\",\"prefix\":\"restic/shop\"}";
    assert_int_equal(vmb_repo_open(p->ctx, NULL, settings, strlen(settings), &r, NULL),
                     VMB_E_NOT_FOUND);
    vmb_repo_free(make(p));
    assert_int_equal(vmb_repo_open(p->ctx, NULL, wrong, strlen(wrong), &r, NULL), VMB_E_DENIED);
    assert_int_equal(vmb_repo_init(p->ctx, NULL, settings, strlen(settings), &r, NULL),
                     VMB_E_EXISTS);
    assert_null(r);
    r = reopen(p);
    char *info = NULL;
    assert_int_equal(vmb_repo_info_json(r, &info, NULL, NULL), VMB_OK);
    assert_non_null(strstr(info, "\"prefix\":\"restic/shop\""));
    assert_non_null(strstr(info, "\"version\":2"));
    vmb_free(info);
    vmb_repo_free(r);
}

static void password_file_white_space_is_trimmed(void **state)
{
    place *p = *state;
    char file[160];
    char text[300];
    vmb_repo *r = NULL;
    vmb_repo_free(make(p));
    (void)snprintf(file, sizeof(file), "%s/pw", p->source);
    write_file(file, " geheim \r\n", 10);
    (void)snprintf(text, sizeof(text), "{\"passwordFile\":\"%s\",\"prefix\":\"restic/shop\"}",
                   file);
    assert_int_equal(vmb_repo_open(p->ctx, NULL, text, strlen(text), &r, NULL), VMB_OK);
    vmb_repo_free(r);
    write_file(file, "\n", 1);
    assert_int_equal(vmb_repo_open(p->ctx, NULL, text, strlen(text), &r, NULL), VMB_E_ARG);
}

static void read_only_location_is_only_read(void **state)
{
    place *p = *state;
    char id[65];
    char *out = NULL;
    vmb_repo *r = make(p);
    save(p, r, id);
    vmb_repo_free(r);
    vmb_ctx *ctx = context_of(p->folder, "ReadOnly");
    assert_int_equal(vmb_repo_init(ctx, NULL, settings, strlen(settings), &r, NULL), VMB_E_STATE);
    assert_int_equal(vmb_repo_open(ctx, NULL, settings, strlen(settings), &r, NULL), VMB_OK);
    assert_int_equal(vmb_repo_snapshots_json(r, NULL, 0, &out, NULL, NULL), VMB_OK);
    assert_non_null(strstr(out, id));
    vmb_free(out);
    check_clean(r);
    out = NULL;
    const char paths[] = "{\"paths\":[\"/\"]}";
    assert_int_equal(vmb_repo_backup(r, paths, strlen(paths), &out, NULL, NULL), VMB_E_STATE);
    assert_int_equal(vmb_repo_prune(r, NULL, 0, &out, NULL, NULL), VMB_E_STATE);
    assert_int_equal(vmb_repo_unlock(r, 0, NULL, NULL), VMB_E_STATE);
    assert_int_equal(vmb_repo_key_add(r, "x", 1, NULL, NULL), VMB_E_STATE);
    assert_null(out);
    vmb_repo_free(r);
    vmb_ctx_unref(ctx);
}

/* ---- state ----------------------------------------------------------------------------------- */

typedef struct watcher {
    vmb_repo *repo;
    int events;
    int64_t last_done;
    vmb_code inside; /* of a call from within */
    bool cancel;
} watcher;

static void watch(void *user, const vmb_event *event)
{
    watcher *w = user;
    char *out = NULL;
    w->events++;
    if (vmb_event_kind(event) == VMB_EVENT_PROGRESS) {
        w->last_done = vmb_event_done(event);
    }
    w->inside = vmb_repo_snapshots_json(w->repo, NULL, 0, &out, NULL, NULL);
    if (w->cancel) {
        vmb_repo_cancel(w->repo);
    }
}

static void call_within_an_event_refused(void **state)
{
    place *p = *state;
    char id[65];
    watcher w = {.repo = make(p)};
    assert_int_equal(vmb_repo_set_event_fn(w.repo, watch, &w, NULL), VMB_OK);
    save(p, w.repo, id);
    assert_true(w.events > 0);
    assert_int_equal(w.inside, VMB_E_STATE);
    check_clean(w.repo);
    vmb_repo_free(w.repo);
}

static void cancelled_call_ends_and_gives_its_lock_back(void **state)
{
    place *p = *state;
    char options[256];
    char *out = NULL;
    watcher w = {.repo = make(p), .cancel = true};
    (void)snprintf(options, sizeof(options), "{\"paths\":[\"%s\",\"/usr/include\"]}", p->source);
    assert_int_equal(vmb_repo_set_event_fn(w.repo, watch, &w, NULL), VMB_OK);
    assert_int_equal(vmb_repo_backup(w.repo, options, strlen(options), &out, NULL, NULL),
                     VMB_E_CANCELLED);
    assert_null(out);
    assert_int_equal(count_files(p, "locks"), 0);
    assert_int_equal(count_files(p, "snapshots"), 0);
    /* for good */
    assert_int_equal(vmb_repo_snapshots_json(w.repo, NULL, 0, &out, NULL, NULL), VMB_E_CANCELLED);
    assert_int_equal(vmb_repo_check(w.repo, NULL, 0, &out, NULL, NULL), VMB_E_CANCELLED);
    vmb_repo_free(w.repo);
    vmb_repo *r = reopen(p);
    check_clean(r);
    vmb_repo_free(r);
}

static void child_process_is_refused(void **state)
{
    place *p = *state;
    vmb_repo *r = make(p);
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        char *out = NULL;
        vmb_code rc = vmb_repo_snapshots_json(r, NULL, 0, &out, NULL, NULL);
        vmb_repo_cancel(r); /* must not reach the parent */
        vmb_repo_free(r);
        _exit(rc == VMB_E_FORKED ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    char *out = NULL;
    assert_int_equal(vmb_repo_snapshots_json(r, NULL, 0, &out, NULL, NULL), VMB_OK);
    assert_string_equal(out, "[]");
    vmb_free(out);
    vmb_repo_free(r);
}

/* A handle that stays open relies on nothing that was known before others pruned. */
static void index_is_read_anew_after_a_foreign_prune(void **state)
{
    place *p = *state;
    char id[65];
    char options[160];
    char *out = NULL;
    vmb_repo *a = make(p);
    save(p, a, id);
    vmb_repo *b = reopen(p);
    (void)snprintf(options, sizeof(options), "{\"snapshots\":[\"%s\"]}", id);
    assert_int_equal(vmb_repo_forget(b, options, strlen(options), &out, NULL, NULL), VMB_OK);
    assert_non_null(strstr(out, id));
    vmb_free(out);
    const char all[] = "{\"maxUnused\":0}";
    assert_int_equal(vmb_repo_prune(b, all, strlen(all), &out, NULL, NULL), VMB_OK);
    vmb_free(out);
    save(p, a, id); /* with what it remembers nothing would be stored */
    check_clean(b);
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/b", p->source);
    assert_int_equal(vmb_repo_dump(b, "latest", path, drop_data, NULL, NULL), VMB_OK);
    vmb_repo_free(a);
    vmb_repo_free(b);
}

static void lock_of_others_is_a_conflict(void **state)
{
    place *p = *state;
    char id[65];
    char *out = NULL;
    vmb_disk *disk = NULL;
    vmb_error *err = NULL;
    vmb_repo *a = make(p);
    save(p, a, id);
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/a", p->source);
    assert_int_equal(vmb_disk_open(a, "latest", path, 0, &disk, NULL), VMB_OK);
    assert_int_equal(count_files(p, "locks"), 1); /* as long as the disk is open */
    vmb_repo *b = reopen(p);
    assert_int_equal(vmb_repo_prune(b, NULL, 0, &out, NULL, &err), VMB_E_CONFLICT);
    assert_true((vmb_error_flags(err) & VMB_ERROR_RETRYABLE) != 0);
    vmb_error_free(err);
    assert_int_equal(vmb_repo_snapshots_json(b, NULL, 0, &out, NULL, NULL), VMB_OK);
    vmb_free(out);
    vmb_disk_free(disk);
    assert_int_equal(count_files(p, "locks"), 0);
    assert_int_equal(vmb_repo_prune(b, NULL, 0, &out, NULL, NULL), VMB_OK);
    vmb_free(out);
    vmb_repo_free(b);
    vmb_repo_free(a);
}

static void snapshots_without_memory_fail_cleanly(void **state)
{
    place *p = *state;
    char id[65];
    char *out = NULL;
    vmb_repo *r = make(p);
    save(p, r, id);
    const char options[] = "{\"host\":\"x\",\"tags\":[[\"a\",\"b\"]]}";
    vmbi_alloc_fail_from(0);
    assert_int_equal(vmb_repo_snapshots_json(r, options, strlen(options), &out, NULL, NULL),
                     VMB_OK);
    vmb_free(out);
    uint64_t total = vmbi_alloc_count();
    for (uint64_t i = 1; i <= total; i++) {
        vmb_error *err = NULL;
        out = NULL;
        vmbi_alloc_fail_from(i);
        vmb_code rc = vmb_repo_snapshots_json(r, options, strlen(options), &out, NULL, &err);
        vmbi_alloc_fail_from(0);
        assert_true(rc == VMB_OK || out == NULL);
        vmb_free(out);
        vmb_error_free(err);
    }
    check_clean(r);
    vmb_repo_free(r);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void keys_are_added_and_removed(void **state)
{
    place *p = *state;
    char *id = NULL;
    char *out = NULL;
    char start[9];
    vmb_repo *r = make(p);
    assert_int_equal(vmb_repo_key_add(r, "zweites", 7, &id, NULL), VMB_OK);
    assert_int_equal(strlen(id), 64);
    assert_int_equal(vmb_repo_keys_json(r, &out, NULL, NULL), VMB_OK);
    assert_non_null(strstr(out, id));
    const char *own = strstr(out, "\"current\":true");
    assert_non_null(own);
    own = strstr(own, "\"id\":\"");
    (void)snprintf(start, sizeof(start), "%.8s", own + 6);
    assert_int_equal(vmb_repo_key_remove(r, start, NULL), VMB_E_STATE); /* in use */
    (void)snprintf(start, sizeof(start), "%.8s", id);
    assert_int_equal(vmb_repo_key_remove(r, start, NULL), VMB_OK);
    assert_int_equal(vmb_repo_key_remove(r, start, NULL), VMB_E_NOT_FOUND);
    vmb_free(out);
    vmb_free(id);
    assert_int_equal(vmb_repo_key_passwd(r, "neu", 3, NULL, NULL), VMB_OK);
    vmb_repo_free(r);
    assert_int_equal(vmb_repo_open(p->ctx, NULL, settings, strlen(settings), &r, NULL),
                     VMB_E_DENIED);
    const char now[] = "{\"password\":\"neu\",\"prefix\":\"restic/shop\"}";
    assert_int_equal(vmb_repo_open(p->ctx, NULL, now, strlen(now), &r, NULL), VMB_OK);
    vmb_repo_free(r);
}

/* ---- disks ----------------------------------------------------------------------------------- */

enum { MIB = 1 << 20, DISK = 9 * MIB };

static void make_disk(const place *p, char path[200])
{
    (void)snprintf(path, 200, "%s.img", p->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, DISK), 0);
    for (int at = 0; at < 2 * MIB; at += 8) {
        uint64_t v = (uint64_t)at * UINT64_C(0x9e3779b97f4a7c15);
        assert_int_equal(pwrite(fd, &v, 8, at < MIB ? at : at + 4 * MIB), 8);
        if (at % 4096 != 0) {
            at += 4096 - 8 - at % 4096;
        }
    }
    (void)close(fd);
}

static vmb_code add_extent(void *user, int64_t offset, int64_t length, int32_t kind)
{
    int64_t *sum = user;
    assert_int_equal(offset, sum[0] + sum[1]);
    sum[kind == VMB_EXTENT_ZERO ? 1 : 0] += length;
    return VMB_OK;
}

static vmb_code stop_here(void *user, int64_t offset, int64_t length, int32_t kind)
{
    (void)user;
    (void)offset;
    (void)length;
    (void)kind;
    return VMB_E_FULL;
}

typedef struct reader {
    vmb_disk *disk;
    const unsigned char *expected;
    unsigned seed;
    vmb_code rc;
    bool same;
} reader;

static void *read_often(void *user)
{
    reader *r = user;
    unsigned char got[5000];
    r->same = true;
    for (int i = 0; i < 200 && r->rc == VMB_OK; i++) {
        r->seed = r->seed * 1103515245u + 12345u;
        size_t at = r->seed % (DISK - sizeof(got));
        r->rc = vmb_disk_pread(r->disk, got, sizeof(got), (int64_t)at, NULL);
        r->same = r->same && memcmp(got, r->expected + at, sizeof(got)) == 0;
    }
    return NULL;
}

static void disk_is_saved_read_and_restored(void **state)
{
    place *p = *state;
    char path[200];
    char *out = NULL;
    vmb_error *err = NULL;
    vmb_blocks_provider blocks;
    vmb_disk *disk = NULL;
    unsigned char *content = calloc(1, DISK);
    unsigned char *back = calloc(1, DISK);
    vmb_repo *r = make(p);
    make_disk(p, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, content, DISK), DISK);
    (void)close(fd);
    assert_int_equal(vmb_blocks_open_file(path, 0, &blocks, NULL), VMB_OK);
    const char options[] =
        "{\"name\":\"d\",\"path\":\"/x\",\"tags\":[\"t\"],\"chunkSize\":1048576}";
    assert_int_equal(vmb_repo_backup_disk(r, &blocks, options, strlen(options), &out, NULL, &err),
                     VMB_OK);
    assert_non_null(strstr(out, "\"total_bytes_processed\":9437184"));
    vmb_free(out);
    blocks.destroy(blocks.user);

    assert_int_equal(vmb_disk_open(r, "latest", NULL, 0, &disk, NULL), VMB_OK);
    assert_int_equal(vmb_disk_size(disk), DISK);
    int64_t sum[2] = {0, 0};
    assert_int_equal(vmb_disk_extents(disk, 0, DISK, add_extent, sum, NULL), VMB_OK);
    assert_int_equal(sum[0] + sum[1], DISK);
    assert_true(sum[1] >= 6 * MIB);
    assert_int_equal(vmb_disk_extents(disk, 0, DISK, stop_here, NULL, NULL), VMB_E_FULL);
    assert_int_equal(vmb_disk_pread(disk, back, DISK, 0, NULL), VMB_OK);
    assert_memory_equal(back, content, DISK);
    assert_int_equal(vmb_disk_pread(disk, back, 2, DISK - 1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_disk_pread(disk, back, 1, -1, NULL), VMB_E_ARG);
    assert_int_equal(vmb_disk_pread(disk, back, 0, DISK, NULL), VMB_OK);

    /* readers beside calls that read the index anew */
    reader readers[3];
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        readers[i] = (reader){.disk = disk, .expected = content, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, &readers[i]), 0);
    }
    char id[65];
    save(p, r, id);
    check_clean(r);
    assert_int_equal(vmb_repo_prune(r, NULL, 0, &out, NULL, NULL), VMB_E_STATE);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(readers[i].rc, VMB_OK);
        assert_true(readers[i].same);
    }

    char to[220];
    (void)snprintf(to, sizeof(to), "%s.out", path);
    assert_int_equal(vmb_blocks_open_file(to, 1, &blocks, NULL), VMB_OK);
    const char verify[] = "{\"verify\":true,\"tags\":[\"t\"]}";
    assert_int_equal(
        vmb_repo_restore_disk(r, "latest", &blocks, verify, strlen(verify), &out, NULL, NULL),
        VMB_OK);
    vmb_free(out);
    blocks.destroy(blocks.user);
    fd = open(to, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, back, DISK), DISK);
    (void)close(fd);
    assert_memory_equal(back, content, DISK);
    vmb_repo_free(r); /* the disk keeps it alive */
    assert_int_equal(vmb_disk_pread(disk, back, 10, 0, NULL), VMB_OK);
    vmb_disk_free(disk);
    assert_int_equal(count_files(p, "locks"), 0);
    free(content);
    free(back);
    (void)remove(path);
    (void)remove(to);
}

static vmb_code no_size(void *user, vmb_job *job, int64_t *size_bytes, vmb_error **err)
{
    (void)user;
    (void)job;
    (void)err;
    *size_bytes = 0;
    return VMB_OK;
}

static void blocks_table_is_checked(void **state)
{
    place *p = *state;
    char *out = NULL;
    vmb_blocks_provider b = {
        .struct_size = sizeof(b), .api_version = VMB_PROVIDER_API, .name = "b", .size = no_size};
    vmb_repo *r = make(p);
    REFUSED(vmb_repo_backup_disk(r, &b, NULL, 0, &out, NULL, NULL));            /* no pread */
    REFUSED(vmb_repo_restore_disk(r, "latest", &b, NULL, 0, &out, NULL, NULL)); /* no pwrite */
    b.struct_size = 16;
    REFUSED(vmb_repo_backup_disk(r, &b, NULL, 0, &out, NULL, NULL));
    b.struct_size = sizeof(b);
    b.api_version = 99;
    REFUSED(vmb_repo_backup_disk(r, &b, NULL, 0, &out, NULL, NULL));
    assert_int_equal(count_files(p, "locks"), 0);
    vmb_repo_free(r);
}

static void copy_takes_what_is_missing(void **state)
{
    place *p = *state;
    char id[65];
    char *out = NULL;
    vmb_repo *to = NULL;
    vmb_repo *from = make(p);
    save(p, from, id);
    const char other[] = "{\"password\":\"andere\",\"prefix\":\"kopie\"}";
    assert_int_equal(vmb_repo_init(p->ctx, NULL, other, strlen(other), &to, NULL), VMB_OK);
    assert_int_equal(vmb_repo_copy(from, to, NULL, 0, &out, NULL, NULL), VMB_OK);
    assert_non_null(strstr(out, "\"copied\":1"));
    assert_non_null(strstr(out, id));
    vmb_free(out);
    assert_int_equal(vmb_repo_copy(from, to, NULL, 0, &out, NULL, NULL), VMB_OK);
    assert_non_null(strstr(out, "\"known\":1"));
    vmb_free(out);
    check_clean(to);
    vmb_repo_free(from);
    vmb_repo_free(to);
}

static vmb_code end_at_once(void *user, const char *json, size_t len)
{
    (void)json;
    (void)len;
    ++*(int *)user;
    return VMB_E_FULL;
}

static vmb_code odd_code(void *user, const void *data, size_t len)
{
    (void)user;
    (void)data;
    (void)len;
    return 17;
}

static void receiver_ends_a_listing(void **state)
{
    place *p = *state;
    char id[65];
    int calls = 0;
    char path[200];
    vmb_repo *r = make(p);
    save(p, r, id);
    const char all[] = "{\"recursive\":true}";
    assert_int_equal(vmb_repo_ls(r, id, all, strlen(all), end_at_once, &calls, NULL), VMB_E_FULL);
    assert_int_equal(calls, 1);
    (void)snprintf(path, sizeof(path), "%s/b", p->source);
    assert_int_equal(vmb_repo_dump(r, id, path, odd_code, NULL, NULL), VMB_E_PROVIDER);
    assert_int_equal(count_files(p, "locks"), 0);
    vmb_repo_free(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(repo_missing_arguments_refused),
        TEST(settings_bad_refused),
        TEST(options_bad_refused),
        cmocka_unit_test(init_failed_leaves_nothing),
        TEST(open_tells_what_is_wrong),
        TEST(password_file_white_space_is_trimmed),
        TEST(read_only_location_is_only_read),
        TEST(call_within_an_event_refused),
        TEST(cancelled_call_ends_and_gives_its_lock_back),
        TEST(child_process_is_refused),
        TEST(index_is_read_anew_after_a_foreign_prune),
        TEST(lock_of_others_is_a_conflict),
        TEST(snapshots_without_memory_fail_cleanly),
        TEST(keys_are_added_and_removed),
        TEST(disk_is_saved_read_and_restored),
        TEST(blocks_table_is_checked),
        TEST(copy_takes_what_is_missing),
        TEST(receiver_ends_a_listing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
