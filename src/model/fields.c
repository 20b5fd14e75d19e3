/* SPDX-License-Identifier: Apache-2.0 */
#include "model/fields.h"

#include <string.h>

#include "base/error.h"
#include "base/strs.h"

#define N VMBI_FIELD_NULLABLE
#define R VMBI_FIELD_REQUIRED
#define END                                                                                        \
    {                                                                                              \
        NULL, VMBI_FIELD_ANY, 0, NULL                                                              \
    }

/* What Backups, Restores and their hooks have in common. */
#define NAMESPACE_FILTERS                                                                          \
    {"includedNamespaces", VMBI_FIELD_STRINGS, N, NULL},                                           \
    {                                                                                              \
        "excludedNamespaces", VMBI_FIELD_STRINGS, N, NULL                                          \
    }
#define RESOURCE_FILTERS                                                                           \
    {"includedResources", VMBI_FIELD_STRINGS, N, NULL},                                            \
    {                                                                                              \
        "excludedResources", VMBI_FIELD_STRINGS, N, NULL                                           \
    }
#define LABEL_FILTERS                                                                              \
    {"labelSelector", VMBI_FIELD_OBJECT, N, selector_fields},                                      \
    {                                                                                              \
        "orLabelSelectors", VMBI_FIELD_OBJECTS, N, selector_fields                                 \
    }
#define HOOK_CONDITIONS                                                                            \
    {"name", VMBI_FIELD_STRING, R, NULL}, NAMESPACE_FILTERS, RESOURCE_FILTERS,                     \
    {                                                                                              \
        "labelSelector", VMBI_FIELD_OBJECT, N, selector_fields                                     \
    }
#define EXEC_COMMAND                                                                               \
    {"container", VMBI_FIELD_STRING, 0, NULL}, {"command", VMBI_FIELD_STRINGS, R, NULL},           \
    {                                                                                              \
        "onError", VMBI_FIELD_STRING, 0, NULL                                                      \
    }

static const vmbi_field expression_fields[] = {
    {"key", VMBI_FIELD_STRING, R, NULL},
    {"operator", VMBI_FIELD_STRING, R, NULL},
    {"values", VMBI_FIELD_STRINGS, N, NULL},
    END,
};

static const vmbi_field selector_fields[] = {
    {"matchLabels", VMBI_FIELD_MAP, N, NULL},
    {"matchExpressions", VMBI_FIELD_OBJECTS, N, expression_fields},
    END,
};

static const vmbi_field exec_fields[] = {
    EXEC_COMMAND,
    {"timeout", VMBI_FIELD_DURATION, 0, NULL},
    END,
};

static const vmbi_field hook_fields[] = {
    {"exec", VMBI_FIELD_OBJECT, R, exec_fields},
    END,
};

static const vmbi_field hook_entry_fields[] = {
    HOOK_CONDITIONS,
    {"pre", VMBI_FIELD_OBJECTS, 0, hook_fields},
    {"post", VMBI_FIELD_OBJECTS, 0, hook_fields},
    END,
};

static const vmbi_field hooks_fields[] = {
    {"resources", VMBI_FIELD_OBJECTS, N, hook_entry_fields},
    END,
};

static const vmbi_field template_metadata_fields[] = {
    {"labels", VMBI_FIELD_MAP, 0, NULL},
    END,
};

static const vmbi_field policy_fields[] = {
    {"apiGroup", VMBI_FIELD_STRING, N, NULL},
    {"kind", VMBI_FIELD_STRING, R, NULL},
    {"name", VMBI_FIELD_STRING, R, NULL},
    END,
};

static const vmbi_field uploader_fields[] = {
    {"parallelFilesUpload", VMBI_FIELD_INT, 0, NULL},
    END,
};

static const vmbi_field spec_fields[] = {
    {"metadata", VMBI_FIELD_OBJECT, 0, template_metadata_fields},
    NAMESPACE_FILTERS,
    RESOURCE_FILTERS,
    {"includeClusterResources", VMBI_FIELD_BOOL, N, NULL},
    {"includedClusterScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    {"excludedClusterScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    {"includedNamespaceScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    {"excludedNamespaceScopedResources", VMBI_FIELD_STRINGS, N, NULL},
    LABEL_FILTERS,
    {"snapshotVolumes", VMBI_FIELD_BOOL, N, NULL},
    {"ttl", VMBI_FIELD_DURATION, 0, NULL},
    {"volumeGroupSnapshotLabelKey", VMBI_FIELD_STRING, 0, NULL},
    {"hooks", VMBI_FIELD_OBJECT, 0, hooks_fields},
    {"storageLocation", VMBI_FIELD_STRING, 0, NULL},
    {"volumeSnapshotLocations", VMBI_FIELD_STRINGS, 0, NULL},
    {"defaultVolumesToRestic", VMBI_FIELD_BOOL, N, NULL},
    {"defaultVolumesToFsBackup", VMBI_FIELD_BOOL, N, NULL},
    {"orderedResources", VMBI_FIELD_MAP, N, NULL},
    {"csiSnapshotTimeout", VMBI_FIELD_DURATION, 0, NULL},
    {"itemOperationTimeout", VMBI_FIELD_DURATION, 0, NULL},
    {"resourcePolicy", VMBI_FIELD_OBJECT, N, policy_fields},
    {"snapshotMoveData", VMBI_FIELD_BOOL, N, NULL},
    {"datamover", VMBI_FIELD_STRING, 0, NULL},
    {"uploaderConfig", VMBI_FIELD_OBJECT, N, uploader_fields},
    END,
};

static const vmbi_field metadata_fields[] = {
    {"name", VMBI_FIELD_STRING, R, NULL},
    {"generateName", VMBI_FIELD_STRING, N, NULL},
    {"namespace", VMBI_FIELD_STRING, N, NULL},
    {"labels", VMBI_FIELD_MAP, N, NULL},
    {"annotations", VMBI_FIELD_MAP, N, NULL},
    {"uid", VMBI_FIELD_STRING, N, NULL},
    {"resourceVersion", VMBI_FIELD_STRING, N, NULL},
    {"generation", VMBI_FIELD_INT, N, NULL},
    {"creationTimestamp", VMBI_FIELD_STRING, N, NULL},
    {"deletionTimestamp", VMBI_FIELD_STRING, N, NULL},
    {"deletionGracePeriodSeconds", VMBI_FIELD_INT, N, NULL},
    {"finalizers", VMBI_FIELD_STRINGS, N, NULL},
    {"ownerReferences", VMBI_FIELD_ANY, N, NULL},
    {"managedFields", VMBI_FIELD_ANY, N, NULL},
    {"selfLink", VMBI_FIELD_STRING, N, NULL},
    END,
};

static const vmbi_field backup_fields[] = {
    {"apiVersion", VMBI_FIELD_STRING, R, NULL},
    {"kind", VMBI_FIELD_STRING, R, NULL},
    {"metadata", VMBI_FIELD_OBJECT, R, metadata_fields},
    {"spec", VMBI_FIELD_OBJECT, 0, spec_fields},
    {"status", VMBI_FIELD_ANY, N, NULL},
    END,
};

const vmbi_field vmbi_backup_fields = {"", VMBI_FIELD_OBJECT, 0, backup_fields};

/* ---- Restore ------------------------------------------------------------------------------- */

static const vmbi_field restore_exec_fields[] = {
    EXEC_COMMAND,
    {"execTimeout", VMBI_FIELD_DURATION, 0, NULL},
    {"waitTimeout", VMBI_FIELD_DURATION, 0, NULL},
    {"waitForReady", VMBI_FIELD_BOOL, N, NULL},
    END,
};

static const vmbi_field restore_init_fields[] = {
    {"initContainers", VMBI_FIELD_ANY, 0, NULL},
    {"timeout", VMBI_FIELD_DURATION, 0, NULL},
    END,
};

static const vmbi_field restore_hook_fields[] = {
    {"exec", VMBI_FIELD_OBJECT, 0, restore_exec_fields},
    {"init", VMBI_FIELD_OBJECT, 0, restore_init_fields},
    END,
};

static const vmbi_field restore_hook_entry_fields[] = {
    HOOK_CONDITIONS,
    {"postHooks", VMBI_FIELD_OBJECTS, 0, restore_hook_fields},
    END,
};

static const vmbi_field restore_hooks_fields[] = {
    {"resources", VMBI_FIELD_OBJECTS, 0, restore_hook_entry_fields},
    END,
};

static const vmbi_field restore_status_fields[] = {
    RESOURCE_FILTERS,
    END,
};

static const vmbi_field downloader_fields[] = {
    {"writeSparseFiles", VMBI_FIELD_BOOL, N, NULL},
    {"parallelFilesDownload", VMBI_FIELD_INT, 0, NULL},
    END,
};

static const vmbi_field restore_spec_fields[] = {
    {"backupName", VMBI_FIELD_STRING, 0, NULL},
    {"scheduleName", VMBI_FIELD_STRING, 0, NULL},
    NAMESPACE_FILTERS,
    RESOURCE_FILTERS,
    {"namespaceMapping", VMBI_FIELD_MAP, 0, NULL},
    LABEL_FILTERS,
    {"restorePVs", VMBI_FIELD_BOOL, N, NULL},
    {"restoreStatus", VMBI_FIELD_OBJECT, N, restore_status_fields},
    {"preserveNodePorts", VMBI_FIELD_BOOL, N, NULL},
    {"includeClusterResources", VMBI_FIELD_BOOL, N, NULL},
    {"hooks", VMBI_FIELD_OBJECT, 0, restore_hooks_fields},
    {"existingResourcePolicy", VMBI_FIELD_STRING, N, NULL},
    {"itemOperationTimeout", VMBI_FIELD_DURATION, 0, NULL},
    {"resourceModifier", VMBI_FIELD_OBJECT, N, policy_fields},
    {"uploaderConfig", VMBI_FIELD_OBJECT, N, downloader_fields},
    END,
};

static const vmbi_field restore_fields[] = {
    {"apiVersion", VMBI_FIELD_STRING, R, NULL},
    {"kind", VMBI_FIELD_STRING, R, NULL},
    {"metadata", VMBI_FIELD_OBJECT, R, metadata_fields},
    {"spec", VMBI_FIELD_OBJECT, R, restore_spec_fields},
    {"status", VMBI_FIELD_ANY, N, NULL},
    END,
};

const vmbi_field vmbi_restore_fields = {"", VMBI_FIELD_OBJECT, 0, restore_fields};

/* ---- look-ups ------------------------------------------------------------------------------ */

const vmbi_field *vmbi_fields_find(const vmbi_field *members, const char *name)
{
    for (; members != NULL && members->name != NULL; members++) {
        if (strcmp(members->name, name) == 0) {
            return members;
        }
    }
    return NULL;
}

/* Number of insertions, deletions and replacements that turn a into b, without regard to case;
 * at most `limit` + 1. */
static size_t distance(const char *a, const char *b, size_t limit)
{
    size_t row[64];
    size_t la = strlen(a);
    size_t lb = strlen(b);

    if (lb + 1 > VMBI_ARRAY_LEN(row) || la > lb + limit || lb > la + limit) {
        return limit + 1;
    }
    for (size_t j = 0; j <= lb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= la; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t replaced = corner + (vmbi_lower(a[i - 1]) == vmbi_lower(b[j - 1]) ? 0 : 1);
            size_t longer = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            corner = row[j];
            row[j] = replaced < longer ? replaced : longer;
        }
    }
    return row[lb];
}

const char *vmbi_fields_nearest(const vmbi_field *members, const char *name)
{
    size_t limit = strlen(name) / 3 + 1;
    size_t best = limit + 1;
    const char *nearest = NULL;

    for (; members != NULL && members->name != NULL; members++) {
        size_t d = distance(name, members->name, limit);

        if (d < best) {
            best = d;
            nearest = members->name;
        }
    }
    return nearest;
}

const char *vmbi_field_type_text(vmbi_field_type type)
{
    switch (type) {
    case VMBI_FIELD_STRING:
        return "a string";
    case VMBI_FIELD_BOOL:
        return "true or false";
    case VMBI_FIELD_INT:
        return "an integer";
    case VMBI_FIELD_DURATION:
        return "a duration such as 720h or 10m";
    case VMBI_FIELD_STRINGS:
        return "a list of strings";
    case VMBI_FIELD_MAP:
        return "a map of strings";
    case VMBI_FIELD_OBJECT:
        return "an object";
    case VMBI_FIELD_OBJECTS:
        return "a list of objects";
    case VMBI_FIELD_ANY:
        break;
    }
    return "any value";
}
