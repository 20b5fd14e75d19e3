/* SPDX-License-Identifier: Apache-2.0 */
/* Filesystem backup into repositories: places on a node, passwords, names, and ways there and
 * back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strs.h"
#include "fake_cluster.h"
#include "providers/builtin.h"
#include "providers/volume_repo/volume_repo.h"

typedef struct fixture {
    char dir[64];
    fake_cluster cluster;
    vmb_store_provider store;
    vmb_volume_provider p;
    vmb_job job;
    vmbi_buf result;
    vmb_error *err;
    int64_t done, total;
    int64_t most;
} fixture;

static void keep_progress(void *user, int64_t done, int64_t total)
{
    fixture *f = user;
    f->done = done;
    f->total = total;
    f->most = done > f->most ? done : f->most;
}

/* The provider with settings, ' for ". */
static vmb_code open_provider(fixture *f, const char *settings)
{
    vmbi_json *tree = fake_json(settings);
    vmb_error_free(f->err);
    f->err = NULL;
    vmb_code rc = vmbi_volume_repo_new(tree, &f->p, &f->err);
    vmbi_json_free(tree);
    return rc;
}

static void reopen_provider(fixture *f, const char *more)
{
    char text[512];
    if (f->p.destroy != NULL) {
        f->p.destroy(f->p.user);
    }
    (void)snprintf(text, sizeof(text), "{'hostPods':'%s/pods'%s}", f->dir, more);
    assert_int_equal(open_provider(f, text), VMB_OK);
}

static int setup(void **state)
{
    static fixture f;
    char text[256];
    memset(&f, 0, sizeof(f));
    (void)snprintf(f.dir, sizeof(f.dir), "/tmp/vmbackup-volumes-XXXXXX");
    if (mkdtemp(f.dir) == NULL) {
        return -1;
    }
    fake_open(&f.cluster, "");
    fake_backup(&f.cluster, "b1", "{\"metadata\":{\"name\":\"b1\",\"namespace\":\"vel\"}}");
    (void)snprintf(text, sizeof(text), "{'config':{'path':'%s'},'bucket':'store'}", f.dir);
    vmbi_json *settings = fake_json(text);
    vmb_code rc = vmbi_store_dir_new(settings, &f.store, NULL);
    vmbi_json_free(settings);
    f.job = f.cluster.job;
    f.job.store = &f.store;
    f.job.store_prefix = "velero";
    vmbi_buf_init(&f.result, 1 << 20);
    *state = &f;
    reopen_provider(&f, ",'node':'n1'");
    return rc == VMB_OK ? 0 : -1;
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
    fixture *f = *state;
    if (f->p.destroy != NULL) {
        f->p.destroy(f->p.user);
    }
    f->store.destroy(f->store.user);
    fake_close(&f->cluster);
    vmbi_buf_free(&f->result);
    vmb_error_free(f->err);
    return nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Makes the folders of a path below the fixture's folder, and the file at its end. */
static void make(const fixture *f, const char *path, const char *content)
{
    char full[512];
    int n = snprintf(full, sizeof(full), "%s/%s", f->dir, path);
    assert_true(n > 0 && (size_t)n < sizeof(full));
    for (char *p = full + strlen(f->dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(full, 0755);
        *p = '/';
    }
    if (content == NULL) {
        (void)mkdir(full, 0755);
        return;
    }
    FILE *out = fopen(full, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(content, 1, strlen(content), out), strlen(content));
    (void)fclose(out);
}

static char *content_of(const fixture *f, const char *path)
{
    static char text[4096];
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", f->dir, path);
    FILE *in = fopen(full, "re");
    if (in == NULL) {
        return NULL;
    }
    size_t n = fread(text, 1, sizeof(text) - 1, in);
    (void)fclose(in);
    text[n] = '\0';
    return text;
}

#define POD "'pod':{'metadata':{'name':'p','namespace':'shop','uid':'u1'},'spec':{'nodeName':'n1'}}"
#define EMPTY_DIR "{" POD ",'volume':{'name':'v','emptyDir':{}},'pvc':null,'pv':null,"               \
                  "'mode':'Filesystem','tags':{'pod':'p','volume':'v','ns':'shop'}}"
#define CSI "{" POD ",'volume':{'name':'v'},'pvc':{'metadata':{'name':'c','uid':'cu'}},'pv':{"      \
            "'metadata':{'name':'pv-1'},'spec':{'csi':{'driver':'d'}}},'mode':'Filesystem',"         \
            "'tags':{'pvc-uid':'cu'}}"
#define BLOCK "{" POD ",'volume':{'name':'v'},'pvc':{'metadata':{'name':'c','uid':'cu'}},'pv':{"    \
              "'metadata':{'name':'pv-1'},'spec':{'csi':{'driver':'d'}}},'mode':'Block',"            \
              "'tags':{'pvc-uid':'cu'}}"

/* ' for ", as everywhere here */
static char *quoted(const char *text)
{
    static char out[4096];
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < sizeof(out); i++) {
        out[i] = text[i] == '\'' ? '"' : text[i];
    }
    out[i] = '\0';
    return out;
}

static vmb_code save(fixture *f, const char *volume)
{
    struct vmb_progress progress = {keep_progress, f};
    struct vmb_sink sink = vmbi_sink_to_buf(&f->result);
    char *doc = quoted(volume);
    vmbi_buf_reset(&f->result);
    vmb_error_free(f->err);
    f->err = NULL;
    f->most = 0;
    return f->p.backup(f->p.user, &f->job, doc, strlen(doc), &progress, &sink, &f->err);
}

static vmb_code bring_back(fixture *f, const char *volume)
{
    struct vmb_progress progress = {keep_progress, f};
    char *doc = quoted(volume);
    vmb_error_free(f->err);
    f->err = NULL;
    return f->p.restore(f->p.user, &f->job, doc, strlen(doc), f->result.data, f->result.len,
                        &progress, &f->err);
}

static void expect_error(const fixture *f, const char *part)
{
    assert_non_null(f->err);
    if (strstr(vmb_error_message(f->err), part) == NULL) {
        print_error("%s\n", vmb_error_message(f->err));
    }
    assert_non_null(strstr(vmb_error_message(f->err), part));
}

static vmbi_json *result(const fixture *f)
{
    vmbi_json *doc = NULL;
    assert_int_equal(vmbi_json_parse(f->result.data, f->result.len, "result", &doc, NULL), VMB_OK);
    return doc;
}

/* ---- settings and bids ------------------------------------------------------------------------ */

static void settings_that_are_wrong_are_refused(void **state)
{
    static const char *const bad[] = {
        "{'hostPods':'relative'}", "{'hostPods':''}", "{'hostPods':7}", "{'compression':'zip'}",
        "{'lockWait':'soon'}", "{'threads':0}", "{'threads':65}", "{'threads':'2'}",
        "{'password':'a','passwordFile':'b'}", "{'password':''}", "{'nodes':'n1'}"};
    fixture *f = *state;
    vmb_volume_provider was = f->p;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(open_provider(f, bad[i]), VMB_E_ARG);
    }
    expect_error(f, "known are");
    f->p = was;
}

static int32_t bid(fixture *f, const char *volume)
{
    char *doc = quoted(volume);
    int32_t score = -1;
    assert_int_equal(f->p.bid(f->p.user, &f->job, doc, strlen(doc), &score, NULL), VMB_OK);
    return score;
}

static void pods_of_other_nodes_are_not_bid_for(void **state)
{
    fixture *f = *state;
    assert_int_equal(bid(f, EMPTY_DIR), 100);
    reopen_provider(f, ",'node':'n2'");
    assert_int_equal(bid(f, EMPTY_DIR), 0);
    reopen_provider(f, "");
    assert_int_equal(bid(f, EMPTY_DIR), 100);
}

/* ---- places ------------------------------------------------------------------------------------- */

static vmb_code place_of(fixture *f, const char *volume, char *out, size_t size)
{
    vmbi_volrepo_volume v = {0};
    vmbi_buf path = VMBI_BUF_INIT(4096);
    char *doc = quoted(volume);
    vmb_error_free(f->err);
    f->err = NULL;
    vmb_code rc = vmbi_volrepo_read(doc, strlen(doc), &v, &f->err);
    if (rc == VMB_OK) {
        rc = vmbi_volrepo_path(f->p.user, &v, &path, &f->err);
    }
    (void)snprintf(out, size, "%s", rc == VMB_OK ? path.data + strlen(f->dir) + 1 : "");
    vmbi_buf_free(&path);
    vmbi_volrepo_done(&v);
    return rc;
}

static void place_depends_on_the_kind_of_volume(void **state)
{
    fixture *f = *state;
    char path[512];
    make(f, "pods/u1/volumes/kubernetes.io~empty-dir/v", NULL);
    assert_int_equal(place_of(f, EMPTY_DIR, path, sizeof(path)), VMB_OK);
    assert_string_equal(path, "pods/u1/volumes/kubernetes.io~empty-dir/v");
    make(f, "pods/u1/volumes/kubernetes.io~csi/pv-1/mount", NULL);
    assert_int_equal(place_of(f, CSI, path, sizeof(path)), VMB_OK);
    assert_string_equal(path, "pods/u1/volumes/kubernetes.io~csi/pv-1/mount");
    make(f, "pods/u1/volumeDevices/kubernetes.io~csi/pv-1", "disk");
    assert_int_equal(place_of(f, BLOCK, path, sizeof(path)), VMB_OK);
    assert_string_equal(path, "pods/u1/volumeDevices/kubernetes.io~csi/pv-1");
}

static void place_must_be_the_only_one(void **state)
{
    fixture *f = *state;
    char path[512];
    assert_int_equal(place_of(f, EMPTY_DIR, path, sizeof(path)), VMB_E_NOT_FOUND);
    expect_error(f, "does pod p run on this node");
    make(f, "pods/u1/volumes/a", NULL);
    assert_int_equal(place_of(f, EMPTY_DIR, path, sizeof(path)), VMB_E_NOT_FOUND);
    make(f, "pods/u1/volumes/a/v", NULL);
    make(f, "pods/u1/volumes/b/v", NULL);
    assert_int_equal(place_of(f, EMPTY_DIR, path, sizeof(path)), VMB_E_CONFLICT);
}

static void link_to(const fixture *f, const char *target, const char *path)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", f->dir, path);
    assert_int_equal(symlink(target, full), 0);
}

static void links_lead_nowhere(void **state)
{
    fixture *f = *state;
    char path[512];
    make(f, "pods/u1/volumes/a", NULL);
    link_to(f, "/etc", "pods/u1/volumes/a/v");
    assert_int_equal(place_of(f, EMPTY_DIR, path, sizeof(path)), VMB_E_NOT_FOUND);
    make(f, "pods/u1/volumes/a/pv-1", NULL);
    link_to(f, "/etc", "pods/u1/volumes/a/pv-1/mount");
    assert_int_not_equal(place_of(f, CSI, path, sizeof(path)), VMB_OK);
    make(f, "pods/u1/volumeDevices/a", NULL);
    link_to(f, "/etc/hostname", "pods/u1/volumeDevices/a/pv-1"); /* no device */
    assert_int_equal(place_of(f, BLOCK, path, sizeof(path)), VMB_E_INVALID);
    make(f, "pods/u2", NULL);
    link_to(f, "u2", "pods/u3");
    assert_int_not_equal(
        place_of(f,
                 "{'pod':{'metadata':{'name':'p','namespace':'s','uid':'u3'}},'volume':{"
                 "'name':'v'}}", path, sizeof(path)),
        VMB_OK);
}

static void names_that_leave_the_folder_are_refused(void **state)
{
    static const char *const bad[] = {
        "{'pod':{'metadata':{'name':'p','namespace':'s','uid':'../x'}},'volume':{'name':'v'}}",
        "{'pod':{'metadata':{'name':'p','namespace':'s','uid':''}},'volume':{'name':'v'}}",
        "{'pod':{'metadata':{'name':'p','namespace':'s','uid':'..'}},'volume':{'name':'v'}}",
        "{'pod':{'metadata':{'name':'p','namespace':'s','uid':'u1'}},'volume':{'name':'../v'}}",
        ("{'pod':{'metadata':{'name':'p','namespace':'s','uid':'u1'}},'volume':{'name':'v'},"
        "'pv':{'metadata':{'name':'..'}}}")};
    fixture *f = *state;
    char path[512];
    make(f, "pods/u1/volumes/a/v", NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(place_of(f, bad[i], path, sizeof(path)), VMB_E_ARG);
    }
}

/* ---- there and back --------------------------------------------------------------------------- */

static void files_go_there_and_back(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/sub/a", "one");
    make(f, "pods/u1/volumes/e/v/b", "two");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    vmbi_json *r = result(f);
    assert_string_equal(vmbi_json_get_str(r, "uploaderType"), "restic");
    assert_int_equal(vmbi_json_int(vmbi_json_get(r, "size"), 0), 6);
    assert_true(vmbi_json_int(vmbi_json_get(r, "incrementalSize"), 0) >= 6);
    assert_int_equal(strlen(vmbi_json_get_str(r, "snapshotID")), 64);
    assert_true(vmbi_ends_with(vmbi_json_get_str(r, "path"), "pods/u1/volumes/e/v"));
    vmbi_json_free(r);
    assert_int_equal(f->most, 6);
    assert_non_null(content_of(f, "store/velero/restic/shop/config"));
    /* another pod of the same name waits for it */
    make(f, "pods/u9/volumes/e/v", NULL);
    static const char other[] = "{'pod':{'metadata':{'name':'p','namespace':'shop','uid':'u9'}},"
                                "'volume':{'name':'v'},'mode':'Filesystem'}";
    assert_int_equal(bring_back(f, other), VMB_OK);
    assert_string_equal(content_of(f, "pods/u9/volumes/e/v/sub/a"), "one");
    assert_string_equal(content_of(f, "pods/u9/volumes/e/v/b"), "two");
}

static void disk_goes_there_and_back(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumeDevices/a/pv-1", "the bytes of a disk");
    assert_int_equal(save(f, BLOCK), VMB_OK);
    make(f, "pods/u1/volumeDevices/a/pv-1", "other bytes, no disk");
    assert_int_equal(bring_back(f, BLOCK), VMB_OK);
    assert_memory_equal(content_of(f, "pods/u1/volumeDevices/a/pv-1"), "the bytes of a disk", 19);
}

static void second_save_finds_its_parent(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    vmbi_buf_reset(&f->cluster.log);
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    vmbi_json *r = result(f);
    assert_int_equal(vmbi_json_int(vmbi_json_get(r, "incrementalSize"), -1), 0);
    vmbi_json_free(r);
    assert_non_null(strstr(f->cluster.log.data, " 0 read, parent "));
    /* another volume of the pod has none */
    make(f, "pods/u1/volumes/e/w/a", "two");
    vmbi_buf_reset(&f->cluster.log);
    assert_int_equal(save(f, "{" POD ",'volume':{'name':'w'},'tags':{'pod':'p','volume':'w'}}"),
                     VMB_OK);
    assert_null(strstr(f->cluster.log.data, "parent"));
}

static void empty_volume_has_no_snapshot(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v", NULL);
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    vmbi_json *r = result(f);
    assert_string_equal(vmbi_json_get_str(r, "snapshotID"), "");
    assert_non_null(vmbi_json_get_str(r, "message"));
    vmbi_json_free(r);
    assert_int_equal(bring_back(f, EMPTY_DIR), VMB_OK);
    assert_int_equal(f->p.remove(f->p.user, &f->job, f->result.data, f->result.len, NULL), VMB_OK);
}

/* "Not found" has other reasons than an empty volume: it must not pass for one. */
static void volume_whose_parent_is_gone_is_saved_all_the_same(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, "{" POD ",'volume':{'name':'v','emptyDir':{}},'parent':'0123abcd'}"),
                     VMB_OK);
    vmbi_json *r = result(f);
    assert_string_not_equal(vmbi_json_get_str(r, "snapshotID"), "");
    vmbi_json_free(r);
}

static void removed_snapshot_is_gone_and_stays_gone(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    assert_int_equal(f->p.remove(f->p.user, &f->job, f->result.data, f->result.len, NULL), VMB_OK);
    assert_int_equal(f->p.remove(f->p.user, &f->job, f->result.data, f->result.len, NULL), VMB_OK);
    assert_int_equal(bring_back(f, EMPTY_DIR), VMB_E_INVALID);
    static const char later[] = "{'pod':{'metadata':{'name':'p','namespace':'shop','uid':'u7'}},"
                                "'volume':{'name':'v'}}";
    assert_int_equal(bring_back(f, later), VMB_E_NOT_FOUND); /* the pod does not run yet */
}

/* "Not found" has other reasons than a snapshot that is gone: it must not pass for removed. */
static void snapshot_is_not_removed_without_a_password(void **state)
{
    fixture *f = *state;
    char text[256];
    make(f, "file", "words");
    (void)snprintf(text, sizeof(text), ",'passwordFile':'%s/file','node':'n1'", f->dir);
    reopen_provider(f, text);
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    (void)snprintf(text, sizeof(text), "%s/file", f->dir);
    assert_int_equal(unlink(text), 0);
    assert_int_equal(f->p.remove(f->p.user, &f->job, f->result.data, f->result.len, &f->err),
                     VMB_E_INVALID);
    expect_error(f, "password file");
}

static vmb_code verify(fixture *f)
{
    struct vmb_progress progress = {keep_progress, f};
    vmb_error_free(f->err);
    f->err = NULL;
    f->most = 0;
    return f->p.verify(f->p.user, &f->job, f->result.data, f->result.len, &progress, &f->err);
}

/* Turns a byte in the middle of every pack. */
static int spoil(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type == FTW_F && strstr(path, "/data/") != NULL) {
        FILE *pack = fopen(path, "r+e");
        assert_non_null(pack);
        assert_int_equal(fseek(pack, (long)st->st_size / 3, SEEK_SET), 0);
        int byte = fgetc(pack);
        assert_int_equal(fseek(pack, (long)st->st_size / 3, SEEK_SET), 0);
        assert_int_not_equal(fputc(byte ^ 0x40, pack), EOF);
        assert_int_equal(fclose(pack), 0);
    }
    return 0;
}

static void verify_reads_everything_and_finds_damage(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/sub/a", "some bytes that are saved");
    make(f, "pods/u1/volumes/e/v/b", "two");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    assert_int_equal(verify(f), VMB_OK);
    assert_int_equal(f->most, 28);
    char repository[256];
    (void)snprintf(repository, sizeof(repository), "%s/store", f->dir);
    assert_int_equal(nftw(repository, spoil, 16, FTW_PHYS), 0);
    vmb_code rc = verify(f);
    assert_true(rc == VMB_E_INVALID || rc == VMB_E_NOT_FOUND);
}

static void record_of_velero_is_understood(void **state)
{
    fixture *f = *state;
    char text[1024];
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    vmbi_json *r = result(f);
    (void)snprintf(text, sizeof(text),
                   "{\"spec\":{\"uploaderType\":\"restic\",\"pod\":{\"namespace\":\"shop\"}},"
                   "\"status\":{\"snapshotID\":\"%.8s\"}}", vmbi_json_get_str(r, "snapshotID"));
    vmbi_json_free(r);
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/pods/u1/volumes/e/v/a", f->dir);
    assert_int_equal(unlink(full), 0);
    char *doc = quoted(EMPTY_DIR);
    assert_int_equal(f->p.restore(f->p.user, &f->job, doc, strlen(doc), text, strlen(text), NULL,
                                  NULL), VMB_OK);
    assert_string_equal(content_of(f, "pods/u1/volumes/e/v/a"), "one");
    static const char kopia[] = "{\"spec\":{\"uploaderType\":\"kopia\",\"tags\":{\"ns\":\"shop\"}},"
                                "\"status\":{\"snapshotID\":\"k1\"}}";
    doc = quoted(EMPTY_DIR);
    assert_int_equal(f->p.restore(f->p.user, &f->job, doc, strlen(doc), kopia, strlen(kopia), NULL,
                                  NULL), VMB_E_UNSUPPORTED);
}

#define WAITED "{" POD ",'volume':{'name':'v','emptyDir':{}},'pvc':null,'pv':null,"               \
               "'mode':'Filesystem','waiter':'uid-1','tags':{}}"

static void restore_overwrites_and_ends_the_wait(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "saved");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    make(f, "pods/u1/volumes/e/v/a", "half of someth");
    make(f, "pods/u1/volumes/e/v/other", "stays");
    make(f, "pods/u1/volumes/e/v/.velero/uid-0", ""); /* of a former restore */
    assert_int_equal(bring_back(f, WAITED), VMB_OK);
    assert_string_equal(content_of(f, "pods/u1/volumes/e/v/a"), "saved");
    assert_string_equal(content_of(f, "pods/u1/volumes/e/v/other"), "stays");
    assert_string_equal(content_of(f, "pods/u1/volumes/e/v/.velero/uid-1"), "");
    assert_null(content_of(f, "pods/u1/volumes/e/v/.velero/uid-0"));
    /* without a pod that waits there is no such file */
    make(f, "pods/u1/volumes/e/v/.velero/uid-2", "");
    assert_int_equal(bring_back(f, EMPTY_DIR), VMB_OK);
    assert_non_null(content_of(f, "pods/u1/volumes/e/v/.velero/uid-2"));
    static const char bad[] = "{" POD ",'volume':{'name':'v','emptyDir':{}},'pvc':null,'pv':null,"
                              "'mode':'Filesystem','waiter':'../x','tags':{}}";
    assert_int_equal(bring_back(f, bad), VMB_E_ARG);
}

static void wait_for_nothing_ends_too(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v", NULL);
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK); /* it is empty: there is no snapshot */
    assert_int_equal(bring_back(f, WAITED), VMB_OK);
    assert_string_equal(content_of(f, "pods/u1/volumes/e/v/.velero/uid-1"), "");
}

static void end_of_the_wait_follows_no_link(void **state)
{
    fixture *f = *state;
    char link[512];
    char outside[512];
    make(f, "pods/u1/volumes/e/v/a", "saved");
    make(f, "outside/precious", "stays");
    (void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
    (void)snprintf(link, sizeof(link), "%s/pods/u1/volumes/e/v/.velero", f->dir);
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK); /* the link is part of what comes back */
    assert_int_equal(bring_back(f, WAITED), VMB_OK);
    assert_string_equal(content_of(f, "outside/precious"), "stays");
    assert_null(content_of(f, "outside/uid-1"));
    assert_string_equal(content_of(f, "pods/u1/volumes/e/v/.velero/uid-1"), "");
}

static void restore_that_fails_does_not_end_the_wait(void **state)
{
    fixture *f = *state;
    char repository[256];
    make(f, "pods/u1/volumes/e/v/a", "some bytes that are saved");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    (void)snprintf(repository, sizeof(repository), "%s/store", f->dir);
    assert_int_equal(nftw(repository, spoil, 16, FTW_PHYS), 0);
    assert_int_not_equal(bring_back(f, WAITED), VMB_OK);
    assert_null(content_of(f, "pods/u1/volumes/e/v/.velero/uid-1"));
}

static void cancelled_job_saves_nothing(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    vmbi_cancel *cancel = NULL;
    assert_int_equal(vmbi_cancel_new(&cancel, NULL), VMB_OK);
    vmbi_cancel_fire(cancel);
    f->job.limits.cancel = cancel;
    assert_int_equal(save(f, EMPTY_DIR), VMB_E_CANCELLED);
    f->job.limits.cancel = NULL;
    vmbi_cancel_free(cancel);
}

static void run_without_a_location_is_told(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "one");
    f->job.store = NULL;
    assert_int_equal(save(f, EMPTY_DIR), VMB_E_STATE);
}

/* ---- passwords ---------------------------------------------------------------------------------- */

static void expect_password(fixture *f, const char *wanted)
{
    vmbi_buf got = VMBI_BUF_INIT(4096);
    assert_int_equal(vmbi_volrepo_password(f->p.user, &f->job, &got, NULL), VMB_OK);
    assert_int_equal(got.len, strlen(wanted));
    assert_string_equal(got.data, wanted);
    vmbi_volrepo_wipe(&got);
}

static void password_comes_from_where_velero_keeps_it(void **state)
{
    fixture *f = *state;
    char text[256];
    expect_password(f, "static-passw0rd"); /* nobody has made a Secret */
    fake_put(&f->cluster, "", "secrets",
             "{'metadata':{'name':'velero-restic-credentials','namespace':'vel'},"
             "'data':{'repository-password':'b2xk'}}");
    expect_password(f, "old");
    fake_put(&f->cluster, "", "secrets",
             "{'metadata':{'name':'velero-repo-credentials','namespace':'vel'},"
             "'data':{'repository-password':'IG5ldyAK'}}"); /* " new \n" */
    expect_password(f, "new");
    reopen_provider(f, ",'namespace':'elsewhere'");
    expect_password(f, "static-passw0rd");
    reopen_provider(f, "");
    make(f, "file", " words in a file\n");
    (void)snprintf(text, sizeof(text), ",'passwordFile':'%s/file'", f->dir);
    reopen_provider(f, text);
    expect_password(f, "words in a file");
    reopen_provider(f, ",'password':' kept as it is '");
    expect_password(f, " kept as it is ");
}

static void password_that_cannot_be_had_is_an_error(void **state)
{
    fixture *f = *state;
    vmbi_buf got = VMBI_BUF_INIT(4096);
    char text[256];
    fake_fail(&f->cluster, FAKE_GET, "secrets", VMB_E_DENIED, 1);
    assert_int_equal(vmbi_volrepo_password(f->p.user, &f->job, &got, NULL), VMB_E_DENIED);
    fake_put(&f->cluster, "", "secrets",
             "{'metadata':{'name':'velero-repo-credentials','namespace':'vel'},'data':{}}");
    assert_int_equal(vmbi_volrepo_password(f->p.user, &f->job, &got, NULL), VMB_E_INVALID);
    make(f, "empty", "\n");
    (void)snprintf(text, sizeof(text), ",'passwordFile':'%s/empty'", f->dir);
    reopen_provider(f, text);
    assert_int_equal(vmbi_volrepo_password(f->p.user, &f->job, &got, NULL), VMB_E_INVALID);
    (void)snprintf(text, sizeof(text), ",'passwordFile':'%s/none'", f->dir);
    reopen_provider(f, text);
    assert_int_equal(vmbi_volrepo_password(f->p.user, &f->job, &got, NULL), VMB_E_NOT_FOUND);
    vmbi_buf_free(&got);
}

static void wrong_password_is_told_and_not_shown(void **state)
{
    fixture *f = *state;
    make(f, "pods/u1/volumes/e/v/a", "one");
    assert_int_equal(save(f, EMPTY_DIR), VMB_OK);
    reopen_provider(f, ",'password':'geheim'");
    assert_int_equal(save(f, EMPTY_DIR), VMB_E_DENIED);
    expect_error(f, "velero/restic/shop");
    assert_null(strstr(vmb_error_message(f->err), "geheim"));
}

/* ---- names ------------------------------------------------------------------------------------- */

static void repository_is_called_as_velero_calls_it(void **state)
{
    static const struct {
        const char *location;
        const char *name; /* NULL: refused */
    } cases[] = {
        {"{'provider':'aws','bucket':'velero','prefix':'','config':{'s3Url':'http://minio:9000/'}}",
         "s3:http://minio:9000/velero/restic/ns1"},
        {"{'provider':'velero.io/aws','bucket':'b','prefix':'p/q','config':{'s3Url':'https://s'}}",
         "s3:https://s/b/p/q/restic/ns1"},
        {"{'provider':'aws','bucket':'b','prefix':'p','config':{'region':'eu-west-1'}}",
         "s3:s3-eu-west-1.amazonaws.com/b/p/restic/ns1"},
        {"{'provider':'vmbackup.io/libs3','bucket':'b','prefix':'','config':{'s3Url':'http://h'}}",
         "s3:http://h/b/restic/ns1"},
        {"{'provider':'vmbackup.io/dir','bucket':'','prefix':'p','config':{'path':'/srv/b/'}}",
         "/srv/b/p/restic/ns1"},
        {"{'provider':'aws','bucket':'b','prefix':'p','config':{'s3Url':'http://h',"
         "'resticRepoPrefix':'s3:http://h/b/p/restic/'}}", "s3:http://h/b/p/restic/ns1"},
        {"{'provider':'aws','bucket':'b','prefix':'p','config':{'s3Url':'http://h',"
         "'resticRepoPrefix':'s3:http://h/elsewhere'}}", NULL},
        {"{'provider':'','bucket':'','prefix':'','config':null}", ""},
        {"null", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vmbi_buf out = VMBI_BUF_INIT(1024);
        vmbi_json *location = fake_json(cases[i].location);
        vmb_code rc = vmbi_volrepo_identifier(location, "ns1", &out, NULL);
        if (cases[i].name == NULL) {
            assert_int_equal(rc, VMB_E_UNSUPPORTED);
        } else {
            assert_int_equal(rc, VMB_OK);
            assert_string_equal(out.data != NULL ? out.data : "", cases[i].name);
        }
        vmbi_json_free(location);
        vmbi_buf_free(&out);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(settings_that_are_wrong_are_refused),
        T(pods_of_other_nodes_are_not_bid_for),
        T(place_depends_on_the_kind_of_volume),
        T(place_must_be_the_only_one),
        T(links_lead_nowhere),
        T(names_that_leave_the_folder_are_refused),
        T(files_go_there_and_back),
        T(disk_goes_there_and_back),
        T(second_save_finds_its_parent),
        T(empty_volume_has_no_snapshot),
        T(volume_whose_parent_is_gone_is_saved_all_the_same),
        T(removed_snapshot_is_gone_and_stays_gone),
        T(snapshot_is_not_removed_without_a_password),
        T(verify_reads_everything_and_finds_damage),
        T(record_of_velero_is_understood),
        T(restore_overwrites_and_ends_the_wait),
        T(wait_for_nothing_ends_too),
        T(end_of_the_wait_follows_no_link),
        T(restore_that_fails_does_not_end_the_wait),
        T(cancelled_job_saves_nothing),
        T(run_without_a_location_is_told),
        T(password_comes_from_where_velero_keeps_it),
        T(password_that_cannot_be_had_is_an_error),
        T(wrong_password_is_told_and_not_shown),
        T(repository_is_called_as_velero_calls_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
