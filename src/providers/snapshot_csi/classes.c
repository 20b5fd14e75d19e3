/* SPDX-License-Identifier: Apache-2.0 */
/* Which VolumeSnapshotClass a claim gets. The order is Velero's (pkg/util/csi/volume_snapshot.go,
 * GetVolumeSnapshotClass); here candidates are sorted by name, and a wish that cannot be fulfilled
 * is a warning instead of a debug line. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "providers/snapshot_csi/csi.h"

static const char class_key[] = "velero.io/csi-volumesnapshot-class"; /* label and annotation */

typedef struct candidates {
    vmbi_json *list;    /* owned */
    vmbi_json **sorted; /* classes of the driver, by name */
    size_t n;
} candidates;

static void candidates_free(candidates *c)
{
    vmbi_json_free(c->list);
    vmbi_free(c->sorted);
}

vmb_code vmbi_csi_list_classes(vmb_job *job, const char *key, void **value, vmb_error **err)
{
    char *text = NULL;
    (void)key; /* one list for the whole cluster */
    vmb_code code = vmb_cluster_list(vmb_job_cluster(job), job, VMBI_CSI_GROUP, NULL,
                                     "volumesnapshotclasses", NULL, NULL, &text, NULL, err);
    if (code != VMB_OK) {
        return vmbi_wrap(err, code, "list snapshot classes");
    }
    *value = text;
    return VMB_OK;
}

static int by_name(const void *a, const void *b)
{
    const vmbi_json *const *x = a;
    const vmbi_json *const *y = b;
    return strcmp(vmbi_name_of(*x), vmbi_name_of(*y));
}

static vmb_code load(const vmbi_csi *csi, vmb_job *job, const char *driver, candidates *c,
                     vmb_error **err)
{
    vmbi_cached *cached = NULL;
    vmb_code code = vmbi_run_cache_get(csi->classes, job, "", &cached, err);
    if (code != VMB_OK) {
        return code;
    }
    const char *text = vmbi_cached_value(cached);
    code = vmbi_json_parse(text, strlen(text), "snapshot classes", &c->list, err);
    vmbi_cached_unref(cached);
    size_t n = vmbi_json_len(c->list);
    if (code != VMB_OK || n == 0) {
        return code;
    }
    c->sorted = vmbi_alloc_array(n, sizeof(vmbi_json *));
    if (c->sorted == NULL) {
        return vmbi_fail_nomem(err);
    }
    for (size_t i = 0; i < n; i++) {
        vmbi_json *cls = vmbi_json_at(c->list, i);
        const char *d = vmbi_json_get_str(cls, "driver");
        if (d != NULL && vmbi_strcaseeq(d, driver)) {
            c->sorted[c->n++] = cls;
        }
    }
    if (c->n > 1) {
        qsort(c->sorted, c->n, sizeof(vmbi_json *), by_name);
    }
    return VMB_OK;
}

/* A class by name: case does not count, as in Velero. */
static vmbi_json *wished(vmb_job *job, const candidates *c, const char *name, const char *driver,
                         const char *who)
{
    if (name == NULL || name[0] == '\0') {
        return NULL;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (vmbi_strcaseeq(vmbi_name_of(c->sorted[i]), name)) {
            return c->sorted[i];
        }
    }
    vmbi_job_logf(job, VMB_LOG_WARNING,
                  "%s asks for snapshot class %s, which does not exist for driver %s: another one "
                  "is chosen",
                  who, name, driver);
    return NULL;
}

static vmbi_json *first_with(const candidates *c, const char *driver, const char *map,
                             const char *key)
{
    for (size_t i = 0; i < c->n; i++) {
        vmbi_json *meta = vmbi_json_get(c->sorted[i], "metadata");
        if (vmbi_streq(vmbi_json_get_str(c->sorted[i], "driver"), driver) &&
            vmbi_json_get(vmbi_json_get(meta, map), key) != NULL) {
            return c->sorted[i];
        }
    }
    return NULL;
}

static vmbi_json *only_one(const candidates *c, const char *driver)
{
    vmbi_json *found = NULL;
    size_t exact = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (vmbi_streq(vmbi_json_get_str(c->sorted[i], "driver"), driver)) {
            found = c->sorted[i];
            exact++;
        }
    }
    return exact == 1 ? found : NULL;
}

static vmb_code wish_of_backup(const vmbi_json *backup, const char *driver, const char **out,
                               vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    vmbi_buf_addf(&key, "%s_", class_key);
    for (const char *p = driver; *p != '\0'; p++) {
        vmbi_buf_addc(&key, vmbi_lower(*p));
    }
    vmb_code code = vmbi_buf_check(&key, err, "annotation key");
    if (code == VMB_OK) {
        *out = vmbi_annotation_of(backup, key.data);
    }
    vmbi_buf_free(&key);
    return code;
}

vmb_code vmbi_csi_choose_class(const vmbi_csi *csi, vmb_job *job, const vmbi_json *claim,
                               const vmbi_json *backup, const char *driver, vmbi_json **out,
                               vmb_error **err)
{
    candidates c = {NULL, NULL, 0};
    const char *wish = NULL;
    vmbi_json *chosen = NULL;
    vmb_code code = load(csi, job, driver, &c, err);
    if (code == VMB_OK) {
        code = wish_of_backup(backup, driver, &wish, err);
    }
    if (code != VMB_OK) {
        goto out;
    }
    chosen = wished(job, &c, vmbi_annotation_of(claim, class_key), driver, "the claim");
    if (chosen == NULL) {
        chosen = wished(job, &c, wish, driver, "the backup");
    }
    if (chosen == NULL) {
        chosen = first_with(&c, driver, "labels", class_key);
    }
    if (chosen == NULL) {
        chosen = first_with(&c, driver, "annotations", VMBI_CSI_ANNOTATIONS "is-default-class");
    }
    if (chosen == NULL) {
        chosen = only_one(&c, driver);
    }
    if (chosen == NULL) {
        code = vmbi_fail(err, VMB_E_NOT_FOUND,
                         "%s VolumeSnapshotClass for driver %s: label one with %s, or name one in "
                         "the claim's annotation %s",
                         c.n == 0 ? "no" : "more than one", driver, class_key, class_key);
        goto out;
    }
    *out = vmbi_json_ref(chosen);
out:
    candidates_free(&c);
    return code;
}
