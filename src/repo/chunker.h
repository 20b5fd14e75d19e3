/* SPDX-License-Identifier: Apache-2.0 */
/* Content-defined chunking as restic does it (restic/chunker): a Rabin fingerprint over a window of
 * 64 bytes, chunks of 512 KiB to 8 MiB, a cut where the low 20 bits of the fingerprint are zero.
 * A chunk depends on nothing but its own bytes and what follows it, so cut points of equal data are
 * equal for every program that uses the same polynomial. */
#ifndef VMBI_REPO_CHUNKER_H
#define VMBI_REPO_CHUNKER_H

#include <vmbackup/base.h>

#include "base/compiler.h"

enum {
    VMBI_CHUNK_MIN = 512 * 1024,
    VMBI_CHUNK_MAX = 8 * 1024 * 1024,
    VMBI_CHUNK_WINDOW = 64
};

/* Tables for one polynomial; immutable, shared by threads. */
typedef struct vmbi_rabin vmbi_rabin;
/* polynomial: irreducible, of degree 8 to 53; its irreducibility is the repository's business. */
vmb_code vmbi_rabin_new(uint64_t polynomial, vmbi_rabin **out, vmb_error **err);
void vmbi_rabin_free(vmbi_rabin *t);
/* Fingerprint of the 64 bytes at p. */
uint64_t vmbi_rabin_digest(const vmbi_rabin *t, const uint8_t *p);

/* Cuts one stream. The caller keeps the stream's bytes from the start of the current chunk in
 * memory and asks for the chunk's end; after a cut the next chunk starts right behind it. */
typedef struct vmbi_chunker {
    const vmbi_rabin *tables;
    size_t scanned; /* bytes of the current chunk (and beyond) that were searched for cuts */
    size_t n;       /* places found and not used yet, ascending, as runs of neighbours */
    size_t cap;
    struct vmbi_cut_run {
        size_t first; /* counted from the start of the current chunk */
        size_t last;
    } *runs;
} vmbi_chunker;

void vmbi_chunker_init(vmbi_chunker *c, const vmbi_rabin *tables);
void vmbi_chunker_done(vmbi_chunker *c);
/* Starts a new stream. */
void vmbi_chunker_reset(vmbi_chunker *c);
/* Length of the chunk that starts at data, of which len bytes are there; *chunk_len is 0 when more
 * bytes are needed (at most VMBI_CHUNK_MAX in all). eof: nothing follows the len bytes. After a
 * result that is not 0 the next call's data is the next chunk. */
vmb_code vmbi_chunker_next(vmbi_chunker *c, const uint8_t *data, size_t len, bool eof,
                           size_t *chunk_len, vmb_error **err);

#endif
