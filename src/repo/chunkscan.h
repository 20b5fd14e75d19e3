/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the chunker: many stretches of a stream rolled side by side. */
#ifndef VMBI_REPO_CHUNKSCAN_H
#define VMBI_REPO_CHUNKSCAN_H

#include "repo/chunker.h"

enum {
    VMBI_SCAN_STREAMS = 32,     /* of the wide scan */
    VMBI_SCAN_STEP = 64,        /* its stretches are multiples of this long */
    VMBI_SCAN_DEGREE = 53,      /* of the polynomials that it can do: those that restic makes */
    VMBI_SCAN_SLICES = 7        /* bytes of a fingerprint of that degree */
};

#define VMBI_CUT_MASK UINT64_C(0xfffff) /* 2^20 bytes between cuts on average */

/* Places of one stretch: ascending, neighbours joined, at most one run per two bytes. Zeros make
 * every place a cut, so runs are what keeps this small. */
typedef struct vmbi_found {
    struct vmbi_cut_run runs[64];
    size_t n;
    bool full; /* more runs than fit: the block is searched again in smaller pieces */
} vmbi_found;

static inline void vmbi_found_note(vmbi_found *f, size_t at)
{
    if (f->n > 0 && f->runs[f->n - 1].last + 1 == at) {
        f->runs[f->n - 1].last = at;
    } else if (f->n < VMBI_ARRAY_LEN(f->runs)) {
        f->runs[f->n++] = (struct vmbi_cut_run){at, at};
    } else {
        f->full = true;
    }
}

/* The tables of a polynomial cut into halves of a byte and slices of a fingerprint. Fingerprints
 * are shifted left by three bits here, so that the byte that leaves is a slice of its own. */
typedef struct vmbi_scan_tables {
    uint8_t mod[VMBI_SCAN_SLICES][2][16]; /* [slice][low or high half][value of the half] */
    uint8_t out[VMBI_SCAN_SLICES][2][16];
} vmbi_scan_tables;

/* Can this machine do it? */
bool vmbi_scan_wide_usable(void);
/* mod and out: as struct vmbi_rabin has them, of degree VMBI_SCAN_DEGREE. */
void vmbi_scan_tables_init(vmbi_scan_tables *t, const uint64_t mod[256], const uint64_t out[256]);
/* Looks at the places first + 1 … first + n of each stretch; n is a multiple of VMBI_SCAN_STEP. A
 * place is the number of bytes before it. The window before each stretch is read, too. */
void vmbi_scan_wide(const vmbi_scan_tables *t, const uint8_t *data,
                    const size_t first[VMBI_SCAN_STREAMS], size_t n,
                    vmbi_found f[VMBI_SCAN_STREAMS]);

#endif
