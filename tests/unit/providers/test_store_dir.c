/* SPDX-License-Identifier: Apache-2.0 */
/* What the conformance suite cannot ask of a folder: links, leftovers, settings, memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "providers/builtin.h"

struct fixture {
    char dir[64];
    vmb_store_provider p;
    struct vmb_job job;
};

static vmb_code open_store(const char *settings_text, vmb_store_provider *out, vmb_error **err)
{
    vmbi_json *settings = NULL;
    vmb_code code =
        vmbi_json_parse(settings_text, strlen(settings_text), "settings", &settings, err);

    if (code == VMB_OK) {
        code = vmbi_store_dir_new(settings, out, err);
    }
    vmbi_json_free(settings);
    return code;
}

static int setup(void **state)
{
    static struct fixture f;
    char settings[256];

    memset(&f, 0, sizeof(f));
    snprintf(f.dir, sizeof(f.dir), "/tmp/vmbackup-dir-XXXXXX");
    if (!mkdtemp(f.dir)) {
        return -1;
    }
    snprintf(settings, sizeof(settings), "{\"config\":{\"path\":\"%s\"},\"bucket\":\"b\"}", f.dir);
    *state = &f;
    return open_store(settings, &f.p, NULL) == VMB_OK ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    f->p.destroy(f->p.user);
    return nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static vmb_code put(struct fixture *f, const char *key, const char *text, uint32_t flags,
                    vmb_error **err)
{
    void *op = NULL;
    vmb_code code = f->p.put_begin(f->p.user, &f->job, key, -1, flags, &op, err);

    if (code != VMB_OK) {
        return code;
    }
    code = f->p.put_write(f->p.user, &f->job, op, text, strlen(text), err);
    if (code != VMB_OK) {
        f->p.put_abort(f->p.user, op);
        return code;
    }
    return f->p.put_commit(f->p.user, &f->job, op, err);
}

static vmb_code get(struct fixture *f, const char *key, vmbi_buf *out, vmb_error **err)
{
    struct vmb_sink sink = vmbi_sink_to_buf(out);

    return f->p.get(f->p.user, &f->job, key, 0, -1, &sink, err);
}

/* How many entries a folder below the store has, the private one not counted. */
static int entries(struct fixture *f, const char *below)
{
    char path[256];
    struct dirent *e = NULL;
    DIR *d = NULL;
    int n = 0;

    snprintf(path, sizeof(path), "%s/b/%s", f->dir, below);
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        n += e->d_name[0] == '.' ? 0 : 1;
    }
    if (d) {
        closedir(d);
    }
    return d ? n : -1;
}

static void keys_that_leave_the_folder_are_refused(void **state)
{
    static const char *const bad[] = {
        "..",  "../x", "a/../../x", "a/..",  "/etc/x",        "a//b",           "a/",
        "./a", ".",    "",          "a/./b", ".vmbackup-tmp", ".vmbackup-tmp/x"};
    struct fixture *f = *state;
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmbi_buf b = VMBI_BUF_INIT(100);

        assert_int_equal(put(f, bad[i], "x", 0, NULL), VMB_E_ARG);
        assert_int_equal(get(f, bad[i], &b, NULL), VMB_E_ARG);
        assert_int_equal(f->p.remove(f->p.user, &f->job, bad[i], NULL), VMB_E_ARG);
    }
    assert_int_equal(put(f, "..x", "x", 0, NULL), VMB_OK);
    assert_int_equal(put(f, "...", "x", 0, NULL), VMB_OK);
}

static void links_are_not_followed(void **state)
{
    struct fixture *f = *state;
    vmbi_buf b = VMBI_BUF_INIT(4096);
    char link_path[256];
    char target[256];

    snprintf(target, sizeof(target), "%s/outside", f->dir);
    assert_int_equal(mkdir(target, 0700), 0);
    snprintf(link_path, sizeof(link_path), "%s/b/link", f->dir);
    assert_int_equal(symlink(target, link_path), 0);
    snprintf(link_path, sizeof(link_path), "%s/b/file", f->dir);
    assert_int_equal(symlink("/etc/passwd", link_path), 0);
    assert_int_not_equal(put(f, "link/x", "x", 0, NULL), VMB_OK);
    assert_int_equal(get(f, "file", &b, NULL), VMB_E_NOT_FOUND);
    assert_int_equal(b.len, 0);
    assert_int_equal(f->p.remove(f->p.user, &f->job, "file", NULL), VMB_OK);
    assert_int_equal(access(link_path, F_OK), 0);
    snprintf(link_path, sizeof(link_path), "%s/outside/x", f->dir);
    assert_int_not_equal(access(link_path, F_OK), 0);
    /* A put over a link replaces the link, not what it leads to. */
    assert_int_equal(put(f, "file", "mine", 0, NULL), VMB_OK);
    assert_int_equal(get(f, "file", &b, NULL), VMB_OK);
    assert_string_equal(b.data, "mine");
    vmbi_buf_free(&b);
}

static void object_and_objects_below_it_exclude_each_other(void **state)
{
    struct fixture *f = *state;
    vmb_error *err = NULL;

    assert_int_equal(put(f, "a", "x", 0, NULL), VMB_OK);
    assert_int_equal(put(f, "a/b", "x", 0, &err), VMB_E_UNSUPPORTED);
    assert_non_null(strstr(vmb_error_message(err), "\"a/b\""));
    vmb_error_free(err);
    assert_int_equal(put(f, "c/d", "x", 0, NULL), VMB_OK);
    assert_int_equal(put(f, "c", "x", 0, NULL), VMB_E_UNSUPPORTED);
}

static void nothing_is_left_of_what_was_removed_or_dropped(void **state)
{
    struct fixture *f = *state;
    void *op = NULL;

    assert_int_equal(put(f, "x/y/z", "1", 0, NULL), VMB_OK);
    assert_int_equal(put(f, "x/y/z", "2", 0, NULL), VMB_OK);
    assert_int_equal(f->p.remove(f->p.user, &f->job, "x/y/z", NULL), VMB_OK);
    assert_int_equal(entries(f, ""), 0);
    assert_int_equal(f->p.put_begin(f->p.user, &f->job, "p/q", -1, 0, &op, NULL), VMB_OK);
    assert_int_equal(f->p.put_write(f->p.user, &f->job, op, "x", 1, NULL), VMB_OK);
    f->p.put_abort(f->p.user, op);
    assert_int_equal(entries(f, ""), 0);
    assert_true(entries(f, ".vmbackup-tmp") <= 0);
}

static void settings_that_are_wrong_are_refused(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"config\":{}}",
        "{\"config\":{\"path\":\"relative\"}}",
        "{\"config\":{\"path\":\"/tmp\",\"mode\":\"x\"}}",
        "{\"config\":{\"path\":\"/tmp\"},\"buket\":\"x\"}",
        "{\"config\":{\"path\":\"/tmp\"},\"bucket\":\"..\"}",
        "{\"config\":{\"path\":\"/tmp\"},\"bucket\":\"a/b\"}",
    };
    vmb_store_provider p;
    vmb_error *err = NULL;
    size_t i = 0;

    (void)state;
    memset(&p, 0, sizeof(p));
    for (i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        assert_int_equal(open_store(bad[i], &p, NULL), VMB_E_ARG);
    }
    assert_int_equal(open_store("{\"config\":{\"path\":\"/no/such/mount\"}}", &p, &err),
                     VMB_E_NOT_FOUND);
    assert_non_null(strstr(vmb_error_message(err), "/no/such/mount"));
    assert_null(p.user);
    vmb_error_free(err);
}

static vmb_code count_key(void *user, const char *key, int64_t size, int64_t mtime,
                          int32_t is_prefix, vmb_error **err)
{
    (void)key;
    (void)size;
    (void)mtime;
    (void)is_prefix;
    (void)err;
    ++*(int *)user;
    return VMB_OK;
}

/* Every allocation fails once: the operation fails with VMB_E_NOMEM or works, and whatever was
 * there before is there after it. */
static void memory_running_out_spoils_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t n = 0;
    bool all_worked = false;

    assert_int_equal(put(f, "k/old", "old", 0, NULL), VMB_OK);
    for (n = 1; n < 200 && !all_worked; n++) {
        vmbi_buf b = VMBI_BUF_INIT(1024);
        int count = 0;
        struct vmb_key_sink keys = {count_key, &count};
        vmb_code codes[4];
        size_t i = 0;

        vmbi_alloc_fail_from(n);
        codes[0] = put(f, "k/old", "old", 0, NULL);
        codes[1] = get(f, "k/old", &b, NULL);
        codes[2] = f->p.list(f->p.user, &f->job, "k", "/", &keys, NULL);
        codes[3] = f->p.remove(f->p.user, &f->job, "k/none", NULL);
        vmbi_alloc_fail_from(0);
        all_worked = true;
        for (i = 0; i < VMBI_ARRAY_LEN(codes); i++) {
            assert_true(codes[i] == VMB_OK || codes[i] == VMB_E_NOMEM);
            all_worked = all_worked && codes[i] == VMB_OK;
        }
        vmbi_buf_free(&b);
        assert_int_equal(get(f, "k/old", &b, NULL), VMB_OK);
        assert_string_equal(b.data, "old");
        vmbi_buf_free(&b);
    }
    assert_true(all_worked && n > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_that_leave_the_folder_are_refused),
        TEST(links_are_not_followed),
        TEST(object_and_objects_below_it_exclude_each_other),
        TEST(nothing_is_left_of_what_was_removed_or_dropped),
        TEST(settings_that_are_wrong_are_refused),
        TEST(memory_running_out_spoils_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
