/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of a Backup: what names, lists, selectors and durations may say. */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/strs.h"
#include "codec/duration.h"
#include "model/doc_hint.h"
#include "model/glob.h"
#include "model/labelname.h"
#include "model/nsfilter.h"
#include "model/validate_impl.h"

/* ---- names and labels ---------------------------------------------------------------------- */

/* "why", with the remedy that the value itself suggests. */
static void bad_value(vmbi_checker *c, const char *value, const char *what, const char *why)
{
    vmbi_check_error(c, vmbi_value_hint(value), "\"%.100s\" is no %s: %s", value, what, why);
}

void vmbi_check_labels(vmbi_checker *c, const vmbi_json *labels)
{
    for (void *it = vmbi_json_iter(labels); it != NULL; it = vmbi_json_iter_next(labels, it)) {
        const char *key = vmbi_json_iter_key(it);
        const char *value = vmbi_json_str(vmbi_json_iter_value(it));
        const char *why = NULL;
        size_t mark = vmbi_check_enter(c, key);

        if (!vmbi_label_key_ok(key, strlen(key), &why)) {
            bad_value(c, key, "label key", why);
        }
        if (value != NULL && !vmbi_label_value_ok(value, strlen(value), &why)) {
            bad_value(c, value, "label value", why);
        }
        vmbi_check_leave(c, mark);
    }
}

static void check_annotations(vmbi_checker *c, const vmbi_json *annotations)
{
    for (void *it = vmbi_json_iter(annotations); it != NULL;
         it = vmbi_json_iter_next(annotations, it)) {
        const char *key = vmbi_json_iter_key(it);
        const char *why = NULL;

        if (!vmbi_label_key_ok(key, strlen(key), &why)) {
            size_t mark = vmbi_check_enter(c, key);

            bad_value(c, key, "annotation key", why);
            vmbi_check_leave(c, mark);
        }
    }
}

void vmbi_check_name(vmbi_checker *c, const vmbi_json *parent, const char *field,
                     const char *what)
{
    const char *name = vmbi_json_get_str(parent, field);

    if (name == NULL || vmbi_dns_subdomain_ok(name, strlen(name))) {
        return;
    }
    size_t mark = vmbi_check_enter(c, field);
    bad_value(c, name, what,
              name[0] == '\0' ? "it is empty"
                              : "it may hold lower-case letters, digits, '-' and '.', at most 253, "
                                "and starts and ends with a letter or digit");
    vmbi_check_leave(c, mark);
}

static void check_location_label(vmbi_checker *c, const vmbi_json *root)
{
    const vmbi_json *labels = vmbi_json_path(root, "metadata.labels");
    const char *label = vmbi_json_get_str(labels, "velero.io/storage-location");
    const char *location = vmbi_json_path_str(root, "spec.storageLocation");

    if (label != NULL && location != NULL && strcmp(label, location) != 0) {
        size_t a = vmbi_check_enter(c, "labels");

        (void)vmbi_check_enter(c, "velero.io/storage-location");
        vmbi_check_warning(c, NULL, "\"%.63s\" is overwritten by spec.storageLocation, \"%.63s\"",
                           label, location);
        vmbi_check_leave(c, a);
    }
}

void vmbi_check_metadata(vmbi_checker *c, const vmbi_json *root)
{
    const vmbi_json *metadata = vmbi_json_get(root, "metadata");
    const char *ns = vmbi_json_get_str(metadata, "namespace");
    char what[32];
    size_t mark = vmbi_check_enter(c, "metadata");
    size_t inner;

    (void)snprintf(what, sizeof(what), "name of a %s", c->kind);
    vmbi_check_name(c, metadata, "name", what);
    if (ns != NULL && !vmbi_dns_label_ok(ns, strlen(ns))) {
        inner = vmbi_check_enter(c, "namespace");
        bad_value(c, ns, "namespace",
                  "it may hold lower-case letters, digits and '-', at most 63, and starts and ends "
                  "with a letter or digit");
        vmbi_check_leave(c, inner);
    }
    inner = vmbi_check_enter(c, "labels");
    vmbi_check_labels(c, vmbi_json_get(metadata, "labels"));
    vmbi_check_leave(c, inner);
    inner = vmbi_check_enter(c, "annotations");
    check_annotations(c, vmbi_json_get(metadata, "annotations"));
    vmbi_check_leave(c, inner);
    check_location_label(c, root);
    vmbi_check_leave(c, mark);
}

/* ---- lists --------------------------------------------------------------------------------- */

static size_t find_entry(const vmbi_json *list, const char *s)
{
    size_t n = vmbi_json_len(list);

    for (size_t i = 0; i < n; i++) {
        const char *own = vmbi_json_str(vmbi_json_at(list, i));

        if (own != NULL && strcmp(own, s) == 0) {
            return i;
        }
    }
    return n;
}

static bool has_entry(const vmbi_json *list, const char *s)
{
    return find_entry(list, s) < vmbi_json_len(list);
}

/* More than one different entry? */
static bool has_others(const vmbi_json *list, const char *s)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *own = vmbi_json_str(vmbi_json_at(list, i));

        if (own != NULL && strcmp(own, s) != 0) {
            return true;
        }
    }
    return false;
}

static void at_entry(vmbi_checker *c, const char *field, size_t i, const char *remedy,
                     const char *message)
{
    size_t mark = vmbi_check_enter(c, field);

    (void)vmbi_check_enter_index(c, i);
    vmbi_check_error(c, remedy, "%s", message);
    vmbi_check_leave(c, mark);
}

/* Lists of tens of thousands of namespaces occur: they are looked up in a map. */
void vmbi_check_common(vmbi_checker *c, const vmbi_json *parent, const char *in_field,
                       const char *ex_field)
{
    const vmbi_json *in = vmbi_json_get(parent, in_field);
    const vmbi_json *ex = vmbi_json_get(parent, ex_field);
    char present = 1; /* stands for "in the list" */
    vmbi_map map = VMBI_MAP_INIT(NULL);
    vmb_code code = VMB_OK;
    char message[256];

    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(in); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(in, i));

        code = s != NULL ? vmbi_map_set(&map, s, &present, NULL) : VMB_OK;
    }
    for (size_t i = 0; code == VMB_OK && i < vmbi_json_len(ex); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(ex, i));

        if (s != NULL && strcmp(s, "*") != 0 && vmbi_map_get(&map, s) != NULL) {
            (void)snprintf(message, sizeof(message), "\"%.100s\" is also in %s", s, in_field);
            at_entry(c, ex_field, i, "delete it from one of the two lists", message);
            code = vmbi_map_set(&map, s, NULL, NULL);
        }
    }
    if (code != VMB_OK) {
        c->p->status = code;
    }
    vmbi_map_free(&map);
}

/* The rules that hold for every pair of lists. star_excludes: the excludes may be "*" (alone). */
static void check_pair(vmbi_checker *c, const vmbi_json *spec, const char *in_field,
                       const char *ex_field, bool star_excludes)
{
    const vmbi_json *in = vmbi_json_get(spec, in_field);
    const vmbi_json *ex = vmbi_json_get(spec, ex_field);
    char message[128];

    if (has_entry(in, "*") && has_others(in, "*")) {
        at_entry(c, in_field, find_entry(in, "*"), "delete the '*' or the other entries",
                 "'*' must be the only entry of the list");
    }
    if (has_entry(ex, "*") && !star_excludes) {
        at_entry(c, ex_field, find_entry(ex, "*"), NULL, "'*' is not allowed here");
    } else if (has_entry(ex, "*") && has_others(ex, "*")) {
        at_entry(c, ex_field, find_entry(ex, "*"), "delete the '*' or the other entries",
                 "'*' must be the only entry of the list");
    }
    if (has_entry(ex, "*") && star_excludes && vmbi_json_len(in) > 0) {
        (void)snprintf(message, sizeof(message),
                       "'*' excludes everything, so %s must have no entries", in_field);
        at_entry(c, ex_field, find_entry(ex, "*"), NULL, message);
    }
    vmbi_check_common(c, spec, in_field, ex_field);
}

static void check_namespaces(vmbi_checker *c, const vmbi_json *spec, const char *field)
{
    const vmbi_json *list = vmbi_json_get(spec, field);
    size_t mark = vmbi_check_enter(c, field);

    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        const char *why = NULL;
        size_t inner = vmbi_check_enter_index(c, i);

        if (s != NULL && !vmbi_nsfilter_entry_ok(s, &why)) {
            bad_value(c, s, "namespace", why);
        }
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

static void check_resource_name(vmbi_checker *c, const char *s)
{
    vmbi_glob *g = NULL;
    const char *hint = vmbi_value_hint(s);

    if (s[0] == '\0' || hint != NULL || strpbrk(s, " \t<>=") != NULL) {
        vmbi_check_error(c, hint, "\"%.100s\" is no name of a resource", s);
        return;
    }
    if (strchr(s, '/') != NULL) {
        vmbi_check_error(c, "write resource.group, without a version: deployments.apps",
                         "\"%.100s\" is no name of a resource and would match nothing", s);
        return;
    }
    if (vmbi_glob_new(s, &g, NULL) == VMB_E_PARSE) {
        vmbi_check_error(
            c, NULL, "\"%.100s\" is a malformed pattern and would switch off the whole list", s);
    }
    vmbi_glob_free(g);
}

void vmbi_check_resource_names(vmbi_checker *c, const vmbi_json *list)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        size_t mark = vmbi_check_enter_index(c, i);

        if (s != NULL) {
            check_resource_name(c, s);
        }
        vmbi_check_leave(c, mark);
    }
}

static const char *const old_filters[] = {"includedResources", "excludedResources",
                                          "includeClusterResources", NULL};
static const char *const new_filters[] = {
    "includedClusterScopedResources", "excludedClusterScopedResources",
    "includedNamespaceScopedResources", "excludedNamespaceScopedResources", NULL};

static const char *first_used(const vmbi_json *spec, const char *const *fields)
{
    for (; *fields != NULL; fields++) {
        const vmbi_json *v = vmbi_json_get(spec, *fields);

        if (vmbi_json_is_bool(v) || vmbi_json_len(v) > 0) {
            return *fields;
        }
    }
    return NULL;
}

void vmbi_check_namespaces(vmbi_checker *c, const vmbi_json *spec)
{
    check_pair(c, spec, "includedNamespaces", "excludedNamespaces", false);
    check_namespaces(c, spec, "includedNamespaces");
    check_namespaces(c, spec, "excludedNamespaces");
}

void vmbi_check_resource_pair(vmbi_checker *c, const vmbi_json *parent, const char *in_field,
                              const char *ex_field)
{
    size_t mark;

    check_pair(c, parent, in_field, ex_field, false);
    mark = vmbi_check_enter(c, in_field);
    vmbi_check_resource_names(c, vmbi_json_get(parent, in_field));
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, ex_field);
    vmbi_check_resource_names(c, vmbi_json_get(parent, ex_field));
    vmbi_check_leave(c, mark);
}

static void check_filters(vmbi_checker *c, const vmbi_json *spec)
{
    const char *old_used = first_used(spec, old_filters);
    const char *new_used = first_used(spec, new_filters);

    vmbi_check_namespaces(c, spec);
    check_pair(c, spec, "includedResources", "excludedResources", false);
    check_pair(c, spec, new_filters[0], new_filters[1], true);
    check_pair(c, spec, new_filters[2], new_filters[3], true);
    for (size_t i = 0; i < 2; i++) {
        for (const char *const *f = i == 0 ? old_filters : new_filters; *f != NULL; f++) {
            size_t mark = vmbi_check_enter(c, *f);

            vmbi_check_resource_names(c, vmbi_json_get(spec, *f));
            vmbi_check_leave(c, mark);
        }
    }
    if (old_used != NULL && new_used != NULL) {
        size_t mark = vmbi_check_enter(c, new_used);

        vmbi_check_error(c,
                         "use either includedResources, excludedResources and "
                         "includeClusterResources, or the four lists by scope",
                         "cannot be used together with %s", old_used);
        vmbi_check_leave(c, mark);
    }
}

/* ---- selectors ----------------------------------------------------------------------------- */

static void check_expression(vmbi_checker *c, const vmbi_json *e)
{
    const char *key = vmbi_json_get_str(e, "key");
    const char *op = vmbi_json_get_str(e, "operator");
    const vmbi_json *values = vmbi_json_get(e, "values");
    bool needs = op != NULL && (strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0);
    bool forbids = op != NULL && (strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0);
    const char *why = NULL;
    size_t mark;

    if (key != NULL && !vmbi_label_key_ok(key, strlen(key), &why)) {
        mark = vmbi_check_enter(c, "key");
        bad_value(c, key, "label key", why);
        vmbi_check_leave(c, mark);
    }
    if (op != NULL && !needs && !forbids) {
        mark = vmbi_check_enter(c, "operator");
        vmbi_check_error(c, vmbi_value_hint(op),
                         "\"%.80s\" is none of In, NotIn, Exists and DoesNotExist", op);
        vmbi_check_leave(c, mark);
    }
    mark = vmbi_check_enter(c, "values");
    if (needs && vmbi_json_len(values) == 0) {
        vmbi_check_error(c, NULL, "operator %s needs at least one value", op);
    }
    if (forbids && vmbi_json_len(values) > 0) {
        vmbi_check_error(c, "delete the values", "operator %s takes no values", op);
    }
    for (size_t i = 0; i < vmbi_json_len(values); i++) {
        const char *v = vmbi_json_str(vmbi_json_at(values, i));
        size_t inner = vmbi_check_enter_index(c, i);

        if (v != NULL && !vmbi_label_value_ok(v, strlen(v), &why)) {
            bad_value(c, v, "label value", why);
        }
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

void vmbi_check_selector(vmbi_checker *c, const vmbi_json *selector)
{
    const vmbi_json *expressions = vmbi_json_get(selector, "matchExpressions");
    size_t mark = vmbi_check_enter(c, "matchLabels");

    vmbi_check_labels(c, vmbi_json_get(selector, "matchLabels"));
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "matchExpressions");
    for (size_t i = 0; i < vmbi_json_len(expressions); i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        check_expression(c, vmbi_json_at(expressions, i));
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
}

void vmbi_check_selectors(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *one = vmbi_json_get(spec, "labelSelector");
    const vmbi_json *any = vmbi_json_get(spec, "orLabelSelectors");
    size_t mark = vmbi_check_enter(c, "labelSelector");

    if (vmbi_json_is_object(one)) {
        vmbi_check_selector(c, one);
        if (vmbi_json_len(one) == 0) {
            vmbi_check_warning(c, "leave it out",
                               "an empty selector selects everything; Velero 1.18 itself fails on "
                               "it");
        }
    }
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "orLabelSelectors");
    for (size_t i = 0; i < vmbi_json_len(any); i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        vmbi_check_selector(c, vmbi_json_at(any, i));
        vmbi_check_leave(c, inner);
    }
    if (!vmbi_json_is_null(one) && !vmbi_json_is_null(any)) {
        vmbi_check_error(c,
                         "delete one of the two; labels that must all match go into "
                         "labelSelector, alternatives into orLabelSelectors",
                         "cannot be used together with labelSelector");
    }
    vmbi_check_leave(c, mark);
}

/* ---- the rest ------------------------------------------------------------------------------ */

void vmbi_check_duration(vmbi_checker *c, const vmbi_json *v, bool negative_allowed)
{
    const char *text = vmbi_json_str(v);
    const char *hint;
    int64_t ns = 0;
    int64_t number;

    if (text == NULL) {
        return;
    }
    if (!vmbi_duration_parse(text, &ns)) {
        hint = vmbi_value_hint(text);
        if (hint == NULL && vmbi_parse_i64(text, strlen(text), &number)) {
            hint = "give a unit: 720h, 10m, 30s";
        } else if (hint == NULL && strchr(text, 'd') != NULL) {
            hint = "there are no days: 30d is 720h";
        }
        vmbi_check_error(c, hint, "\"%.80s\" is no duration such as 720h or 1h30m", text);
    } else if (ns < 0 && !negative_allowed) {
        vmbi_check_error(c, NULL, "\"%.80s\" is negative", text);
    }
}

static void check_durations(vmbi_checker *c, const vmbi_json *spec)
{
    static const char *const fields[] = {"ttl", "csiSnapshotTimeout", "itemOperationTimeout"};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields); i++) {
        size_t mark = vmbi_check_enter(c, fields[i]);

        vmbi_check_duration(c, vmbi_json_get(spec, fields[i]), false);
        vmbi_check_leave(c, mark);
    }
}

void vmbi_check_configmap(vmbi_checker *c, const vmbi_json *spec, const char *field,
                          const char *what)
{
    const vmbi_json *policy = vmbi_json_get(spec, field);
    const char *kind = vmbi_json_get_str(policy, "kind");
    size_t mark = vmbi_check_enter(c, field);

    if (kind != NULL && !vmbi_strcaseeq(kind, "configmap")) {
        size_t inner = vmbi_check_enter(c, "kind");

        vmbi_check_error(c, "write configmap", "\"%.80s\" is not the kind of a %s", kind,
                         what);
        vmbi_check_leave(c, inner);
    }
    vmbi_check_name(c, policy, "name", "name of a ConfigMap");
    vmbi_check_leave(c, mark);
}

static void check_ordered(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *map = vmbi_json_get(spec, "orderedResources");
    size_t mark = vmbi_check_enter(c, "orderedResources");

    for (void *it = vmbi_json_iter(map); it != NULL; it = vmbi_json_iter_next(map, it)) {
        const char *text = vmbi_json_str(vmbi_json_iter_value(it));

        if (text != NULL && strchr(text, ' ') != NULL) {
            size_t inner = vmbi_check_enter(c, vmbi_json_iter_key(it));

            vmbi_check_warning(c, "write the names without blanks: ns/a,ns/b",
                               "blanks are taken as part of the names");
            vmbi_check_leave(c, inner);
        }
    }
    vmbi_check_leave(c, mark);
}

static void check_volumes(vmbi_checker *c, const vmbi_json *spec)
{
    const vmbi_json *restic = vmbi_json_get(spec, "defaultVolumesToRestic");
    const vmbi_json *fs = vmbi_json_get(spec, "defaultVolumesToFsBackup");
    const vmbi_json *files = vmbi_json_path(spec, "uploaderConfig.parallelFilesUpload");
    size_t mark;

    if (vmbi_json_is_bool(restic)) {
        bool wins = vmbi_json_bool(restic, false) && !vmbi_json_bool(fs, true);

        mark = vmbi_check_enter(c, "defaultVolumesToRestic");
        vmbi_check_warning(c, "write defaultVolumesToFsBackup",
                           wins ? "is the old name of defaultVolumesToFsBackup, and its true wins "
                                  "over the false there"
                                : "is the old name of defaultVolumesToFsBackup; only true counts");
        vmbi_check_leave(c, mark);
    }
    if (vmbi_json_bool(vmbi_json_get(spec, "snapshotMoveData"), false) &&
        !vmbi_json_bool(vmbi_json_get(spec, "snapshotVolumes"), true)) {
        mark = vmbi_check_enter(c, "snapshotMoveData");
        vmbi_check_warning(c, NULL, "has no effect, since snapshotVolumes is false");
        vmbi_check_leave(c, mark);
    }
    if (vmbi_json_is_int(files) && vmbi_json_int(files, 0) < 0) {
        mark = vmbi_check_enter(c, "uploaderConfig");
        (void)vmbi_check_enter(c, "parallelFilesUpload");
        vmbi_check_error(c, NULL, "must not be negative");
        vmbi_check_leave(c, mark);
    }
}

void vmbi_check_spec(vmbi_checker *c, const vmbi_json *spec)
{
    const char *group_key = vmbi_json_get_str(spec, "volumeGroupSnapshotLabelKey");
    const char *location = vmbi_json_get_str(spec, "storageLocation");
    const char *why = NULL;
    size_t mark;

    check_filters(c, spec);
    vmbi_check_selectors(c, spec);
    check_durations(c, spec);
    vmbi_check_configmap(c, spec, "resourcePolicy", "resource policy");
    check_ordered(c, spec);
    check_volumes(c, spec);
    if (location != NULL && location[0] != '\0') {
        vmbi_check_name(c, spec, "storageLocation", "name of a storage location");
    }
    if (group_key != NULL && group_key[0] != '\0' &&
        !vmbi_label_key_ok(group_key, strlen(group_key), &why)) {
        mark = vmbi_check_enter(c, "volumeGroupSnapshotLabelKey");
        bad_value(c, group_key, "label key", why);
        vmbi_check_leave(c, mark);
    }
    mark = vmbi_check_enter(c, "metadata");
    (void)vmbi_check_enter(c, "labels");
    vmbi_check_labels(c, vmbi_json_path(spec, "metadata.labels"));
    vmbi_check_leave(c, mark);
}
