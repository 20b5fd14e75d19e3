/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/chunker.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/chunkscan.h"

enum {
    STREAMS = 4, /* fingerprints rolled at a time: one alone waits for its table look-ups */
    /* Bytes searched at a time, all streams together. What lies behind the next cut is not lost: the
     * next chunk starts from there. */
    BLOCK = 32 * (8192 + 64), /* streams a power of two apart would meet in the cache */
    WIDE_WORTH = 16 * 1024 /* shorter blocks are not worth the windows that are read twice */
};

struct vmbi_rabin {
    int shift;         /* degree - 8: the byte that leaves the digest stands there */
    uint64_t mod[256]; /* takes the byte above the degree away */
    uint64_t out[256]; /* what a byte that leaves the window left, moved on by one byte */
    bool wide;
    vmbi_scan_tables slices; /* of the wide scan */
};

static int degree(uint64_t p)
{
    return 63 - __builtin_clzll(p);
}

/* x mod p over GF(2). */
static uint64_t reduce(uint64_t x, uint64_t p)
{
    int d = degree(p);
    while (x != 0 && degree(x) >= d) {
        x ^= p << (degree(x) - d);
    }
    return x;
}

static uint64_t append(const vmbi_rabin *t, uint64_t digest, uint8_t b)
{
    return ((digest << 8) | b) ^ t->mod[(digest >> t->shift) & 0xff];
}

vmb_code vmbi_rabin_new(uint64_t polynomial, vmbi_rabin **out, vmb_error **err)
{
    int k = polynomial != 0 ? degree(polynomial) : 0;
    if (k < 8 || k > 53) {
        return vmbi_fail(err, VMB_E_INVALID,
                         "chunker: the polynomial has degree %d, 8 to 53 is possible", k);
    }
    vmbi_rabin *t = vmbi_alloc(sizeof(*t));
    if (t == NULL) {
        return vmbi_fail_nomem(err);
    }
    t->shift = k - 8;
    for (unsigned b = 0; b < 256; b++) {
        uint64_t top = (uint64_t)b << k;
        t->mod[b] = reduce(top, polynomial) ^ top;
    }
    for (unsigned b = 0; b < 256; b++) {
        uint64_t h = append(t, 0, (uint8_t)b);
        for (int i = 0; i < VMBI_CHUNK_WINDOW; i++) { /* 63 bytes of window, and the new one */
            h = append(t, h, 0);
        }
        t->out[b] = h;
    }
    t->wide = k == VMBI_SCAN_DEGREE && vmbi_scan_wide_usable();
    if (t->wide) {
        vmbi_scan_tables_init(&t->slices, t->mod, t->out);
    }
    *out = t;
    return VMB_OK;
}

void vmbi_rabin_free(vmbi_rabin *t)
{
    vmbi_free(t);
}

uint64_t vmbi_rabin_digest(const vmbi_rabin *t, const uint8_t *p)
{
    uint64_t d = 0;
    for (int i = 0; i < VMBI_CHUNK_WINDOW; i++) {
        d = append(t, d, p[i]);
    }
    return d;
}

void vmbi_chunker_init(vmbi_chunker *c, const vmbi_rabin *tables)
{
    *c = (vmbi_chunker){.tables = tables};
}

void vmbi_chunker_done(vmbi_chunker *c)
{
    vmbi_free(c->runs);
    *c = (vmbi_chunker){.tables = c->tables};
}

void vmbi_chunker_reset(vmbi_chunker *c)
{
    c->scanned = 0;
    c->n = 0;
}

/* ---- searching ----------------------------------------------------------------------------- */

/* Looks at the places first + 1 … first + n of each of four stretches; a place is the number of
 * bytes before it. The four chains of table look-ups run side by side. */
static void scan_four(const vmbi_rabin *t, const uint8_t *data, const size_t first[STREAMS],
                      size_t n, vmbi_found f[STREAMS])
{
    const uint64_t *mod = t->mod;
    const uint64_t *out = t->out;
    const int shift = t->shift;
    const uint8_t *p0 = data + first[0];
    const uint8_t *p1 = data + first[1];
    const uint8_t *p2 = data + first[2];
    const uint8_t *p3 = data + first[3];
    uint64_t d0 = vmbi_rabin_digest(t, p0 - VMBI_CHUNK_WINDOW);
    uint64_t d1 = vmbi_rabin_digest(t, p1 - VMBI_CHUNK_WINDOW);
    uint64_t d2 = vmbi_rabin_digest(t, p2 - VMBI_CHUNK_WINDOW);
    uint64_t d3 = vmbi_rabin_digest(t, p3 - VMBI_CHUNK_WINDOW);
#define ROLL(d, p)                                                                              \
    d = (d << 8) ^ mod[(d >> shift) & 0xff] ^ (out[(p)[(ptrdiff_t)i - VMBI_CHUNK_WINDOW]] ^ (p)[i])
    for (size_t i = 0; i < n; i++) {
        ROLL(d0, p0);
        ROLL(d1, p1);
        ROLL(d2, p2);
        ROLL(d3, p3);
        if (VMBI_UNLIKELY((d0 & VMBI_CUT_MASK) == 0)) {
            vmbi_found_note(&f[0], first[0] + i + 1);
        }
        if (VMBI_UNLIKELY((d1 & VMBI_CUT_MASK) == 0)) {
            vmbi_found_note(&f[1], first[1] + i + 1);
        }
        if (VMBI_UNLIKELY((d2 & VMBI_CUT_MASK) == 0)) {
            vmbi_found_note(&f[2], first[2] + i + 1);
        }
        if (VMBI_UNLIKELY((d3 & VMBI_CUT_MASK) == 0)) {
            vmbi_found_note(&f[3], first[3] + i + 1);
        }
    }
#undef ROLL
}

static vmb_code keep(vmbi_chunker *c, const vmbi_found *f, vmb_error **err)
{
    for (size_t i = 0; i < f->n; i++) {
        struct vmbi_cut_run run = f->runs[i];
        struct vmbi_cut_run *last = c->n > 0 ? &c->runs[c->n - 1] : NULL;
        if (last != NULL && last->last + 1 >= run.first) { /* a neighbour, or seen already */
            last->last = run.last > last->last ? run.last : last->last;
            continue;
        }
        if (c->n == c->cap) {
            size_t cap = c->cap == 0 ? 64 : c->cap * 2;
            void *v = vmbi_realloc_array(c->runs, cap, sizeof(*c->runs));
            if (v == NULL) {
                return vmbi_fail_nomem(err);
            }
            c->runs = v;
            c->cap = cap;
        }
        c->runs[c->n++] = run;
    }
    return VMB_OK;
}

/* Searches the places from + 1 … from + block in one go; *full: some stretch had too many runs, and
 * nothing was kept. */
static vmb_code scan_block(vmbi_chunker *c, const uint8_t *data, size_t from, size_t block,
                           bool *full, vmb_error **err)
{
    const bool wide = c->tables->wide && block >= WIDE_WORTH;
    const size_t streams = wide ? VMBI_SCAN_STREAMS : STREAMS;
    const size_t step = wide ? VMBI_SCAN_STEP : 1;
    const size_t part = ((block + streams - 1) / streams + step - 1) / step * step;
    const size_t n = block < streams ? block : part;
    size_t first[VMBI_SCAN_STREAMS];
    vmbi_found f[VMBI_SCAN_STREAMS];
    size_t s = 0;
    vmb_code rc = VMB_OK;

    for (s = 0; s < streams; s++) { /* the last stretches may overlap: they end at the block's end */
        const size_t at = s * part;

        first[s] = from + (at + n <= block ? at : block - n);
        f[s].n = 0;
        f[s].full = false;
    }
    if (wide) {
        vmbi_scan_wide(&c->tables->slices, data, first, n, f);
    } else {
        scan_four(c->tables, data, first, n, f);
    }
    *full = false;
    for (s = 0; s < streams; s++) {
        *full = *full || f[s].full;
    }
    for (s = 0; s < streams && !*full && rc == VMB_OK; s++) {
        rc = keep(c, &f[s], err);
    }
    return rc;
}

/* Searches the places from + 1 … to; from is at least the window's size. */
static vmb_code scan(vmbi_chunker *c, const uint8_t *data, size_t from, size_t to, vmb_error **err)
{
    size_t most = BLOCK;

    while (from < to) {
        const size_t block = to - from < most ? to - from : most;
        bool full = false;
        vmb_code rc = scan_block(c, data, from, block, &full, err);

        if (rc != VMB_OK) {
            return rc;
        }
        if (full) { /* crafted data: alternating places; smaller pieces always fit */
            most = block / 2 > 64 ? block / 2 : 64;
            continue;
        }
        from += block;
        most = BLOCK;
    }
    return VMB_OK;
}

/* ---- cutting ------------------------------------------------------------------------------- */

/* First place of at least VMBI_CHUNK_MIN among those found; 0: none. Drops the useless ones. */
static size_t first_place(vmbi_chunker *c)
{
    size_t useless = 0;
    while (useless < c->n && c->runs[useless].last < VMBI_CHUNK_MIN) {
        useless++;
    }
    if (useless > 0) {
        memmove(c->runs, c->runs + useless, (c->n - useless) * sizeof(*c->runs));
        c->n -= useless;
    }
    if (c->n == 0) {
        return 0;
    }
    return c->runs[0].first > VMBI_CHUNK_MIN ? c->runs[0].first : VMBI_CHUNK_MIN;
}

/* The chunk ends: everything is counted from its end now. */
static void move_on(vmbi_chunker *c, size_t chunk_len)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->runs[i].last > chunk_len) {
            size_t first = c->runs[i].first > chunk_len ? c->runs[i].first - chunk_len : 1;
            c->runs[kept++] = (struct vmbi_cut_run){first, c->runs[i].last - chunk_len};
        }
    }
    c->n = kept;
    c->scanned = c->scanned > chunk_len ? c->scanned - chunk_len : 0;
}

vmb_code vmbi_chunker_next(vmbi_chunker *c, const uint8_t *data, size_t len, bool eof,
                           size_t *chunk_len, vmb_error **err)
{
    size_t end = len < VMBI_CHUNK_MAX ? len : VMBI_CHUNK_MAX;
    size_t cut = first_place(c);
    if (c->scanned < VMBI_CHUNK_MIN - 1) {
        c->scanned = VMBI_CHUNK_MIN - 1; /* no cut before the minimum */
    }
    while (cut == 0 && c->scanned < end) {
        size_t to = end - c->scanned > BLOCK ? c->scanned + BLOCK : end;
        vmb_code rc = scan(c, data, c->scanned, to, err);
        if (rc != VMB_OK) {
            return rc;
        }
        c->scanned = to;
        cut = first_place(c);
    }
    if (cut == 0 || cut > end) {
        cut = end == VMBI_CHUNK_MAX ? end : eof ? len : 0;
    }
    if (cut > 0) {
        move_on(c, cut);
    }
    *chunk_len = cut;
    return VMB_OK;
}
