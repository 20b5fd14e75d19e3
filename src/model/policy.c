/* SPDX-License-Identifier: Apache-2.0 */
#include "model/policy.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/duration.h"
#include "model/validate_impl.h"

typedef struct policy_rule {
    vmbi_policy_action action;
    const vmbi_json *conditions; /* within the policy's tree; NULL: every volume */
    int64_t at_least;            /* bytes; 0: open */
    int64_t at_most;             /* bytes; 0: open */
} policy_rule;

struct vmbi_policy {
    vmbi_json *tree;
    policy_rule *rules;
    size_t n;
};

#define N VMBI_FIELD_NULLABLE
#define R VMBI_FIELD_REQUIRED
#define END                                                                                        \
    {                                                                                              \
        NULL, VMBI_FIELD_ANY, 0, NULL                                                              \
    }

static const vmbi_field nfs_fields[] = {
    {"server", VMBI_FIELD_STRING, N, NULL},
    {"path", VMBI_FIELD_STRING, N, NULL},
    END,
};

static const vmbi_field csi_fields[] = {
    {"driver", VMBI_FIELD_STRING, N, NULL},
    {"volumeAttributes", VMBI_FIELD_MAP, N, NULL},
    END,
};

static const vmbi_field condition_fields[] = {
    {"capacity", VMBI_FIELD_STRING, N, NULL},     {"storageClass", VMBI_FIELD_STRINGS, N, NULL},
    {"nfs", VMBI_FIELD_OBJECT, N, nfs_fields},    {"csi", VMBI_FIELD_OBJECT, N, csi_fields},
    {"volumeTypes", VMBI_FIELD_STRINGS, N, NULL}, {"pvcLabels", VMBI_FIELD_MAP, N, NULL},
    {"pvcPhase", VMBI_FIELD_STRINGS, N, NULL},    END,
};

static const vmbi_field action_fields[] = {
    {"type", VMBI_FIELD_STRING, R, NULL},
    {"parameters", VMBI_FIELD_ANY, N, NULL},
    END,
};

static const vmbi_field rule_fields[] = {
    {"conditions", VMBI_FIELD_OBJECT, N, condition_fields},
    {"action", VMBI_FIELD_OBJECT, R, action_fields},
    END,
};

static const vmbi_field list_fields[] = {
    {"includedClusterScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    {"excludedClusterScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    {"includedNamespaceScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    {"excludedNamespaceScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    END,
};

static const vmbi_field policy_fields[] = {
    {"version", VMBI_FIELD_STRING, R, NULL},
    {"volumePolicies", VMBI_FIELD_OBJECTS, N, rule_fields},
    {"includeExcludePolicy", VMBI_FIELD_OBJECT, N, list_fields},
    END,
};

static const vmbi_field policy_field = {"", VMBI_FIELD_OBJECT, 0, policy_fields};

void vmbi_policy_free(vmbi_policy *p)
{
    if (p != NULL) {
        vmbi_json_free(p->tree);
        vmbi_free(p->rules);
        vmbi_free(p);
    }
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_action(const char *text, vmbi_policy_action *out)
{
    static const struct {
        const char *name;
        vmbi_policy_action action;
    } table[] = {
        {"skip", VMBI_POLICY_SKIP},
        {"fs-backup", VMBI_POLICY_FS_BACKUP},
        {"snapshot", VMBI_POLICY_SNAPSHOT},
        {"custom", VMBI_POLICY_CUSTOM},
    };

    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, text) == 0) {
            *out = table[i].action;
            return true;
        }
    }
    return false;
}

/* One side of "10Gi,100Gi": blanks around it are ignored, nothing means open. */
static bool read_quantity(const char *s, size_t len, int64_t *out)
{
    char text[64];

    while (len > 0 && vmbi_is_space(*s)) {
        s++;
        len--;
    }
    while (len > 0 && vmbi_is_space(s[len - 1])) {
        len--;
    }
    if (len == 0) {
        *out = 0;
        return true;
    }
    if (len >= sizeof(text)) {
        return false;
    }
    memcpy(text, s, len);
    text[len] = '\0';
    return vmbi_quantity_parse(text, out);
}

static void read_capacity(vmbi_checker *c, const char *text, policy_rule *rule)
{
    const char *comma;

    if (text == NULL || text[0] == '\0') {
        return;
    }
    comma = strchr(text, ',');
    if (comma == NULL || strchr(comma + 1, ',') != NULL ||
        !read_quantity(text, (size_t)(comma - text), &rule->at_least) ||
        !read_quantity(comma + 1, strlen(comma + 1), &rule->at_most)) {
        vmbi_check_error(c, "write two sizes with a comma between: \"10Gi,100Gi\", \"10Gi,\"",
                         "\"%.80s\" is no range of sizes", text);
    } else if (rule->at_most != 0 && rule->at_most < rule->at_least) {
        vmbi_check_error(c, NULL, "\"%.80s\" runs backwards", text);
    }
}

static void read_rule(vmbi_checker *c, const vmbi_json *doc, policy_rule *rule)
{
    const vmbi_json *conditions = vmbi_json_get(doc, "conditions");
    const vmbi_json *csi = vmbi_json_get(conditions, "csi");
    const char *type = vmbi_json_path_str(doc, "action.type");
    const char *driver = vmbi_json_get_str(csi, "driver");
    size_t mark;

    rule->conditions = conditions;
    if (type != NULL && !read_action(type, &rule->action)) {
        mark = vmbi_check_enter(c, "action");
        (void)vmbi_check_enter(c, "type");
        vmbi_check_error(c, NULL, "\"%.80s\" is none of skip, fs-backup, snapshot and custom",
                         type);
        vmbi_check_leave(c, mark);
    }
    mark = vmbi_check_enter(c, "conditions");
    if ((driver == NULL || driver[0] == '\0') &&
        vmbi_json_is_object(vmbi_json_get(csi, "volumeAttributes"))) {
        size_t inner = vmbi_check_enter(c, "csi");

        vmbi_check_error(c, "name the driver, too", "volumeAttributes need a driver");
        vmbi_check_leave(c, inner);
    }
    (void)vmbi_check_enter(c, "capacity");
    read_capacity(c, vmbi_json_get_str(conditions, "capacity"), rule);
    vmbi_check_leave(c, mark);
}

static bool list_has(const vmbi_json *list, const char *s)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *own = vmbi_json_str(vmbi_json_at(list, i));

        if (own != NULL && strcmp(own, s) == 0) {
            return true;
        }
    }
    return false;
}

static void check_lists(vmbi_checker *c, const vmbi_json *lists, const char *in_field,
                        const char *ex_field)
{
    const vmbi_json *in = vmbi_json_get(lists, in_field);
    const vmbi_json *ex = vmbi_json_get(lists, ex_field);

    if (list_has(in, "*") || list_has(ex, "*")) {
        size_t mark = vmbi_check_enter(c, list_has(in, "*") ? in_field : ex_field);

        vmbi_check_error(c, NULL, "'*' is not allowed in a policy");
        vmbi_check_leave(c, mark);
    }
    vmbi_check_common(c, lists, in_field, ex_field);
}

static void read_all(vmbi_checker *c, vmbi_policy *p)
{
    const vmbi_json *rules = vmbi_json_get(p->tree, "volumePolicies");
    const vmbi_json *lists = vmbi_json_get(p->tree, "includeExcludePolicy");
    const char *version = vmbi_json_get_str(p->tree, "version");
    size_t mark;

    vmbi_check_type(c, p->tree, &policy_field);
    if (version != NULL && strcmp(version, "v1") != 0) {
        mark = vmbi_check_enter(c, "version");
        vmbi_check_error(c, "write v1", "\"%.40s\" is no known version of resource policies",
                         version);
        vmbi_check_leave(c, mark);
    }
    mark = vmbi_check_enter(c, "volumePolicies");
    for (size_t i = 0; i < p->n; i++) {
        size_t inner = vmbi_check_enter_index(c, i);

        read_rule(c, vmbi_json_at(rules, i), &p->rules[i]);
        vmbi_check_leave(c, inner);
    }
    vmbi_check_leave(c, mark);
    mark = vmbi_check_enter(c, "includeExcludePolicy");
    check_lists(c, lists, list_fields[0].name, list_fields[1].name);
    check_lists(c, lists, list_fields[2].name, list_fields[3].name);
    vmbi_check_leave(c, mark);
}

/* Takes the tree. */
static vmb_code build(vmbi_json *tree, const char *source, vmbi_policy **out,
                      vmbi_problems *problems, vmb_error **err)
{
    vmbi_policy *p = vmbi_zalloc(sizeof(*p));
    vmbi_checker c = {.p = problems};
    size_t errors_before = problems->errors;
    vmb_code code = VMB_OK;

    if (p == NULL) {
        vmbi_json_free(tree);
        return vmbi_fail_nomem(err);
    }
    p->tree = tree;
    p->n = vmbi_json_len(vmbi_json_get(tree, "volumePolicies"));
    p->rules = vmbi_zalloc(p->n * sizeof(*p->rules));
    if (p->rules == NULL) {
        code = vmbi_fail_nomem(err);
    } else {
        read_all(&c, p);
    }
    if (code == VMB_OK && (problems->errors > errors_before || problems->status == VMB_E_NOMEM)) {
        code = vmbi_problems_check(problems, source, err);
    }
    if (code != VMB_OK) {
        vmbi_policy_free(p);
        return code;
    }
    *out = p;
    return VMB_OK;
}

vmb_code vmbi_policy_parse(const char *text, size_t len, const char *source, vmbi_policy **out,
                           vmbi_problems *problems, vmb_error **err)
{
    vmbi_problems own = {0};
    vmbi_problems *p = problems != NULL ? problems : &own;
    vmbi_positions *places = NULL;
    vmbi_json *tree = NULL;
    vmb_code code = vmbi_doc_parse(text, len, source, NULL, &tree, &places, err);

    if (code != VMB_OK) {
        return code;
    }
    p->places = places;
    code = build(tree, source, out, p, err);
    p->places = NULL;
    vmbi_positions_free(places);
    vmbi_problems_free(&own);
    return code;
}

vmb_code vmbi_policy_from_configmap(const vmbi_json *configmap, vmbi_policy **out,
                                    vmbi_problems *problems, vmb_error **err)
{
    const vmbi_json *data = vmbi_json_get(configmap, "data");
    const char *name = vmbi_json_path_str(configmap, "metadata.name");
    void *it = vmbi_json_iter(data);
    const char *text = it != NULL ? vmbi_json_str(vmbi_json_iter_value(it)) : NULL;

    name = name != NULL ? name : "";
    if (vmbi_json_len(data) != 1 || text == NULL) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "resource policy: ConfigMap \"%.100s\" must hold exactly one key, it has "
                         "%zu",
                         name, vmbi_json_len(data));
    }
    return vmbi_policy_parse(text, strlen(text), name, out, problems, err);
}

/* ---- matching ------------------------------------------------------------------------------ */

/* The member of a volume or of a PersistentVolume's spec that says where its data lies. */
static const char *const sources[] = {
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flocker",
    "flexVolume",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
    "secret",
    "downwardAPI",
    "configMap",
    "projected",
    "ephemeral",
    "emptyDir",
};

static const char *source_type(const vmbi_json *holder)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(sources); i++) {
        if (!vmbi_json_is_null(vmbi_json_get(holder, sources[i]))) {
            /* the one whose name in a policy is not that of the member */
            return strcmp(sources[i], "storageos") == 0 ? "storageOS" : sources[i];
        }
    }
    return "";
}

static bool any_of(const vmbi_json *list, const char *value)
{
    return vmbi_json_len(list) == 0 || (value != NULL && value[0] != '\0' && list_has(list, value));
}

/* Are all pairs of `wanted` in `own`? */
static bool holds_all(const vmbi_json *wanted, const vmbi_json *own)
{
    for (void *it = vmbi_json_iter(wanted); it != NULL; it = vmbi_json_iter_next(wanted, it)) {
        if (!vmbi_streq(vmbi_json_get_str(own, vmbi_json_iter_key(it)),
                        vmbi_json_str(vmbi_json_iter_value(it)))) {
            return false;
        }
    }
    return true;
}

/* An unset or empty condition member holds for everything. */
static bool same_if_given(const vmbi_json *wanted, const vmbi_json *own, const char *member)
{
    const char *s = vmbi_json_get_str(wanted, member);

    return s == NULL || s[0] == '\0' || vmbi_streq(s, vmbi_json_get_str(own, member));
}

static bool nfs_holds(const vmbi_json *wanted, const vmbi_json *own)
{
    if (vmbi_json_is_null(wanted)) {
        return true;
    }
    return !vmbi_json_is_null(own) && same_if_given(wanted, own, "server") &&
           same_if_given(wanted, own, "path");
}

static bool csi_holds(const vmbi_json *wanted, const vmbi_json *own)
{
    if (vmbi_json_is_null(wanted)) {
        return true;
    }
    return !vmbi_json_is_null(own) && same_if_given(wanted, own, "driver") &&
           holds_all(vmbi_json_get(wanted, "volumeAttributes"),
                     vmbi_json_get(own, "volumeAttributes"));
}

static bool capacity_holds(const policy_rule *rule, const vmbi_json *pv)
{
    const char *text = vmbi_json_path_str(pv, "spec.capacity.storage");
    int64_t bytes = 0;

    if (text != NULL && !vmbi_quantity_parse(text, &bytes)) {
        return false;
    }
    return bytes >= rule->at_least && (rule->at_most == 0 || bytes <= rule->at_most);
}

static bool rule_holds(const policy_rule *rule, const vmbi_policy_volume *v)
{
    const vmbi_json *c = rule->conditions;
    bool bound = v->pv != NULL;
    const vmbi_json *holder = bound ? vmbi_json_get(v->pv, "spec") : v->volume;
    const char *class = bound ? vmbi_json_get_str(holder, "storageClassName") : NULL;

    return capacity_holds(rule, v->pv) && any_of(vmbi_json_get(c, "storageClass"), class) &&
           nfs_holds(vmbi_json_get(c, "nfs"), vmbi_json_get(holder, "nfs")) &&
           csi_holds(vmbi_json_get(c, "csi"), vmbi_json_get(holder, "csi")) &&
           any_of(vmbi_json_get(c, "volumeTypes"), source_type(holder)) &&
           holds_all(vmbi_json_get(c, "pvcLabels"), vmbi_json_path(v->pvc, "metadata.labels")) &&
           any_of(vmbi_json_get(c, "pvcPhase"), vmbi_json_path_str(v->pvc, "status.phase"));
}

vmbi_policy_action vmbi_policy_match(const vmbi_policy *p, const vmbi_policy_volume *v)
{
    for (size_t i = 0; i < p->n; i++) {
        if (rule_holds(&p->rules[i], v)) {
            return p->rules[i].action;
        }
    }
    return VMBI_POLICY_NONE;
}

const vmbi_json *vmbi_policy_include_exclude(const vmbi_policy *p)
{
    const vmbi_json *lists = vmbi_json_get(p->tree, "includeExcludePolicy");

    return vmbi_json_is_object(lists) ? lists : NULL;
}
