/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of "velero backup create" and "velero restore create", carried into a spec. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option cli_backup_options[] = {
    {"file", 'f', CLI_STRING, "FILE", "a Backup in YAML or JSON, - for standard input"},
    {"dry-run", 0, CLI_BOOL, NULL,
     "show what would be taken and what not, without storing anything"},
    {"include-namespaces", 0, CLI_LIST, "A,B", "namespaces to take, globs allowed; default all"},
    {"exclude-namespaces", 0, CLI_LIST, "A,B", "namespaces to leave out"},
    {"include-resources", 0, CLI_LIST, "A,B",
     "resources to take (pods, deployments.apps); default "
     "all"},
    {"exclude-resources", 0, CLI_LIST, "A,B", "resources to leave out"},
    {"include-cluster-resources", 0, CLI_BOOL, NULL,
     "take cluster-scoped objects: =true, =false; "
     "unset: what is needed"},
    {"include-cluster-scoped-resources", 0, CLI_LIST, "A,B", "cluster-scoped resources to take"},
    {"exclude-cluster-scoped-resources", 0, CLI_LIST, "A,B",
     "cluster-scoped resources to leave "
     "out"},
    {"include-namespace-scoped-resources", 0, CLI_LIST, "A,B", "namespaced resources to take"},
    {"exclude-namespace-scoped-resources", 0, CLI_LIST, "A,B", "namespaced resources to leave out"},
    {"selector", 'l', CLI_STRING, "SELECTOR",
     "objects whose labels match: \"app=db,tier in "
     "(a,b)\""},
    {"or-selector", 0, CLI_STRING, "SELECTORS", "objects that match any: \"app=db or app=web\""},
    {"ttl", 0, CLI_STRING, "DURATION", "when the backup expires (720h0m0s)"},
    {"storage-location", 0, CLI_STRING, "NAME",
     "where the backup goes; default the default "
     "location"},
    {"volume-snapshot-locations", 0, CLI_LIST, "A,B", "locations of native volume snapshots"},
    {"snapshot-volumes", 0, CLI_BOOL, NULL, "snapshot volumes: =true, =false; unset: yes"},
    {"snapshot-move-data", 0, CLI_BOOL, NULL, "move snapshot data to the store"},
    {"data-mover", 0, CLI_STRING, "NAME", "who moves the data"},
    {"default-volumes-to-fs-backup", 0, CLI_BOOL, NULL, "back up pod volumes by their files"},
    {"csi-snapshot-timeout", 0, CLI_STRING, "DURATION",
     "how long to wait for a CSI snapshot (10m)"},
    {"item-operation-timeout", 0, CLI_STRING, "DURATION",
     "how long asynchronous work may take "
     "(4h)"},
    {"labels", 0, CLI_LIST, "K=V,...", "labels of the backup"},
    {"annotations", 0, CLI_LIST, "K=V,...", "annotations of the backup"},
    {"ordered-resources", 0, CLI_LIST, "KIND=A,B;...",
     "objects to take first, in this order "
     "(pods=ns/a,ns/b;persistentvolumes=x)"},
    {"resource-policies-configmap", 0, CLI_STRING, "NAME", "ConfigMap with resource policies"},
    {"parallel-files-upload", 0, CLI_STRING, "N", "files that are uploaded at a time"},
    {"volume-group-snapshot-label-key", 0, CLI_STRING, "KEY", "label that groups volumes"},
    {"exec-command", 0, CLI_STRING, "PROGRAM",
     "run hooks by a program on this machine: PROGRAM NAMESPACE POD CONTAINER COMMAND..."},
    CLI_FS_OPTIONS,
    {"report", 0, CLI_STRING, "FILE", "write the run report (JSON) to a file"},
    {"quiet", 'q', CLI_BOOL, NULL, "print warnings, errors and the outcome only"},
    {NULL, 0, CLI_BOOL, NULL, NULL}};

/* Where a flag goes. Those with special forms are not in the table. */
static const struct {
    const char *flag;
    const char *path;
} fields[] = {
    {"include-namespaces", "spec.includedNamespaces"},
    {"exclude-namespaces", "spec.excludedNamespaces"},
    {"include-resources", "spec.includedResources"},
    {"exclude-resources", "spec.excludedResources"},
    {"include-cluster-resources", "spec.includeClusterResources"},
    {"include-cluster-scoped-resources", "spec.includedClusterScopedResources"},
    {"exclude-cluster-scoped-resources", "spec.excludedClusterScopedResources"},
    {"include-namespace-scoped-resources", "spec.includedNamespaceScopedResources"},
    {"exclude-namespace-scoped-resources", "spec.excludedNamespaceScopedResources"},
    {"ttl", "spec.ttl"},
    {"storage-location", "spec.storageLocation"},
    {"volume-snapshot-locations", "spec.volumeSnapshotLocations"},
    {"snapshot-volumes", "spec.snapshotVolumes"},
    {"snapshot-move-data", "spec.snapshotMoveData"},
    {"data-mover", "spec.datamover"},
    {"default-volumes-to-fs-backup", "spec.defaultVolumesToFsBackup"},
    {"csi-snapshot-timeout", "spec.csiSnapshotTimeout"},
    {"item-operation-timeout", "spec.itemOperationTimeout"},
    {"labels", "metadata.labels"},
    {"annotations", "metadata.annotations"},
    {"ordered-resources", "spec.orderedResources"},
    {"volume-group-snapshot-label-key", "spec.volumeGroupSnapshotLabelKey"},
    {"from-backup", "spec.backupName"},
    {"from-schedule", "spec.scheduleName"},
    {"namespace-mappings", "spec.namespaceMapping"},
    {"status-include-resources", "spec.restoreStatus.includedResources"},
    {"status-exclude-resources", "spec.restoreStatus.excludedResources"},
    {"restore-volumes", "spec.restorePVs"},
    {"preserve-nodeports", "spec.preserveNodePorts"},
    {"existing-resource-policy", "spec.existingResourcePolicy"},
    {"write-sparse-files", "spec.uploaderConfig.writeSparseFiles"},
};

static const char *field_of(const char *flag)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!strcmp(fields[i].flag, flag)) {
            return fields[i].path;
        }
    }
    return NULL;
}

/* Calls fn for each part of text; stops at the first failure. Parts are cut of blanks. */
static int each_part(const char *text, char separator,
                     int (*fn)(vmb_spec *spec, const char *path, const char *flag, char *part),
                     vmb_spec *spec, const char *path, const char *flag)
{
    char *copy = strdup(text);
    char *next = copy;
    int result = CLI_OK;

    if (!copy) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    while (next && result == CLI_OK) {
        char *part = next;
        char *end = strchr(part, separator);

        next = end ? end + 1 : NULL;
        end = end ? end : part + strlen(part);
        while (*part == ' ') {
            part++;
        }
        while (end > part && end[-1] == ' ') {
            end--;
        }
        *end = '\0';
        if (*part) {
            result = fn(spec, path, flag, part);
        }
    }
    free(copy);
    return result;
}

static int add_item(vmb_spec *spec, const char *path, const char *flag, char *part)
{
    vmb_error *err = NULL;

    if (vmb_spec_add_string(spec, path, part, &err) != VMB_OK) {
        cli_fail(flag, err);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int add_entry(vmb_spec *spec, const char *path, const char *flag, char *part)
{
    vmb_error *err = NULL;
    char *equals = strchr(part, '=');

    if (!equals || equals == part) {
        cli_error("--%s %s: write KEY=VALUE", flag, part);
        return CLI_USAGE;
    }
    *equals = '\0';
    if (vmb_spec_set_entry(spec, path, part, equals + 1, &err) != VMB_OK) {
        cli_fail(flag, err);
        return CLI_USAGE;
    }
    return CLI_OK;
}

/* "source:target" of --namespace-mappings. */
static int add_mapping(vmb_spec *spec, const char *path, const char *flag, char *part)
{
    vmb_error *err = NULL;
    char *colon = strchr(part, ':');

    if (!colon || colon == part || !colon[1]) {
        cli_error("--%s %s: write SOURCE:TARGET", flag, part);
        return CLI_USAGE;
    }
    *colon = '\0';
    if (vmb_spec_set_entry(spec, path, part, colon + 1, &err) != VMB_OK) {
        cli_fail(flag, err);
        return CLI_USAGE;
    }
    return CLI_OK;
}

/* One requirement of the canonical string form into a LabelSelector. */
static int add_requirement(json_t *selector, char *text)
{
    json_t *labels = json_object_get(selector, "matchLabels");
    json_t *expressions = json_object_get(selector, "matchExpressions");
    const char *op = "Exists";
    json_t *values = json_array();
    char *at;

    if (*text == '!') {
        op = "DoesNotExist";
        text++;
    } else if ((at = strstr(text, "!="))) {
        *at = '\0';
        op = "NotIn";
        json_array_append_new(values, json_string(at + 2));
    } else if (strpbrk(text, "<>")) {
        json_decref(values);
        cli_error("selector \"%s\": < and > have no form in a Backup; use =, !=, in, notin", text);
        return CLI_USAGE;
    } else if ((at = strchr(text, '='))) {
        *at = '\0';
        op = "In";
        if (!json_object_get(labels, text)) {
            json_object_set_new(labels, text, json_string(at + 1));
            json_decref(values);
            return CLI_OK;
        }
        json_array_append_new(values, json_string(at + 1));
    } else if ((at = strchr(text, '('))) {
        char *value = at + 1;
        char *close = strrchr(value, ')');

        op = at - text > 7 && !memcmp(at - 7, " notin ", 7) ? "NotIn" : "In";
        *strchr(text, ' ') = '\0';
        while (value && close) {
            char *comma = value < close ? memchr(value, ',', (size_t)(close - value)) : NULL;

            json_array_append_new(values,
                                  json_stringn(value, (size_t)((comma ? comma : close) - value)));
            value = comma ? comma + 1 : NULL;
        }
    }
    json_array_append_new(
        expressions, json_pack("{s:s,s:s,s:o}", "key", text, "operator", op, "values", values));
    return CLI_OK;
}

/* The string form as a LabelSelector; NULL after a message. */
static json_t *selector_object(const char *flag, const char *text)
{
    vmb_selector *compiled = NULL;
    vmb_error *err = NULL;
    char *canonical = NULL;
    json_t *selector = NULL;
    char *at;
    int result = CLI_OK;

    if (vmb_selector_parse(text, &compiled, &err) != VMB_OK ||
        vmb_selector_to_string(compiled, &canonical, &err) != VMB_OK) {
        vmb_selector_free(compiled);
        cli_fail(flag, err);
        return NULL;
    }
    vmb_selector_free(compiled);
    selector = json_pack("{s:{},s:[]}", "matchLabels", "matchExpressions");
    at = canonical;
    while (selector && *at && result == CLI_OK) {
        size_t depth = 0;
        char *end = at;

        while (*end && (*end != ',' || depth > 0)) {
            depth += *end == '(' ? 1 : 0;
            depth -= *end == ')' ? 1 : 0;
            end++;
        }
        if (*end) {
            *end++ = '\0';
        }
        result = add_requirement(selector, at);
        at = end;
    }
    vmb_free(canonical);
    if (result != CLI_OK) {
        json_decref(selector);
        return NULL;
    }
    if (json_object_size(json_object_get(selector, "matchLabels")) == 0) {
        json_object_del(selector, "matchLabels");
    }
    if (json_array_size(json_object_get(selector, "matchExpressions")) == 0) {
        json_object_del(selector, "matchExpressions");
    }
    return selector;
}

static int set_value(vmb_spec *spec, const char *path, const char *flag, json_t *value)
{
    vmb_error *err = NULL;
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    int result = CLI_OK;

    if (!text) {
        result = CLI_USAGE;
    } else if (vmb_spec_set_json(spec, path, text, strlen(text), &err) != VMB_OK) {
        cli_fail(flag, err);
        result = CLI_USAGE;
    }
    free(text);
    json_decref(value);
    return result;
}

static int set_or_selector(vmb_spec *spec, const char *text)
{
    json_t *list = json_array();
    char *copy = strdup(text);
    char *next = copy;

    while (next && list) {
        char *part = next;
        char *end = strstr(part, " or ");
        json_t *selector;

        next = end ? end + 4 : NULL;
        if (end) {
            *end = '\0';
        }
        selector = selector_object("or-selector", part);
        if (!selector) {
            json_decref(list);
            list = NULL;
        } else {
            json_array_append_new(list, selector);
        }
    }
    free(copy);
    return list ? set_value(spec, "spec.orLabelSelectors", "or-selector", list) : CLI_USAGE;
}

/* Flags whose form is their own. *known tells whether the flag is one of them. */
static int apply_special(vmb_spec *spec, const char *flag, const char *value, bool *known)
{
    json_t *selector;
    vmb_error *err = NULL;

    *known = true;
    if (!strcmp(flag, "selector")) {
        selector = selector_object(flag, value);
        return selector ? set_value(spec, "spec.labelSelector", flag, selector) : CLI_USAGE;
    }
    if (!strcmp(flag, "or-selector")) {
        return set_or_selector(spec, value);
    }
    if (!strcmp(flag, "resource-policies-configmap")) {
        return set_value(spec, "spec.resourcePolicy", flag,
                         json_pack("{s:s,s:s}", "kind", "configmap", "name", value));
    }
    if (!strcmp(flag, "resource-modifier-configmap")) {
        return set_value(spec, "spec.resourceModifier", flag,
                         json_pack("{s:s,s:s}", "kind", "configmap", "name", value));
    }
    if (!strcmp(flag, "parallel-files-upload") || !strcmp(flag, "parallel-files-download")) {
        const char *path = !strcmp(flag, "parallel-files-upload")
                               ? "spec.uploaderConfig.parallelFilesUpload"
                               : "spec.uploaderConfig.parallelFilesDownload";

        if (strspn(value, "0123456789") != strlen(value)) {
            cli_error("--%s %s: write a number", flag, value);
            return CLI_USAGE;
        }
        if (vmb_spec_set_json(spec, path, value, strlen(value), &err) != VMB_OK) {
            cli_fail(flag, err);
            return CLI_USAGE;
        }
        return CLI_OK;
    }
    *known = false;
    return CLI_OK;
}

/* A list flag replaces what a file says: its first occurrence clears the field. */
static int clear_lists(const struct cli_args *args, vmb_spec *spec)
{
    vmb_error *err = NULL;

    for (size_t i = 0; i < args->given_count; i++) {
        const struct cli_option *o = args->given[i].option;
        const char *path = o->kind == CLI_LIST ? field_of(o->name) : NULL;

        if (path && strncmp(path, "metadata.", 9) != 0 &&
            vmb_spec_unset(spec, path, &err) != VMB_OK) {
            return cli_fail(o->name, err);
        }
    }
    return CLI_OK;
}

int cli_spec_apply(const struct cli_args *args, vmb_spec *spec)
{
    int result = clear_lists(args, spec);

    for (size_t i = 0; i < args->given_count && result == CLI_OK; i++) {
        const struct cli_option *o = args->given[i].option;
        const char *value = args->given[i].value;
        const char *path = field_of(o->name);
        vmb_error *err = NULL;
        bool known;

        result = apply_special(spec, o->name, value, &known);
        if (known || !path) {
            continue;
        }
        if (o->kind == CLI_BOOL) {
            if (vmb_spec_set_bool(spec, path, !strcmp(value, "true"), &err) != VMB_OK) {
                result = cli_fail(o->name, err);
            }
        } else if (o->kind == CLI_STRING) {
            if (vmb_spec_set_string(spec, path, value, &err) != VMB_OK) {
                result = cli_fail(o->name, err);
            }
        } else if (!strcmp(o->name, "ordered-resources")) {
            result = each_part(value, ';', add_entry, spec, path, o->name);
        } else if (!strcmp(o->name, "namespace-mappings")) {
            result = each_part(value, ',', add_mapping, spec, path, o->name);
        } else if (!strncmp(path, "metadata.", 9)) {
            result = each_part(value, ',', add_entry, spec, path, o->name);
        } else {
            result = each_part(value, ',', add_item, spec, path, o->name);
        }
    }
    return result;
}
