/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that nobody's backup has made, and sources that change under a backup's feet. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/json.h"
#include "providers/builtin.h"
#include "repo/ops/copy.h"
#include "repo/ops/find.h"
#include "repo/ops/ls.h"
#include "repo/ops/stats.h"
#include "repo/tree/backup.h"
#include "repo/tree/pattern.h"
#include "repo/tree/restore.h"

typedef struct world {
    char top[64];
    char source[96];
    char target[96];
    vmb_store_provider store;
    vmb_job job;
    vmbi_repo *repo;
    unsigned warnings;
    char last_warning[512];
} world;

static world w;

static void warn(void *user, const char *path, const char *text)
{
    (void)user;
    w.warnings++;
    snprintf(w.last_warning, sizeof(w.last_warning), "%s: %s", path, text);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_all(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS), 0);
}

static int set_up(void **state)
{
    char repo[96];
    (void)state;
    memset(&w, 0, sizeof(w));
    snprintf(w.top, sizeof(w.top), "/tmp/vmb-tree-XXXXXX");
    assert_non_null(mkdtemp(w.top));
    snprintf(repo, sizeof(repo), "%s/repo", w.top);
    snprintf(w.source, sizeof(w.source), "%s/source", w.top);
    snprintf(w.target, sizeof(w.target), "%s/target", w.top);
    assert_int_equal(mkdir(repo, 0700) | mkdir(w.source, 0700) | mkdir(w.target, 0700), 0);
    vmbi_json *settings = vmbi_json_object();
    vmbi_json *config = vmbi_json_ensure_object(settings, "config");
    assert_true(vmbi_json_set_str(config, "path", repo));
    assert_int_equal(vmbi_store_dir_new(settings, &w.store, NULL), VMB_OK);
    vmbi_json_free(settings);
    vmbi_repo_options o = {.store = &w.store, .job = &w.job, .password = "x", .password_len = 1,
                           .scrypt_n = 1024, .scrypt_r = 8, .scrypt_p = 1};
    assert_int_equal(vmbi_repo_init(&o, &w.repo, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_lock(w.repo, VMBI_REPO_SHARED, 0, NULL), VMB_OK);
    assert_int_equal(vmbi_repo_load_index(w.repo, NULL), VMB_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vmbi_repo_close(w.repo);
    if (w.store.destroy != NULL) {
        w.store.destroy(w.store.user);
    }
    remove_all(w.top);
    return 0;
}

/* ---- trees by hand ----------------------------------------------------------------------------- */

#define TIMES                                                                  \
    "\"mtime\":\"2024-01-01T00:00:00Z\",\"atime\":\"2024-01-01T00:00:00Z\"," \
    "\"ctime\":\"2024-01-01T00:00:00Z\",\"uid\":0,\"gid\":0"

static void save_tree(const char *nodes, char hex[VMBI_REPO_HEX_SIZE])
{
    vmbi_buf b = VMBI_BUF_INIT(1 << 20);
    vmbi_repo_id id;
    vmbi_buf_addf(&b, "{\"nodes\":[%s]}\n", nodes);
    assert_int_equal(vmbi_repo_save_blob(w.repo, VMBI_BLOB_TREE, b.data, b.len, &id, NULL, NULL),
                     VMB_OK);
    vmbi_repo_id_hex(&id, hex);
    vmbi_buf_free(&b);
}

static void save_data(const char *data, char hex[VMBI_REPO_HEX_SIZE])
{
    vmbi_repo_id id;
    assert_int_equal(vmbi_repo_save_blob(w.repo, VMBI_BLOB_DATA, data, strlen(data), &id, NULL,
                                         NULL), VMB_OK);
    vmbi_repo_id_hex(&id, hex);
}

static void save_snapshot(const char *tree)
{
    char id[VMBI_REPO_HEX_SIZE];
    vmbi_json *snap = vmbi_json_object();
    assert_true(vmbi_json_set_str(snap, "time", "2024-01-01T00:00:00Z"));
    assert_true(vmbi_json_set_str(snap, "tree", tree));
    assert_int_equal(vmbi_repo_snapshot_save(w.repo, snap, id, NULL), VMB_OK);
    vmbi_json_free(snap);
}

static vmb_code restore(vmbi_restore_stats *stats, vmbi_overwrite overwrite, vmb_error **err)
{
    vmbi_restore_options o = {.snapshot = "latest", .target = w.target, .warn = warn,
                              .overwrite = overwrite};
    w.warnings = 0;
    return vmbi_tree_restore(w.repo, &o, &w.job, stats, err);
}

static vmb_code drop(void *user, const char *json, size_t len, vmb_error **err)
{
    (void)json;
    (void)len;
    (void)err;
    (*(size_t *)user)++;
    return VMB_OK;
}

static vmb_code list_all(size_t *lines, vmb_error **err)
{
    vmbi_snapshot s = {0};
    vmbi_ls_options o = {NULL, true};
    *lines = 0;
    assert_int_equal(vmbi_snapshot_find(w.repo, "latest", NULL, &s, NULL), VMB_OK);
    vmb_code rc = vmbi_ls(w.repo, &s, &o, &w.job, drop, lines, err);
    vmbi_snapshot_done(&s);
    return rc;
}

static bool is_there(const char *base, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", base, name);
    return lstat(path, &st) == 0;
}

static void restore_hostile_names_stays_in_the_target(void **state)
{
    static const char *const names[] = {"../evil", "..", ".", "", "a/b", "/etc/evil",
                                        "\\\\x2e\\\\x2e", "a\\\\x2fb", "a\\u0000b", "a\\\\x00b"};
    char data[VMBI_REPO_HEX_SIZE];
    char tree[VMBI_REPO_HEX_SIZE];
    char node[1024];
    (void)state;
    save_data("evil", data);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(names); i++) {
        vmbi_restore_stats stats;
        vmb_error *err = NULL;
        size_t lines = 0;
        snprintf(node, sizeof(node),
                 "{\"name\":\"%s\",\"type\":\"file\",\"mode\":420," TIMES ",\"content\":[\"%s\"]}",
                 names[i], data);
        save_tree(node, tree);
        save_snapshot(tree);
        assert_int_not_equal(restore(&stats, VMBI_OVERWRITE_ALWAYS, &err), VMB_OK);
        vmb_error_free(err);
        err = NULL;
        assert_int_not_equal(list_all(&lines, &err), VMB_OK);
        vmb_error_free(err);
        assert_int_equal(lines, 0);
        assert_false(is_there(w.top, "evil"));
        assert_int_equal(rmdir(w.target), 0); /* nothing was made in it */
        assert_int_equal(mkdir(w.target, 0700), 0);
        tear_down(NULL);
        set_up(NULL);
        save_data("evil", data);
    }
}

static void restore_through_a_symlink_of_the_snapshot_is_refused(void **state)
{
    char data[VMBI_REPO_HEX_SIZE];
    char below[VMBI_REPO_HEX_SIZE];
    char tree[VMBI_REPO_HEX_SIZE];
    char nodes[4096];
    vmbi_restore_stats stats;
    (void)state;
    save_data("evil", data);
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"f\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"inode\":5,\"links\":2,\"content\":[\"%s\"]}", data);
    save_tree(nodes, below);
    /* one name twice: a link out of the target, then a folder with a file */
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"a\",\"type\":\"symlink\",\"mode\":134218239," TIMES
             ",\"linktarget\":\"%s\",\"content\":null},"
             "{\"name\":\"a\",\"type\":\"dir\",\"mode\":2147484141," TIMES
             ",\"content\":null,\"subtree\":\"%s\"},"
             "{\"name\":\"g\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"inode\":5,\"links\":2,\"content\":[\"%s\"]}",
             w.source, below, data);
    save_tree(nodes, tree);
    save_snapshot(tree);
    assert_int_equal(restore(&stats, VMBI_OVERWRITE_NEVER, NULL), VMB_OK);
    assert_int_equal(stats.warnings, 1);
    assert_false(is_there(w.source, "f"));
    assert_true(is_there(w.target, "g"));
    assert_int_equal(restore(&stats, VMBI_OVERWRITE_ALWAYS, NULL), VMB_OK);
    assert_false(is_there(w.source, "f"));
}

/* What lay at the name before is not the file that could not be restored. */
static void restore_of_a_link_to_a_file_that_failed_writes_the_content(void **state)
{
    char data[VMBI_REPO_HEX_SIZE];
    char tree[VMBI_REPO_HEX_SIZE];
    char nodes[4096];
    char path[128];
    struct stat st;
    vmbi_restore_stats stats;
    (void)state;
    save_data("content", data);
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"a\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"inode\":5,\"links\":2,\"content\":[\"%064d\"]},"
             "{\"name\":\"b\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"inode\":5,\"links\":2,\"content\":[\"%s\"]}", 7, data);
    save_tree(nodes, tree);
    save_snapshot(tree);
    snprintf(path, sizeof(path), "%s/a", w.target);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "old", 3), 3);
    assert_int_equal(close(fd), 0);
    assert_int_equal(restore(&stats, VMBI_OVERWRITE_ALWAYS, NULL), VMB_OK);
    assert_int_equal(stats.warnings, 1);
    snprintf(path, sizeof(path), "%s/b", w.target);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, strlen("content"));
}

static void restore_of_a_half_good_folder_keeps_files_in_their_places(void **state)
{
    char data[VMBI_REPO_HEX_SIZE];
    char below[VMBI_REPO_HEX_SIZE];
    char tree[VMBI_REPO_HEX_SIZE];
    char nodes[4096];
    vmbi_restore_stats stats;
    (void)state;
    save_data("good", data);
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"good\",\"type\":\"file\",\"mode\":420," TIMES ",\"content\":[\"%s\"]},"
             "{\"name\":\"../bad\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"content\":[\"%s\"]}", data, data);
    save_tree(nodes, below);
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"d\",\"type\":\"dir\",\"mode\":2147484141," TIMES
             ",\"content\":null,\"subtree\":\"%s\"},"
             "{\"name\":\"z\",\"type\":\"file\",\"mode\":420," TIMES ",\"content\":[\"%s\"]}",
             below, data);
    save_tree(nodes, tree);
    save_snapshot(tree);
    assert_int_equal(restore(&stats, VMBI_OVERWRITE_NEVER, NULL), VMB_OK);
    assert_int_equal(stats.warnings, 1);
    assert_true(is_there(w.target, "d/good"));
    assert_true(is_there(w.target, "z"));
    assert_false(is_there(w.target, "good"));
    assert_false(is_there(w.target, "bad"));
}

static void restore_lies_about_sizes_are_not_believed(void **state)
{
    char data[VMBI_REPO_HEX_SIZE];
    char tree[VMBI_REPO_HEX_SIZE];
    char nodes[4096];
    char path[128];
    struct stat st;
    vmbi_restore_stats stats;
    (void)state;
    save_data("four", data);
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"huge\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"size\":9223372036854775807,\"content\":[\"%s\"]},"
             "{\"name\":\"lost\",\"type\":\"file\",\"mode\":420," TIMES
             ",\"size\":4,\"content\":"
             "[\"abababababababababababababababababababababababababababababababab\"]}",
             data);
    save_tree(nodes, tree);
    save_snapshot(tree);
    assert_int_equal(restore(&stats, VMBI_OVERWRITE_NEVER, NULL), VMB_OK);
    snprintf(path, sizeof(path), "%s/huge", w.target);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(stats.warnings, 1);
    assert_non_null(strstr(w.last_warning, "the index has no blob abab"));
    assert_false(is_there(w.target, "lost"));
}

static void nest(int levels, char tree[VMBI_REPO_HEX_SIZE])
{
    char nodes[1024];
    save_tree("", tree);
    for (int i = 0; i < levels; i++) {
        snprintf(nodes, sizeof(nodes),
                 "{\"name\":\"d\",\"type\":\"dir\",\"mode\":2147484141," TIMES
                 ",\"content\":null,\"subtree\":\"%s\"}", tree);
        save_tree(nodes, tree);
    }
    save_snapshot(tree);
}

static void walk_deep_trees_end_with_an_error(void **state)
{
    char tree[VMBI_REPO_HEX_SIZE];
    size_t lines = 0;
    vmb_error *err = NULL;
    vmbi_ops_stats stats;
    (void)state;
    nest(900, tree);
    assert_int_equal(list_all(&lines, NULL), VMB_OK);
    assert_int_equal(lines, 900);
    assert_int_equal(vmbi_stats(w.repo, VMBI_STATS_RAW_DATA, NULL, &w.job, &stats, NULL), VMB_OK);
    assert_int_equal(stats.total_blob_count, 901);
    tear_down(NULL);
    set_up(NULL);
    nest(1100, tree);
    assert_int_equal(list_all(&lines, &err), VMB_E_LIMIT);
    vmb_error_free(err);
    assert_int_equal(vmbi_stats(w.repo, VMBI_STATS_RESTORE_SIZE, NULL, &w.job, &stats, NULL),
                     VMB_E_LIMIT);
}

static void find_goes_on_behind_a_damaged_tree(void **state)
{
    static const char *const patterns[] = {"z"};
    vmbi_find_options o = {.patterns = patterns, .n_patterns = 1};
    char tree[VMBI_REPO_HEX_SIZE];
    char nodes[2048];
    size_t hits = 0;
    (void)state;
    snprintf(nodes, sizeof(nodes),
             "{\"name\":\"a\",\"type\":\"dir\",\"mode\":2147484141," TIMES ",\"content\":null,"
             "\"subtree\":\"abababababababababababababababababababababababababababababababab\"},"
             "{\"name\":\"z\",\"type\":\"file\",\"mode\":420," TIMES ",\"content\":[]}");
    save_tree(nodes, tree);
    save_snapshot(tree);
    assert_int_equal(vmbi_find(w.repo, &o, &w.job, drop, &hits, NULL), VMB_OK);
    assert_int_equal(hits, 1);
}

/* ---- sources that change ----------------------------------------------------------------------- */

static void put(const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", w.source, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Called after the first folder: what is listed behind it is not looked at yet. */
static void take_away(void *user, const vmbi_tree_stats *so_far)
{
    char path[160];
    (void)user;
    if (so_far->dirs == 1) {
        snprintf(path, sizeof(path), "%s/vanishes", w.source);
        (void)unlink(path);
        snprintf(path, sizeof(path), "%s/was-a-folder", w.source);
        (void)rmdir(path);
        put("was-a-folder", "now a file");
    }
}

static void backup_entries_that_vanish_are_warned_of(void **state)
{
    char path[160];
    const char *const paths[] = {w.source};
    char id[VMBI_REPO_HEX_SIZE];
    vmbi_tree_options o = {.paths = paths, .n_paths = 1, .warn = warn, .progress = take_away,
                           .hostname = "h"};
    vmbi_tree_stats stats;
    (void)state;
    snprintf(path, sizeof(path), "%s/a-first", w.source);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/was-a-folder", w.source);
    assert_int_equal(mkdir(path, 0700), 0);
    put("stays", "1");
    put("vanishes", "2");
    assert_int_equal(vmbi_tree_backup(w.repo, &o, &w.job, id, &stats, NULL), VMB_OK);
    assert_int_equal(stats.warnings, 1);
    assert_non_null(strstr(w.last_warning, "/vanishes: "));
    assert_int_equal(stats.files, 2);
}

static void backup_of_what_is_not_there_is_not_found(void **state)
{
    static const char *const paths[] = {"/nowhere/at/all"};
    char id[VMBI_REPO_HEX_SIZE];
    vmbi_tree_options o = {.paths = paths, .n_paths = 1, .warn = warn};
    vmb_error *err = NULL;
    (void)state;
    assert_int_equal(vmbi_tree_backup(w.repo, &o, &w.job, id, NULL, &err), VMB_E_NOT_FOUND);
    vmb_error_free(err);
}

static void backup_malformed_options_are_named(void **state)
{
    static const char *const bad[] = {"a[", "[", "[]a]", "[a-]", "x\\"};
    const char *const paths[] = {w.source};
    char id[VMBI_REPO_HEX_SIZE];
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmb_error *err = NULL;
        vmbi_tree_options o = {.paths = paths, .n_paths = 1, .excludes = &bad[i], .n_excludes = 1};
        assert_int_equal(vmbi_tree_backup(w.repo, &o, &w.job, id, NULL, &err), VMB_E_ARG);
        assert_non_null(strstr(vmb_error_message(err), bad[i]));
        vmb_error_free(err);
    }
    vmbi_tree_options o = {.paths = paths, .n_paths = 1, .disk_chunk_bytes = 100000};
    assert_int_equal(vmbi_tree_backup(w.repo, &o, &w.job, id, NULL, NULL), VMB_E_ARG);
}

/* ---- patterns ---------------------------------------------------------------------------------- */

static void pattern_matches(const char *pattern, const char *path, bool want, bool want_child)
{
    vmbi_patterns *p = NULL;
    bool hit = false;
    bool child = false;
    assert_int_equal(vmbi_patterns_new(&pattern, 1, false, &p, NULL), VMB_OK);
    assert_int_equal(vmbi_patterns_match(p, path, &hit, &child, NULL), VMB_OK);
    if (hit != want || child != want_child) {
        fail_msg("%s and %s: matched %d, below %d", pattern, path, hit, child);
    }
    vmbi_patterns_free(p);
}

static void patterns_match_as_restics(void **state)
{
    (void)state;
    pattern_matches("foo", "/a/foo", true, true);
    pattern_matches("foo", "/a/foo/b", true, true);
    pattern_matches("foo", "/a/food", false, true);
    pattern_matches("/a/b", "/a/b/c", true, true);
    pattern_matches("/a/b", "/x/a/b", false, false);
    pattern_matches("/a/b", "/a", false, true);
    pattern_matches("/a/**/z", "/a/b/c/z", true, true);
    pattern_matches("/a/**/z", "/a/z", true, true);
    pattern_matches("/a/**/z", "/b/z", false, false);
    pattern_matches("**", "/x", true, true);
    pattern_matches("a/../b/./c/", "/b/c", true, true);
    pattern_matches("[^a]*", "/bcd", true, true);
    pattern_matches("[^a]*", "/abc", false, true);
    pattern_matches("caf?", "/caf\xc3\xa9", true, true);
    pattern_matches("\\*", "/*", true, true);
    pattern_matches("x*y*z", "/xaybzcz", true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(restore_hostile_names_stays_in_the_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(restore_of_a_link_to_a_file_that_failed_writes_the_content,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(restore_through_a_symlink_of_the_snapshot_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(restore_of_a_half_good_folder_keeps_files_in_their_places,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(restore_lies_about_sizes_are_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(walk_deep_trees_end_with_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(find_goes_on_behind_a_damaged_tree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(backup_entries_that_vanish_are_warned_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(backup_of_what_is_not_there_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(backup_malformed_options_are_named, set_up, tear_down),
        cmocka_unit_test(patterns_match_as_restics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
