/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/disk/layout.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/disk/zero.h"

enum {
    GROUP = 16, /* chunks per base: as many of the largest ones fit into 32 bits */
    ZERO_MAX = 16 * 1024 * 1024,
    ZERO_RATIO = 200 /* zeros shrink at least so much */
};

void vmbi_disk_layout_free(vmbi_disk_layout *l)
{
    vmbi_free(l->ids);
    vmbi_free(l->bases);
    vmbi_free(l->rel);
    vmbi_free(l->zero);
    *l = (vmbi_disk_layout){0};
}

uint64_t vmbi_disk_layout_start(const vmbi_disk_layout *l, size_t i)
{
    if (i >= l->n) {
        return l->size;
    }
    return l->fixed != 0 ? (uint64_t)i * l->fixed : l->bases[i / GROUP] + l->rel[i];
}

size_t vmbi_disk_layout_find(const vmbi_disk_layout *l, uint64_t offset)
{
    size_t low = 0;
    size_t high = l->n;
    if (l->fixed != 0) {
        return (size_t)(offset / l->fixed);
    }
    while (low < high) { /* the first chunk that starts behind offset */
        size_t mid = low + (high - low) / 2;
        if (vmbi_disk_layout_start(l, mid) <= offset) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low - 1;
}

/* Only where it is likely: the ID of so many zeros must be hashed once for every size. */
static bool is_zero(vmbi_disk_zero_ids *z, const vmbi_repo_id *id, const vmbi_blob_place *p)
{
    bool likely = p->stored_len < p->size ? p->stored_len < p->size / ZERO_RATIO + 64
                                          : (p->size & (p->size - 1)) == 0 && p->size >= 4096;
    const vmbi_repo_id *zero = likely && p->size <= ZERO_MAX ? vmbi_disk_zero_id(z, p->size) : NULL;
    return zero != NULL && memcmp(zero->b, id->b, VMBI_REPO_ID_SIZE) == 0;
}

static vmb_code look_up(vmbi_disk_layout *l, vmbi_repo *r, vmb_error **err)
{
    vmbi_disk_zero_ids zeros = {.repo = r};
    uint64_t at = 0;
    bool same = true;
    for (size_t i = 0; i < l->n; i++) {
        vmbi_blob_place p;
        if (!vmbi_repo_find_blob(r, VMBI_BLOB_DATA, &l->ids[i], &p)) {
            char hex[VMBI_REPO_HEX_SIZE];
            vmbi_repo_id_hex(&l->ids[i], hex);
            return vmbi_fail(err, VMB_E_NOT_FOUND, "the index has no blob %s", hex);
        }
        if (i == 0) {
            l->fixed = p.size;
        }
        same = same && p.size > 0 && (p.size == l->fixed || (i + 1 == l->n && p.size < l->fixed));
        if (p.size > (uint32_t)VMBI_REPO_MAX_BLOB) {
            return vmbi_fail(err, VMB_E_LIMIT, "a chunk of %u bytes", (unsigned)p.size);
        }
        if (i % GROUP == 0) {
            l->bases[i / GROUP] = at;
        }
        l->rel[i] = (uint32_t)(at - l->bases[i / GROUP]);
        if (is_zero(&zeros, &l->ids[i], &p)) {
            l->zero[i / 8] |= (uint8_t)(1U << (i % 8));
        }
        at += p.size;
    }
    if (at != l->size) {
        return vmbi_fail(err, VMB_E_INVALID, "the file has %llu bytes, its chunks have %llu",
                         (unsigned long long)l->size, (unsigned long long)at);
    }
    if (same) {
        vmbi_free(vmbi_steal(&l->bases));
        vmbi_free(vmbi_steal(&l->rel));
    } else {
        l->fixed = 0;
    }
    return VMB_OK;
}

vmb_code vmbi_disk_layout_init(vmbi_disk_layout *l, vmbi_repo *r, vmbi_node *node,
                               vmb_error **err)
{
    *l = (vmbi_disk_layout){.size = node->size, .n = node->n_content};
    l->ids = vmbi_steal(&node->content);
    node->n_content = 0;
    l->bases = vmbi_alloc_array(l->n / GROUP + 1, sizeof(*l->bases));
    l->rel = vmbi_alloc_array(l->n + 1, sizeof(*l->rel));
    l->zero = vmbi_zalloc(l->n / 8 + 1);
    vmb_code rc = l->bases != NULL && l->rel != NULL && l->zero != NULL ? look_up(l, r, err)
                                                                       : vmbi_fail_nomem(err);
    if (rc != VMB_OK) {
        vmbi_disk_layout_free(l);
    }
    return rc;
}
