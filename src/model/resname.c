/* SPDX-License-Identifier: Apache-2.0 */
/* Resolution of resource names as users write them: "po", "Pod", "deploy.apps",
 * "storageclass.storage". The name ends at the first dot, the rest is the group. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "model/discovery_impl.h"

enum { NAME_MAX_BYTES = 256 };

typedef enum group_match { GROUP_EXACT, GROUP_PREFIX } group_match;

static bool group_fits(const vmbi_resource *r, const char *group, group_match how)
{
    if (group[0] == '\0') {
        return true;
    }
    return how == GROUP_EXACT ? strcmp(r->group, group) == 0 : vmbi_starts_with(r->group, group);
}

/* The resource whose short name it is, case-sensitive. */
static const vmbi_resource *find_short(const vmbi_discovery *d, const char *name, const char *group,
                                       group_match how)
{
    for (size_t i = 0; i < d->n; i++) {
        const vmbi_resource *r = &d->all[i];

        if (r->preferred && group_fits(r, group, how) && vmbi_strs_has(&r->short_names, name)) {
            return r;
        }
    }
    return NULL;
}

/* By plural or singular name, lower case; the server's order of groups decides. */
static const vmbi_resource *find_long(const vmbi_discovery *d, const char *name, const char *group,
                                      group_match how)
{
    for (size_t i = 0; i < d->n; i++) {
        const vmbi_resource *r = &d->all[i];

        if (r->preferred && group_fits(r, group, how) &&
            (strcmp(r->name, name) == 0 || strcmp(r->singular, name) == 0)) {
            return r;
        }
    }
    return NULL;
}

const vmbi_resource *vmbi_discovery_resolve(const vmbi_discovery *d, const char *written)
{
    const char *dot = strchr(written, '.');
    size_t len = dot != NULL ? (size_t)(dot - written) : strlen(written);
    const char *group = dot != NULL ? dot + 1 : "";
    const vmbi_resource *r;
    char name[NAME_MAX_BYTES];

    if (len == 0 || len >= sizeof(name)) {
        return NULL;
    }
    memcpy(name, written, len);
    name[len] = '\0';
    r = find_short(d, name, group, GROUP_EXACT);
    if (r == NULL && group[0] != '\0') {
        r = find_short(d, name, group, GROUP_PREFIX);
    }
    /* A short name only gives the long one: which group is meant is decided below. */
    const char *longer = r != NULL ? r->name : name;
    for (size_t i = 0; i <= strlen(longer) && i < sizeof(name); i++) {
        name[i] = vmbi_lower(longer[i]);
    }
    name[sizeof(name) - 1] = '\0';
    r = find_long(d, name, group, GROUP_EXACT);
    if (r == NULL && group[0] != '\0') {
        r = find_long(d, name, group, GROUP_PREFIX);
    }
    return r != NULL && r->eligible ? r : NULL;
}

vmb_code vmbi_discovery_resolve_list(const vmbi_discovery *d, const vmbi_strs *written,
                                     vmbi_strs *out, vmb_error **err)
{
    vmb_code code = VMB_OK;

    for (size_t i = 0; code == VMB_OK && i < written->n; i++) {
        const vmbi_resource *r = vmbi_discovery_resolve(d, written->v[i]);

        code = vmbi_strs_add(out, r != NULL ? r->group_resource : written->v[i], err);
    }
    return code;
}
