/* SPDX-License-Identifier: Apache-2.0 */
/* Index files: what is accepted is found again in the index in memory, and prints as a file that
 * is accepted too. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "repo/restic/index.h"
#include "repo/restic/indexfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
    vmbi_restic_index *index;
    vmbi_buf text;
    size_t packs;
} seen;

static void check_pack(seen *s, uint32_t number, const vmbi_pack_blob *v, size_t n)
{
    vmbi_pack_blobs l = {NULL, 0, 0};
    size_t i = 0;

    if (vmbi_restic_index_pack_blobs(s->index, number, &l, NULL) != VMB_OK || l.n != n) {
        abort();
    }
    for (i = 0; i < n; i++) {
        if (l.v[i].offset != v[i].offset || l.v[i].length != v[i].length ||
            l.v[i].size != v[i].size || l.v[i].type != v[i].type ||
            memcmp(l.v[i].id.b, v[i].id.b, VMBI_REPO_ID_SIZE) != 0 ||
            !vmbi_restic_index_has(s->index, v[i].type, &v[i].id)) {
            abort();
        }
    }
    vmbi_pack_blobs_free(&l);
}

static vmb_code see(void *user, const vmbi_repo_id *pack, vmbi_pack_blob *v, size_t n,
                    vmb_error **err)
{
    seen *s = user;
    vmbi_index_added how = VMBI_INDEX_NEW;

    vmbi_indexfile_pack(&s->text, s->packs++ == 0, pack, v, n);
    if (vmbi_restic_index_add(s->index, pack, v, n, &how, err) == VMB_OK && n > 0 &&
        how == VMBI_INDEX_NEW) {
        check_pack(s, (uint32_t)vmbi_restic_index_packs(s->index) - 1, v, n);
    }
    return VMB_OK;
}

static vmb_code count(void *user, const vmbi_repo_id *pack, vmbi_pack_blob *v, size_t n,
                      vmb_error **err)
{
    size_t *packs = user;

    (void)pack;
    (void)v;
    (void)n;
    (void)err;
    (*packs)++;
    return VMB_OK;
}

static vmb_code pass(void *user, const vmbi_repo_id *index, vmb_error **err)
{
    (void)user;
    (void)index;
    (void)err;
    return VMB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    seen s = {NULL, VMBI_BUF_INIT(64 << 20), 0};
    size_t again = 0;

    if (vmbi_restic_index_new(&s.index, NULL) != VMB_OK) {
        return 0;
    }
    vmbi_indexfile_begin(&s.text);
    if (vmbi_indexfile_parse((const char *)data, size, see, pass, &s, NULL) == VMB_OK) {
        vmbi_indexfile_end(&s.text);
        if (vmbi_indexfile_parse(s.text.data, s.text.len, count, NULL, &again, NULL) != VMB_OK ||
            again != s.packs) {
            abort();
        }
    }
    vmbi_buf_free(&s.text);
    vmbi_restic_index_free(s.index);
    return 0;
}
