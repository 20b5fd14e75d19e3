/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/pending.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

void vmbi_pending_free(vmbi_pending *p)
{
    vmbi_free(p->v);
    *p = (vmbi_pending){NULL, 0, 0, p->next_ticket};
}

static size_t home(const vmbi_pending *p, const vmbi_repo_id *id)
{
    uint64_t h = 0;

    memcpy(&h, id->b, sizeof(h));
    return (size_t)h & (p->cap - 1);
}

static size_t find(const vmbi_pending *p, vmbi_blob_type type, const vmbi_repo_id *id)
{
    size_t i = home(p, id);

    while (p->v[i].used &&
           !(p->v[i].type == type && memcmp(p->v[i].id.b, id->b, VMBI_REPO_ID_SIZE) == 0)) {
        i = (i + 1) & (p->cap - 1);
    }
    return i;
}

vmbi_pending_blob *vmbi_pending_get(const vmbi_pending *p, vmbi_blob_type type,
                                    const vmbi_repo_id *id)
{
    vmbi_pending_blob *b = p->cap != 0 ? &p->v[find(p, type, id)] : NULL;

    return b != NULL && b->used ? b : NULL;
}

static vmb_code grow(vmbi_pending *p, vmb_error **err)
{
    vmbi_pending bigger = {NULL, p->n, p->cap == 0 ? 64 : p->cap * 2, p->next_ticket};
    size_t i = 0;

    bigger.v = vmbi_alloc_array(bigger.cap, sizeof(*bigger.v));
    if (bigger.v == NULL) {
        return vmbi_fail_nomem(err);
    }
    memset(bigger.v, 0, bigger.cap * sizeof(*bigger.v));
    for (i = 0; i < p->cap; i++) {
        if (p->v[i].used) {
            bigger.v[find(&bigger, p->v[i].type, &p->v[i].id)] = p->v[i];
        }
    }
    vmbi_free(p->v);
    *p = bigger;
    return VMB_OK;
}

vmb_code vmbi_pending_add(vmbi_pending *p, vmbi_blob_type type, const vmbi_repo_id *id,
                          vmb_error **err)
{
    if (p->n + 1 > p->cap / 2) {
        vmb_code code = grow(p, err);

        if (code != VMB_OK) {
            return code;
        }
    }
    p->v[find(p, type, id)] = (vmbi_pending_blob){*id, type, true, false, 0, p->next_ticket++, NULL};
    p->n++;
    return VMB_OK;
}

void vmbi_pending_remove(vmbi_pending *p, vmbi_blob_type type, const vmbi_repo_id *id)
{
    size_t hole = 0, i = 0;

    if (p->cap == 0) {
        return;
    }
    hole = find(p, type, id);
    if (!p->v[hole].used) {
        return;
    }
    p->n--;
    /* Moves back what would no longer be found behind the hole. */
    for (i = (hole + 1) & (p->cap - 1); p->v[i].used; i = (i + 1) & (p->cap - 1)) {
        const size_t from_home = (i - home(p, &p->v[i].id)) & (p->cap - 1);

        if (from_home >= ((i - hole) & (p->cap - 1))) {
            p->v[hole] = p->v[i];
            hole = i;
        }
    }
    p->v[hole].used = false;
}
