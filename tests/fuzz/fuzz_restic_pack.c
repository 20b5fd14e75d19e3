/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of packs: what is accepted prints as the same bytes. The first 8 bytes are the number of
 * bytes before the header; when they are ff, the right number is computed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "repo/restic/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sum of the lengths that the entries claim, so that mutations get beyond that check. */
static uint64_t claimed(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;

    while (len >= 5) {
        const size_t used = p[0] >= 2 ? VMBI_PACK_ENTRY_COMPRESSED : VMBI_PACK_ENTRY;

        sum += (uint64_t)p[1] | (uint64_t)p[2] << 8 | (uint64_t)p[3] << 16 | (uint64_t)p[4] << 24;
        if (used > len) {
            break;
        }
        p += used;
        len -= used;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vmbi_pack_blobs l = {NULL, 0, 0};
    uint64_t bytes = 0;
    size_t i = 0;

    if (size < 8) {
        return 0;
    }
    memcpy(&bytes, data, 8);
    data += 8;
    size -= 8;
    if (bytes == UINT64_MAX) {
        bytes = claimed(data, size);
    }
    if (vmbi_pack_header_parse(data, size, bytes, true, &l, NULL) == VMB_OK) {
        uint8_t *again = vmbi_alloc(size + 1);
        uint64_t at = 0;

        for (i = 0; i < l.n; i++) {
            if (l.v[i].offset != at) {
                abort();
            }
            at += l.v[i].length;
        }
        if (again == NULL || at != bytes || vmbi_pack_header_size(l.v, l.n) != size) {
            abort();
        }
        vmbi_pack_header_write(l.v, l.n, again);
        if (memcmp(again, data, size) != 0) {
            abort();
        }
        vmbi_free(again);
    }
    vmbi_pack_blobs_free(&l);
    return 0;
}
