/* SPDX-License-Identifier: Apache-2.0 */
#include "model/snapshot_location.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

#define FIELD "spec.volumeSnapshotLocations"

static const char *name_of(const vmbi_json *location)
{
    const char *s = vmbi_json_path_str(location, "metadata.name");
    return s != NULL ? s : "";
}

/* As it is written: Velero counts "aws" and "velero.io/aws" as two. */
static const char *provider_of(const vmbi_json *location)
{
    const char *s = vmbi_json_path_str(location, "spec.provider");
    return s != NULL ? s : "";
}

static vmbi_json *named(const vmbi_json *all, const char *name, size_t len)
{
    for (size_t i = 0; i < vmbi_json_len(all); i++) {
        vmbi_json *l = vmbi_json_at(all, i);
        if (strlen(name_of(l)) == len && memcmp(name_of(l), name, len) == 0) {
            return l;
        }
    }
    return NULL;
}

static const vmbi_json *of_provider(const vmbi_json *list, const char *provider)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        if (strcmp(provider_of(vmbi_json_at(list, i)), provider) == 0) {
            return vmbi_json_at(list, i);
        }
    }
    return NULL;
}

/* ---- what the backup names ----------------------------------------------------------------- */

static vmb_code take_named(const vmbi_json *all, const vmbi_json *wanted, vmbi_json *chosen,
                           vmbi_problems *problems, vmb_error **err)
{
    for (size_t i = 0; i < vmbi_json_len(wanted); i++) {
        const char *name = vmbi_json_str(vmbi_json_at(wanted, i));
        name = name != NULL ? name : "";
        vmbi_json *l = named(all, name, strlen(name));
        if (l == NULL) {
            vmbi_problems_add(problems, true, FIELD,
                              "\"vmbackup get snapshot-locations\" lists those that exist",
                              "there is no VolumeSnapshotLocation \"%s\"", name);
            continue;
        }
        const vmbi_json *other = of_provider(chosen, provider_of(l));
        if (other != NULL && other != l) {
            vmbi_problems_add(problems, true, FIELD, "name one location of each provider",
                              "%s and %s are both of provider %s", name_of(other), name,
                              provider_of(l));
        } else if (other == NULL && !vmbi_json_append(chosen, vmbi_json_ref(l))) {
            return vmbi_fail_nomem(err);
        }
    }
    return problems->status;
}

/* ---- providers that it does not name --------------------------------------------------------- */

/* One "provider:location" of the defaults, or its end. */
static bool next_default(const char **at, const char **provider, size_t *provider_len,
                         const char **location, size_t *location_len)
{
    const char *s = *at + (**at == ',' ? 1 : 0);
    size_t len = strcspn(s, ",");
    const char *colon = memchr(s, ':', len);
    if (colon == NULL || colon == s || colon + 1 == s + len) {
        return false;
    }
    *provider = s;
    *provider_len = (size_t)(colon - s);
    *location = colon + 1;
    *location_len = len - *provider_len - 1;
    *at = s + len;
    return true;
}

bool vmbi_snapshot_defaults_ok(const char *defaults)
{
    const char *provider;
    const char *location;
    size_t n;
    size_t m;
    while (*defaults != '\0') {
        if (!next_default(&defaults, &provider, &n, &location, &m)) {
            return false;
        }
    }
    return true;
}

static vmbi_json *default_of(const vmbi_json *all, const char *defaults, const char *provider)
{
    const char *p;
    const char *l;
    size_t n;
    size_t m;
    while (*defaults != '\0' && next_default(&defaults, &p, &n, &l, &m)) {
        if (strlen(provider) == n && memcmp(p, provider, n) == 0) {
            return named(all, l, m);
        }
    }
    return NULL;
}

static size_t count_of(const vmbi_json *all, const char *provider)
{
    size_t n = 0;
    for (size_t i = 0; i < vmbi_json_len(all); i++) {
        n += strcmp(provider_of(vmbi_json_at(all, i)), provider) == 0 ? 1 : 0;
    }
    return n;
}

static vmb_code take_others(const vmbi_json *all, const char *defaults, vmbi_json *chosen,
                            vmbi_problems *problems, vmb_error **err)
{
    for (size_t i = 0; i < vmbi_json_len(all); i++) {
        vmbi_json *l = vmbi_json_at(all, i);
        const char *provider = provider_of(l);
        bool several = count_of(all, provider) > 1;
        if (of_provider(chosen, provider) != NULL) {
            continue;
        }
        vmbi_json *pick = several ? default_of(all, defaults, provider) : l;
        if (pick == NULL && of_provider(all, provider) == l) { /* told once of each provider */
            vmbi_problems_add(problems, true, FIELD,
                              "name one of them, or a default in the setting "
                              "default-snapshot-locations",
                              "provider %s has several volume snapshot locations, and neither the "
                              "backup nor a default names one", provider);
        } else if (pick != NULL && !vmbi_json_append(chosen, vmbi_json_ref(pick))) {
            return vmbi_fail_nomem(err);
        }
    }
    return problems->status;
}

vmb_code vmbi_snapshot_locations_choose(const vmbi_json *all, const vmbi_json *wanted,
                                        const char *defaults, vmbi_json **out,
                                        vmbi_problems *problems, vmb_error **err)
{
    vmbi_json *chosen = vmbi_json_array();
    vmb_code rc = chosen != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = take_named(all, wanted, chosen, problems, err);
    }
    if (rc == VMB_OK) {
        rc = take_others(all, defaults, chosen, problems, err);
    }
    if (rc != VMB_OK) {
        vmbi_json_free(chosen);
        return rc;
    }
    *out = chosen;
    return VMB_OK;
}

/* ---- volumes --------------------------------------------------------------------------------- */

const vmbi_json *vmbi_snapshot_location_of(const vmbi_json *chosen, const vmbi_json *pv)
{
    static const struct {
        const char *provider;
        const char *source; /* member of the volume's spec */
    } known[] = {
        {"aws", "awsElasticBlockStore"},
        {"velero.io/aws", "awsElasticBlockStore"},
        {"gcp", "gcePersistentDisk"},
        {"velero.io/gcp", "gcePersistentDisk"},
        {"azure", "azureDisk"},
        {"velero.io/azure", "azureDisk"},
    };
    const vmbi_json *spec = vmbi_json_get(pv, "spec");
    for (size_t i = 0; i < VMBI_ARRAY_LEN(known); i++) {
        const vmbi_json *l = of_provider(chosen, known[i].provider);
        if (l != NULL && vmbi_json_is_object(vmbi_json_get(spec, known[i].source))) {
            return l;
        }
    }
    return NULL;
}
