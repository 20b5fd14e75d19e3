/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/job.h"
#include "base/strs.h"
#include "codec/json.h"
#include "model/discovery.h"
#include "providers/builtin.h"
#include "providers/cluster_dir/kinds.h"
#include "providers/cluster_dir/tree.h"

typedef struct fixture {
    char path[64];
    vmb_cluster_provider p;
    bool open;
    vmb_job job;
    vmb_error *err;
} fixture;

static void new_folder(fixture *x)
{
    memset(x, 0, sizeof *x);
    (void)snprintf(x->path, sizeof x->path, "/tmp/vmb-dir-XXXXXX");
    assert_non_null(mkdtemp(x->path));
}

static void full_path(const fixture *x, const char *name, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/%s", x->path, name);
    assert_true(n > 0 && (size_t)n < size);
}

static void put_file(const fixture *x, const char *name, const char *text)
{
    char path[512];
    full_path(x, name, path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void put_dir(const fixture *x, const char *name)
{
    char path[512];
    full_path(x, name, path, sizeof path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void put_link(const fixture *x, const char *name, const char *target)
{
    char path[512];
    full_path(x, name, path, sizeof path);
    assert_int_equal(symlink(target, path), 0);
}

static vmb_code load(fixture *x)
{
    vmbi_json *s = vmbi_json_object();
    assert_true(vmbi_json_set_str(s, "path", x->path));
    vmb_code code = vmbi_cluster_dir_new(s, &x->p, &x->err);
    vmbi_json_free(s);
    x->open = code == VMB_OK;
    return code;
}

static void must_load(fixture *x)
{
    if (load(x) != VMB_OK) {
        fail_msg("%s", vmb_error_message(x->err));
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void close_fixture(fixture *x)
{
    if (x->open) {
        x->p.destroy(x->p.user);
    }
    vmb_error_free(x->err);
    if (x->path[0] != '\0') {
        (void)nftw(x->path, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* leftovers in /tmp only */
    }
}

static vmbi_json *discovery(fixture *x)
{
    vmbi_buf b = VMBI_BUF_INIT(1 << 20);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    vmbi_json *doc = NULL;
    assert_int_equal(x->p.discover(x->p.user, &x->job, &sink, NULL), VMB_OK);
    assert_int_equal(vmbi_json_parse(b.data, b.len, "discovery", &doc, NULL), VMB_OK);
    vmbi_buf_free(&b);
    return doc;
}

static vmb_code get_object(fixture *x, const char *group, const char *resource, const char *ns,
                           const char *name, vmbi_json **out)
{
    vmbi_buf b = VMBI_BUF_INIT(1 << 20);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    vmb_error_free(x->err);
    x->err = NULL;
    vmb_code code = x->p.get(x->p.user, &x->job, group, "v1", resource, ns, name, &sink, &x->err);
    if (code == VMB_OK) {
        assert_int_equal(vmbi_json_parse(b.data, b.len, "object", out, NULL), VMB_OK);
    }
    vmbi_buf_free(&b);
    return code;
}

typedef struct names {
    char text[1024];
    size_t n;
    vmb_code answer;
} names;

static vmb_code push_name(void *user, const char *json, size_t len, vmb_error **err)
{
    names *l = user;
    vmbi_json *o = NULL;
    assert_int_equal(vmbi_json_parse(json, len, "item", &o, err), VMB_OK);
    const char *ns = vmbi_json_path_str(o, "metadata.namespace");
    size_t used = strlen(l->text);
    (void)snprintf(l->text + used, sizeof l->text - used, "%s%s%s%s", l->n > 0 ? " " : "",
                   ns != NULL ? ns : "", ns != NULL ? "/" : "",
                   vmbi_json_path_str(o, "metadata.name"));
    l->n++;
    vmbi_json_free(o);
    return l->answer;
}

static vmb_code list(fixture *x, const char *group, const char *resource, const char *ns,
                     const char *selector, names *l)
{
    struct vmb_item_sink sink = {push_name, l};
    l->text[0] = '\0';
    l->n = 0;
    return x->p.list(x->p.user, &x->job, group, "v1", resource, ns, selector, 500, &sink, NULL);
}

static void assert_error(const fixture *x, const char *part)
{
    if (strstr(vmb_error_message(x->err), part) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", vmb_error_message(x->err), part);
    }
}

static const char config_map[] = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ";

/* ---- files
 * --------------------------------------------------------------------------------------- */

static void folder_nested_files_and_documents_are_all_read(void **unused)
{
    fixture x;
    names l = {0};
    (void)unused;
    new_folder(&x);
    put_dir(&x, "b");
    put_dir(&x, "b/c");
    put_file(
        &x, "a.yaml",
        "# comment only\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: "
        "ns}\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, namespace: ns}\n");
    put_file(&x, "b/x.yml",
             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three, namespace: ns}\n");
    put_file(&x, "b/c/y.json",
             "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"four\","
             "\"namespace\":\"a\"}}");
    put_file(&x, "notes.txt", "not: [read");
    put_file(&x, ".hidden.yaml", "not: [read");
    put_file(&x, "empty.yaml", "");
    must_load(&x);
    assert_int_equal(list(&x, "", "configmaps", NULL, NULL, &l), VMB_OK);
    assert_string_equal(l.text, "a/four ns/one ns/three ns/two");
    close_fixture(&x);
}

static void list_kinds_are_expanded(void **unused)
{
    fixture x;
    names l = {0};
    (void)unused;
    new_folder(&x);
    put_file(
        &x, "l.yaml",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: p, "
        "namespace: ns}}\n- apiVersion: v1\n  kind: PodList\n  items:\n  - {metadata: {name: q, "
        "namespace: ns}}\n");
    must_load(&x);
    assert_int_equal(list(&x, "", "pods", NULL, NULL, &l), VMB_OK);
    assert_string_equal(l.text, "ns/p ns/q");
    vmbi_json *o = NULL;
    assert_int_equal(get_object(&x, "", "pods", "ns", "q", &o), VMB_OK);
    assert_string_equal(vmbi_json_get_str(o, "kind"), "Pod");
    assert_string_equal(vmbi_json_get_str(o, "apiVersion"), "v1");
    vmbi_json_free(o);
    close_fixture(&x);
}

static void duplicate_object_names_both_places(void **unused)
{
    fixture x;
    (void)unused;
    new_folder(&x);
    put_file(&x, "one.yaml",
             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: ns}\n");
    put_file(&x, "two.yaml",
             "apiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: ns}\n---\napiVersion: "
             "v1\nkind: ConfigMap\nmetadata: {name: c, namespace: ns}\n");
    assert_int_equal(load(&x), VMB_E_EXISTS);
    assert_error(&x, "ns/c is defined twice: one.yaml line 1 and two.yaml line 5");
    close_fixture(&x);
}

static void bad_manifests_name_file_and_line(void **unused)
{
    static const struct {
        const char *text;
        vmb_code code;
        const char *part;
    } bad[] = {
        {"a: 1\n", VMB_E_INVALID, "bad.yaml line 1: not a manifest"},
        {"- 1\n", VMB_E_INVALID, "bad.yaml line 1: a manifest is an object"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {}\n", VMB_E_INVALID, "metadata.name"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a/b}\n", VMB_E_INVALID, "metadata.name"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: ..}\n", VMB_E_INVALID, "metadata.name"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ../x}\n", VMB_E_INVALID,
         "metadata.namespace"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: no}\n", VMB_E_INVALID,
         "quotes make it text"},
        {"apiVersion: v1\nkind: List\nitems: [{kind: Pod}]\n", VMB_E_INVALID, "items[0]"},
        {"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: [1]}\n", VMB_E_INVALID,
         "stringData.a"},
        {"a: [\n", VMB_E_PARSE, "bad.yaml"},
    };
    (void)unused;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        fixture x;
        new_folder(&x);
        put_file(&x, "bad.yaml", bad[i].text);
        assert_int_equal(load(&x), bad[i].code);
        assert_error(&x, bad[i].part);
        close_fixture(&x);
    }
}

static void links_stay_inside_the_folder(void **unused)
{
    fixture x;
    fixture outside;
    names l = {0};
    char target[256];
    (void)unused;
    new_folder(&outside);
    put_file(&outside, "secret.yaml", config_map);
    new_folder(&x);
    put_dir(&x, "..data-1");
    put_file(&x, "..data-1/in.yaml",
             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mounted, namespace: ns}\n");
    put_link(&x, "..data", "..data-1");
    put_link(&x, "in.yaml", "..data/in.yaml"); /* as a mounted ConfigMap looks */
    put_link(&x, "again.yaml", "in.yaml");     /* the same file: read once */
    put_link(&x, "loop", ".");
    put_link(&x, "nowhere.yaml", "missing");
    full_path(&outside, "secret.yaml", target, sizeof target);
    put_link(&x, "out.yaml", target);
    put_link(&x, "outdir", outside.path);
    must_load(&x);
    assert_int_equal(list(&x, "", "configmaps", NULL, NULL, &l), VMB_OK);
    assert_string_equal(l.text, "ns/mounted");
    vmbi_json *d = discovery(&x);
    vmbi_json *warnings = vmbi_json_get(d, "warnings");
    assert_int_equal(vmbi_json_len(warnings), 4);
    assert_non_null(strstr(vmbi_json_str(vmbi_json_at(warnings, 2)),
                           "out.yaml: symbolic link leads "
                           "out of the folder"));
    vmbi_json_free(d);
    close_fixture(&x);
    close_fixture(&outside);
}

static void special_files_are_left_out(void **unused)
{
    fixture x;
    char path[256];
    (void)unused;
    new_folder(&x);
    full_path(&x, "pipe.yaml", path, sizeof path);
    assert_int_equal(mkfifo(path, 0600), 0);
    must_load(&x); /* and does not hang */
    close_fixture(&x);
}

static void folder_limits_are_kept(void **unused)
{
    fixture x;
    char name[512] = "d";
    (void)unused;
    new_folder(&x);
    put_dir(&x, name);
    for (int i = 0; i < 40; i++) {
        (void)strncat(name, "/d", sizeof name - strlen(name) - 1);
        put_dir(&x, name);
    }
    assert_int_equal(load(&x), VMB_E_LIMIT);
    close_fixture(&x);

    new_folder(&x);
    size_t size = 5 * 1024 * 1024;
    char *big = vmbi_alloc(size + 1);
    assert_non_null(big);
    memset(big, '#', size);
    big[size] = '\0';
    put_file(&x, "big.yaml", big);
    vmbi_free(big);
    assert_int_equal(load(&x), VMB_E_LIMIT);
    assert_error(&x, "big.yaml");
    close_fixture(&x);
}

static void missing_folder_is_not_found(void **unused)
{
    fixture x;
    (void)unused;
    memset(&x, 0, sizeof x);
    vmbi_json *s = vmbi_json_object();
    assert_true(vmbi_json_set_str(s, "path", "/tmp/vmb-no-such-folder"));
    assert_int_equal(vmbi_cluster_dir_new(s, &x.p, &x.err), VMB_E_NOT_FOUND);
    assert_true(vmbi_json_set_str(s, "other", "x"));
    assert_int_equal(vmbi_cluster_dir_new(s, &x.p, NULL), VMB_E_ARG);
    vmbi_json_free(s);
    assert_int_equal(vmbi_cluster_dir_new(NULL, &x.p, NULL), VMB_E_ARG);
    vmb_error_free(x.err);
}

/* ---- objects
 * ------------------------------------------------------------------------------------- */

static void secret_string_data_becomes_data(void **unused)
{
    fixture x;
    vmbi_json *o = NULL;
    (void)unused;
    new_folder(&x);
    put_file(&x, "s.yaml",
             "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\n"
             "data: {a: b2xk, b: Yg==}\nstringData: {a: new, c: ''}\n");
    must_load(&x);
    assert_int_equal(get_object(&x, "", "secrets", "ns", "s", &o), VMB_OK);
    assert_null(vmbi_json_get(o, "stringData"));
    assert_string_equal(vmbi_json_path_str(o, "data.a"), "bmV3");
    assert_string_equal(vmbi_json_path_str(o, "data.b"), "Yg==");
    assert_string_equal(vmbi_json_path_str(o, "data.c"), "");
    vmbi_json_free(o);
    close_fixture(&x);
}

static void namespace_is_completed_or_dropped(void **unused)
{
    fixture x;
    vmbi_json *o = NULL;
    (void)unused;
    new_folder(&x);
    put_file(&x, "a.yaml",
             "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\napiVersion: v1\nkind: "
             "PersistentVolume\nmetadata: {name: v, namespace: ns}\n");
    must_load(&x);
    assert_int_equal(get_object(&x, "", "pods", "default", "p", &o), VMB_OK);
    assert_string_equal(vmbi_json_path_str(o, "metadata.namespace"), "default");
    vmbi_json_free(o);
    assert_int_equal(get_object(&x, "", "persistentvolumes", NULL, "v", &o), VMB_OK);
    assert_null(vmbi_json_path(o, "metadata.namespace"));
    vmbi_json_free(o);
    assert_int_equal(get_object(&x, "", "pods", "other", "p", &o), VMB_E_NOT_FOUND);
    assert_int_equal(get_object(&x, "none.io", "pods", "default", "p", &o), VMB_E_NOT_FOUND);
    close_fixture(&x);
}

static void list_filters_by_namespace_and_labels(void **unused)
{
    fixture x;
    names l = {0};
    (void)unused;
    new_folder(&x);
    put_file(
        &x, "a.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ns, labels: {app: web, tier: "
        "x}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: m, labels: {app: "
        "db}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: ns}\n");
    must_load(&x);
    assert_int_equal(list(&x, "", "pods", "ns", NULL, &l), VMB_OK);
    assert_string_equal(l.text, "ns/a ns/c");
    assert_int_equal(list(&x, "", "pods", NULL, "app in (web,db)", &l), VMB_OK);
    assert_string_equal(l.text, "m/b ns/a");
    assert_int_equal(list(&x, "", "pods", "ns", "app!=web", &l), VMB_OK);
    assert_string_equal(l.text, "ns/c");
    assert_int_equal(list(&x, "", "pods", NULL, "!app", &l), VMB_OK);
    assert_string_equal(l.text, "ns/c");
    assert_int_equal(list(&x, "", "pods", NULL, "app in (", &l), VMB_E_PARSE);
    assert_int_equal(list(&x, "", "nothings", NULL, NULL, &l), VMB_E_NOT_FOUND);
    close_fixture(&x);
}

static void list_ends_with_the_receivers_code(void **unused)
{
    fixture x;
    names l = {.answer = VMB_E_FULL};
    (void)unused;
    new_folder(&x);
    put_file(&x, "a.yaml",
             "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: "
             "Pod\nmetadata: {name: b}\n");
    must_load(&x);
    assert_int_equal(list(&x, "", "pods", NULL, NULL, &l), VMB_E_FULL);
    assert_int_equal(l.n, 1);
    vmbi_cancel *cancel = NULL;
    assert_int_equal(vmbi_cancel_new(&cancel, NULL), VMB_OK);
    vmbi_cancel_fire(cancel);
    x.job.limits.cancel = cancel;
    l.answer = VMB_OK;
    assert_int_equal(list(&x, "", "pods", NULL, NULL, &l), VMB_E_CANCELLED);
    assert_int_equal(l.n, 0);
    vmbi_cancel_free(cancel);
    close_fixture(&x);
}

/* ---- discovery
 * ----------------------------------------------------------------------------------- */

static const vmbi_json *group_of(const vmbi_json *d, const char *group)
{
    const vmbi_json *groups = vmbi_json_get(d, "groups");
    for (size_t i = 0; i < vmbi_json_len(groups); i++) {
        if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(groups, i), "group"), group)) {
            return vmbi_json_at(groups, i);
        }
    }
    return NULL;
}

static const vmbi_json *resource_of(const vmbi_json *d, const char *group, const char *name)
{
    const vmbi_json *versions = vmbi_json_get(group_of(d, group), "versions");
    for (size_t v = 0; v < vmbi_json_len(versions); v++) {
        const vmbi_json *rs = vmbi_json_get(vmbi_json_at(versions, v), "resources");
        for (size_t i = 0; i < vmbi_json_len(rs); i++) {
            if (vmbi_streq(vmbi_json_get_str(vmbi_json_at(rs, i), "name"), name)) {
                return vmbi_json_at(rs, i);
            }
        }
    }
    return NULL;
}

static void discovery_lists_native_kinds_and_used_groups(void **unused)
{
    fixture x;
    (void)unused;
    new_folder(&x);
    put_file(&x, "a.yaml",
             "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: v, "
             "namespace: ns}\n");
    must_load(&x);
    vmbi_json *d = discovery(&x);
    assert_string_equal(vmbi_json_path_str(d, "serverVersion.gitVersion"), "v0.0.0-directory");
    const vmbi_json *first = vmbi_json_at(vmbi_json_get(d, "groups"), 0);
    assert_string_equal(vmbi_json_get_str(first, "group"), "");
    assert_non_null(resource_of(d, "apps", "deployments"));
    assert_non_null(resource_of(d, "kubevirt.io", "virtualmachineinstances"));
    assert_null(group_of(d, "snapshot.storage.k8s.io"));
    const vmbi_json *vm = resource_of(d, "kubevirt.io", "virtualmachines");
    assert_string_equal(vmbi_json_get_str(vm, "kind"), "VirtualMachine");
    assert_string_equal(vmbi_json_get_str(vm, "singularName"), "virtualmachine");
    assert_true(vmbi_json_bool(vmbi_json_get(vm, "namespaced"), false));
    assert_string_equal(vmbi_json_str(vmbi_json_at(vmbi_json_get(vm, "shortNames"), 0)), "vm");
    assert_int_equal(vmbi_json_len(vmbi_json_get(vm, "verbs")), 4);
    /* and the model takes it */
    vmbi_discovery *parsed = NULL;
    assert_int_equal(vmbi_discovery_from_tree(d, &parsed, NULL), VMB_OK);
    assert_string_equal(vmbi_discovery_resolve(parsed, "vm")->group_resource,
                        "virtualmachines.kubevirt.io");
    vmbi_discovery_free(parsed);
    vmbi_json_free(d);
    close_fixture(&x);
}

static void discovery_follows_definitions_of_the_folder(void **unused)
{
    fixture x;
    names l = {0};
    (void)unused;
    new_folder(&x);
    put_file(&x, "a-object.yaml", "apiVersion: ex.io/v1\nkind: Mouse\nmetadata: {name: jerry}\n");
    put_file(
        &x, "b-definition.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: "
        "mice.ex.io}\nspec:\n  group: ex.io\n  scope: Cluster\n  names: {plural: mice, "
        "singular: mouse, kind: Mouse, shortNames: [mo]}\n  versions:\n  - {name: v1beta1, "
        "served: true}\n  - {name: v1, served: true}\n  - {name: v2, served: false}\n");
    must_load(&x);
    vmbi_json *d = discovery(&x);
    assert_string_equal(vmbi_json_get_str(group_of(d, "ex.io"), "preferredVersion"), "v1");
    const vmbi_json *r = resource_of(d, "ex.io", "mice");
    assert_string_equal(vmbi_json_get_str(r, "singularName"), "mouse");
    assert_false(vmbi_json_bool(vmbi_json_get(r, "namespaced"), true));
    assert_int_equal(vmbi_json_len(vmbi_json_get(d, "warnings")), 0);
    vmbi_json_free(d);
    assert_int_equal(list(&x, "ex.io", "mice", NULL, NULL, &l), VMB_OK);
    assert_string_equal(l.text, "jerry");
    assert_int_equal(list(&x, "apiextensions.k8s.io", "customresourcedefinitions", NULL, NULL, &l),
                     VMB_OK);
    assert_string_equal(l.text, "mice.ex.io");
    close_fixture(&x);
}

static void discovery_guesses_unknown_kinds_aloud(void **unused)
{
    fixture x;
    (void)unused;
    new_folder(&x);
    put_file(&x, "a.yaml",
             "apiVersion: ex.io/v1alpha1\nkind: Policy\nmetadata: {name: a}\n---\napiVersion: "
             "ex.io/v1alpha1\nkind: Policy\nmetadata: {name: b, namespace: ns}\n---\napiVersion: "
             "ex.io/v1alpha1\nkind: Fleet\nmetadata: {name: f}\n");
    must_load(&x);
    vmbi_json *d = discovery(&x);
    assert_true(
        vmbi_json_bool(vmbi_json_get(resource_of(d, "ex.io", "policies"), "namespaced"), false));
    assert_false(
        vmbi_json_bool(vmbi_json_get(resource_of(d, "ex.io", "fleets"), "namespaced"), true));
    assert_int_equal(vmbi_json_len(vmbi_json_get(d, "warnings")), 2);
    vmbi_json_free(d);
    close_fixture(&x);
}

static void versions_other_than_served_are_noted(void **unused)
{
    fixture x;
    names l = {0};
    (void)unused;
    new_folder(&x);
    put_file(
        &x, "a.yaml",
        "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: old, namespace: "
        "ns}\n---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: new, namespace: ns}\n");
    put_file(&x, "b.yaml",
             "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: "
             "p, namespace: ns}\n");
    must_load(&x);
    assert_int_equal(list(&x, "batch", "cronjobs", NULL, NULL, &l), VMB_OK);
    assert_string_equal(l.text, "ns/new ns/old");
    vmbi_json *d = discovery(&x);
    assert_int_equal(vmbi_json_len(vmbi_json_get(d, "warnings")), 1);
    assert_non_null(
        strstr(vmbi_json_str(vmbi_json_at(vmbi_json_get(d, "warnings"), 0)), "1 cronjobs"));
    assert_string_equal(vmbi_json_get_str(group_of(d, "policy"), "preferredVersion"), "v1beta1");
    vmbi_json_free(d);
    close_fixture(&x);
}

static void version_order_is_kubernetes(void **unused)
{
    static const char *const order[] = {"v10",     "v2",        "v1",        "v11beta2", "v10beta3",
                                        "v3beta1", "v12alpha1", "v11alpha2", "foo1",     "foo10"};
    (void)unused;
    for (size_t i = 0; i + 1 < VMBI_ARRAY_LEN(order); i++) {
        assert_true(vmbi_dir_version_compare(order[i], order[i + 1]) < 0);
        assert_true(vmbi_dir_version_compare(order[i + 1], order[i]) > 0);
    }
    assert_int_equal(vmbi_dir_version_compare("v1", "v1"), 0);
}

static void kinds_table_is_consistent(void **unused)
{
    size_t n = 0;
    const vmbi_dir_kind *k = vmbi_dir_kinds(&n);
    (void)unused;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            assert_false(
                vmbi_streq(k[i].group, k[j].group) &&
                (vmbi_streq(k[i].kind, k[j].kind) || vmbi_streq(k[i].plural, k[j].plural)));
            if (vmbi_streq(k[i].group, k[j].group)) { /* a group's rows stand together */
                assert_string_equal(k[j - 1].group, k[j].group);
            }
        }
    }
}

/* ---- the example
 * ---------------------------------------------------------------------------------- */

static void demo_cluster_loads_whole(void **unused)
{
    fixture x;
    names l = {0};
    (void)unused;
    memset(&x, 0, sizeof x);
    vmbi_json *s = vmbi_json_object();
    assert_true(vmbi_json_set_str(s, "path", DEMO_CLUSTER));
    if (vmbi_cluster_dir_new(s, &x.p, &x.err) != VMB_OK) {
        fail_msg("%s", vmb_error_message(x.err));
    }
    vmbi_json_free(s);
    x.open = true;
    vmbi_json *d = discovery(&x);
    assert_int_equal(vmbi_json_len(vmbi_json_get(d, "warnings")), 0);
    vmbi_json_free(d);
    assert_int_equal(list(&x, "kubevirt.io", "virtualmachines", NULL, "app=web", &l), VMB_OK);
    assert_string_equal(l.text, "shop/web");
    assert_int_equal(list(&x, "", "persistentvolumeclaims", NULL, NULL, &l), VMB_OK);
    assert_string_equal(l.text, "other/cache shop/web-data shop/web-root");
    close_fixture(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folder_nested_files_and_documents_are_all_read),
        cmocka_unit_test(list_kinds_are_expanded),
        cmocka_unit_test(duplicate_object_names_both_places),
        cmocka_unit_test(bad_manifests_name_file_and_line),
        cmocka_unit_test(links_stay_inside_the_folder),
        cmocka_unit_test(special_files_are_left_out),
        cmocka_unit_test(folder_limits_are_kept),
        cmocka_unit_test(missing_folder_is_not_found),
        cmocka_unit_test(secret_string_data_becomes_data),
        cmocka_unit_test(namespace_is_completed_or_dropped),
        cmocka_unit_test(list_filters_by_namespace_and_labels),
        cmocka_unit_test(list_ends_with_the_receivers_code),
        cmocka_unit_test(discovery_lists_native_kinds_and_used_groups),
        cmocka_unit_test(discovery_follows_definitions_of_the_folder),
        cmocka_unit_test(discovery_guesses_unknown_kinds_aloud),
        cmocka_unit_test(versions_other_than_served_are_noted),
        cmocka_unit_test(version_order_is_kubernetes),
        cmocka_unit_test(kinds_table_is_consistent),
        cmocka_unit_test(demo_cluster_loads_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
