/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/error.h"

/* A record: 32 bytes of ID, then 48 bits: kind (2), sealed length (23), plaintext length (23; 0:
 * not compressed). A sealed length of all ones stands for lengths in the list of large blobs. */
enum {
    RECORD = 38,
    LENGTH_BITS = 23,
    SEGMENT_BITS = 14, /* records come in pieces of 16384, so that growing moves none */
    SEGMENT = 1 << SEGMENT_BITS,
    MARK_EVERY = 32, /* records from one whose offset in its pack is known to the next */
    SEGMENT_BYTES = SEGMENT * RECORD + SEGMENT / MARK_EVERY * 4, /* the marks follow the records */
    AHEAD = 16,
    KIND_GAP = 2 /* bytes of a pack that no blob owns */
};
#define LENGTH_MASK ((UINT64_C(1) << LENGTH_BITS) - 1)
#define LARGE LENGTH_MASK
#define MAX_RECORDS (UINT32_MAX - 1)

typedef struct large_blob {
    uint32_t record;
    uint32_t length;
    uint32_t size;
} large_blob;

typedef struct pack_entry {
    vmbi_repo_id id;
    uint32_t start; /* its first record */
} pack_entry;

struct vmbi_restic_index {
    uint8_t **segments;
    size_t segments_cap;
    size_t records; /* with gaps */
    size_t gaps;
    pack_entry *packs;
    size_t packs_n, packs_cap;
    large_blob *large; /* ordered by record */
    size_t large_n, large_cap;
    /* Slots hold the number of a record plus 1 in their low bits and, above, bits of the hash, so
     * that nearly all probes end without a look at a record. */
    uint32_t *slots;
    size_t slots_n;
    unsigned number_bits;
};

typedef struct record {
    const uint8_t *id;
    unsigned kind;
    uint32_t length;
    uint32_t size;
} record;

vmb_code vmbi_restic_index_new(vmbi_restic_index **out, vmb_error **err)
{
    vmbi_restic_index *x = vmbi_zalloc(sizeof(*x));

    if (x == NULL) {
        return vmbi_fail_nomem(err);
    }
    *out = x;
    return VMB_OK;
}

/* Segments stay for long: on the heap they would keep apart what is free between them. */
static uint8_t *new_segment(void)
{
    void *p = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p != MAP_FAILED ? p : NULL;
}

static void free_segment(uint8_t *p)
{
    if (p != NULL) {
        (void)munmap(p, SEGMENT_BYTES);
    }
}

void vmbi_restic_index_free(vmbi_restic_index *x)
{
    size_t i = 0;

    if (x == NULL) {
        return;
    }
    for (i = 0; i < x->segments_cap; i++) {
        free_segment(x->segments[i]);
    }
    vmbi_free(x->segments);
    vmbi_free(x->packs);
    vmbi_free(x->large);
    vmbi_free(x->slots);
    vmbi_free(x);
}

static uint8_t *record_at(const vmbi_restic_index *x, size_t number)
{
    return x->segments[number >> SEGMENT_BITS] + (number & (SEGMENT - 1)) * RECORD;
}

/* Where the mark of a record is kept. */
static uint8_t *mark_at(const vmbi_restic_index *x, size_t number)
{
    return x->segments[number >> SEGMENT_BITS] + SEGMENT * RECORD +
           (number & (SEGMENT - 1)) / MARK_EVERY * 4;
}

static const large_blob *find_large(const vmbi_restic_index *x, size_t number)
{
    size_t lo = 0, hi = x->large_n;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;

        if (x->large[mid].record < number) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return &x->large[lo];
}

static record read_record(const vmbi_restic_index *x, size_t number)
{
    const uint8_t *p = record_at(x, number);
    uint64_t v = 0;
    record r = {p, 0, 0, 0};

    memcpy(&v, p + VMBI_REPO_ID_SIZE, 6); /* in memory only: the host's order will do */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v >>= 16;
#endif
    r.kind = (unsigned)(v & 3);
    r.length = (uint32_t)(v >> 2 & LENGTH_MASK);
    r.size = (uint32_t)(v >> (2 + LENGTH_BITS) & LENGTH_MASK);
    if (VMBI_UNLIKELY(r.length == LARGE)) {
        const large_blob *l = find_large(x, number);

        r.length = l->length;
        r.size = l->size;
    }
    return r;
}

/* The last record, at that offset of its pack. Room for it and in the large list was made. */
static void write_record(vmbi_restic_index *x, uint32_t offset, const vmbi_repo_id *id,
                         unsigned kind, uint32_t length, uint32_t size)
{
    const size_t number = x->records++;
    uint8_t *p = record_at(x, number);
    uint64_t v = 0;

    if (number % MARK_EVERY == 0) {
        memcpy(mark_at(x, number), &offset, sizeof(offset));
    }
    if (length >= LARGE || size > LENGTH_MASK) {
        x->large[x->large_n++] = (large_blob){(uint32_t)number, length, size};
        length = (uint32_t)LARGE;
        size = 0;
    }
    v = kind | (uint64_t)length << 2 | (uint64_t)size << (2 + LENGTH_BITS);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v <<= 16;
#endif
    memcpy(p, id->b, VMBI_REPO_ID_SIZE);
    memcpy(p + VMBI_REPO_ID_SIZE, &v, 6);
}

/* IDs are digests: their bytes are the hash. */
static uint64_t hash_of(const uint8_t *id)
{
    uint64_t h = 0;

    memcpy(&h, id, sizeof(h));
    return h;
}

static size_t home_of(const vmbi_restic_index *x, uint64_t hash)
{
    __extension__ typedef unsigned __int128 wide;

    return (size_t)((wide)hash * x->slots_n >> 64);
}

static uint32_t tag_of(const vmbi_restic_index *x, const uint8_t *id)
{
    uint32_t t = 0;

    memcpy(&t, id + 8, sizeof(t));
    return x->number_bits >= 32 ? 0 : t << x->number_bits;
}

static uint32_t number_mask(const vmbi_restic_index *x)
{
    return x->number_bits >= 32 ? UINT32_MAX : (UINT32_C(1) << x->number_bits) - 1;
}

static void put_slot(vmbi_restic_index *x, size_t number)
{
    const uint8_t *id = record_at(x, number);
    size_t i = home_of(x, hash_of(id));

    while (x->slots[i] != 0) {
        i = i + 1 == x->slots_n ? 0 : i + 1;
    }
    x->slots[i] = tag_of(x, id) | (uint32_t)(number + 1);
}

/* Makes the table fit for `want` records, and fills it again when it was changed. */
static vmb_code grow_slots(vmbi_restic_index *x, size_t want, vmb_error **err)
{
    uint32_t *slots = NULL;
    size_t n = x->slots_n, i = 0;

    if (want < x->slots_n / 20 * 17) { /* 85 % */
        return VMB_OK;
    }
    while (want >= n / 20 * 17) {
        n = n < 1000 ? 1000 : n + n / 4; /* then 68 % full */
    }
    slots = vmbi_alloc_array(n, sizeof(*slots));
    if (slots == NULL) {
        return vmbi_fail_nomem(err);
    }
    memset(slots, 0, n * sizeof(*slots));
    vmbi_free(x->slots);
    x->slots = slots;
    x->slots_n = n;
    /* Numbers of records count the gaps too, which have no slot, and grow until the next time. */
    x->number_bits = 1;
    while (x->number_bits < 32 && (UINT64_C(1) << x->number_bits) <= n + 2 * x->gaps + 2) {
        x->number_bits++;
    }
    for (i = 0; i < x->records; i++) {
        if (i + AHEAD < x->records) { /* slots lie anywhere: have them fetched in time */
            __builtin_prefetch(&x->slots[home_of(x, hash_of(record_at(x, i + AHEAD)))], 1);
        }
        if (read_record(x, i).kind != KIND_GAP) {
            put_slot(x, i);
        }
    }
    return VMB_OK;
}

/* Makes room for n records without changing what is seen. */
static vmb_code reserve_records(vmbi_restic_index *x, size_t n, vmb_error **err)
{
    const size_t need = (x->records + n + SEGMENT - 1) >> SEGMENT_BITS;
    size_t i = 0;

    if (need > x->segments_cap) {
        const size_t cap = need + need / 4 + 4;
        uint8_t **v = vmbi_realloc_array(x->segments, cap, sizeof(*v));

        if (v == NULL) {
            return vmbi_fail_nomem(err);
        }
        memset(v + x->segments_cap, 0, (cap - x->segments_cap) * sizeof(*v));
        x->segments = v;
        x->segments_cap = cap;
    }
    for (i = x->records >> SEGMENT_BITS; i < need; i++) {
        if (x->segments[i] == NULL) {
            x->segments[i] = new_segment();
            if (x->segments[i] == NULL) {
                return vmbi_fail_nomem(err);
            }
        }
    }
    return VMB_OK;
}

static vmb_code reserve_array(void **v, size_t size, size_t used, size_t extra, size_t *cap,
                              vmb_error **err)
{
    void *p = NULL;
    size_t want = 0;

    if (*cap - used >= extra) {
        return VMB_OK;
    }
    want = used + extra + used / 8 + 16; /* lean: an eighth of slack */
    p = vmbi_realloc_array(*v, want, size);
    if (p == NULL) {
        return vmbi_fail_nomem(err);
    }
    *v = p;
    *cap = want;
    return VMB_OK;
}

static int by_offset(const void *a, const void *b)
{
    const vmbi_pack_blob *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void sort_blobs(vmbi_pack_blob *v, size_t n)
{
    size_t i = 0;

    for (i = 1; i < n; i++) {
        if (v[i - 1].offset > v[i].offset) {
            qsort(v, n, sizeof(*v), by_offset);
            return;
        }
    }
}

/* Counts gaps and large blobs of sorted blobs; false when blobs overlap or are impossible. */
static bool survey(const vmbi_pack_blob *v, size_t n, size_t *gaps, size_t *large)
{
    uint64_t at = 0;
    size_t i = 0;

    for (i = 0; i < n; i++) {
        if (v[i].length < VMBI_RESTIC_OVERHEAD || v[i].offset < at) {
            return false;
        }
        if (v[i].offset > at) {
            (*gaps)++;
            (*large)++; /* at most */
        }
        at = (uint64_t)v[i].offset + v[i].length;
        if (at > UINT32_MAX) {
            return false;
        }
        *large += v[i].length >= LARGE || v[i].size > LENGTH_MASK;
    }
    return true;
}

static uint32_t pack_of(const vmbi_restic_index *x, size_t number)
{
    size_t lo = 0, hi = x->packs_n; /* the last pack that starts at or before number */

    while (hi - lo > 1) {
        const size_t mid = lo + (hi - lo) / 2;

        if (x->packs[mid].start <= number) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return (uint32_t)lo;
}

static size_t pack_end(const vmbi_restic_index *x, uint32_t pack)
{
    return pack + 1 < x->packs_n ? x->packs[pack + 1].start : x->records;
}

/* Next slot at or after *slot whose record is this blob; SIZE_MAX when there is none. */
static size_t probe(const vmbi_restic_index *x, vmbi_blob_type type, const vmbi_repo_id *id,
                    size_t *slot)
{
    const uint32_t mask = number_mask(x);
    const uint32_t tag = tag_of(x, id->b);
    size_t i = *slot;

    while (x->slots[i] != 0) {
        const uint32_t s = x->slots[i];

        i = i + 1 == x->slots_n ? 0 : i + 1;
        if ((s & ~mask) == tag) {
            const size_t number = (size_t)(s & mask) - 1;
            const record r = read_record(x, number);

            if (r.kind == (unsigned)type && memcmp(r.id, id->b, VMBI_REPO_ID_SIZE) == 0) {
                *slot = i;
                return number;
            }
        }
    }
    return SIZE_MAX;
}

static bool same_blobs(const vmbi_restic_index *x, uint32_t pack, const vmbi_pack_blob *v, size_t n)
{
    const size_t end = pack_end(x, pack);
    size_t i = x->packs[pack].start, k = 0;
    uint64_t at = 0;

    for (; i < end; i++) {
        const record r = read_record(x, i);

        if (r.kind != KIND_GAP) {
            if (k == n || v[k].offset != at || v[k].length != r.length || v[k].size != r.size ||
                (unsigned)v[k].type != r.kind || memcmp(v[k].id.b, r.id, VMBI_REPO_ID_SIZE) != 0) {
                return false;
            }
            k++;
        }
        at += r.length;
    }
    return k == n;
}

/* Is the pack known? Looked for through its first blob. */
static bool known_pack(const vmbi_restic_index *x, const vmbi_repo_id *pack, const vmbi_pack_blob *v,
                       size_t n, vmbi_index_added *how)
{
    size_t slot = 0, number = 0;

    if (x->slots_n == 0) {
        return false;
    }
    slot = home_of(x, hash_of(v[0].id.b));
    while ((number = probe(x, v[0].type, &v[0].id, &slot)) != SIZE_MAX) {
        const uint32_t p = pack_of(x, number);

        if (memcmp(x->packs[p].id.b, pack->b, VMBI_REPO_ID_SIZE) == 0) {
            *how = same_blobs(x, p, v, n) ? VMBI_INDEX_SAME : VMBI_INDEX_DIFFERS;
            return true;
        }
    }
    return false;
}

static void append(vmbi_restic_index *x, const vmbi_repo_id *pack, const vmbi_pack_blob *v, size_t n)
{
    static const vmbi_repo_id none = {{0}};
    uint64_t at = 0;
    size_t i = 0;

    x->packs[x->packs_n++] = (pack_entry){*pack, (uint32_t)x->records};
    for (i = 0; i < n; i++) {
        if (v[i].offset > at) {
            write_record(x, (uint32_t)at, &none, KIND_GAP, (uint32_t)(v[i].offset - at), 0);
            x->gaps++;
        }
        write_record(x, v[i].offset, &v[i].id, (unsigned)v[i].type, v[i].length, v[i].size);
        put_slot(x, x->records - 1);
        at = (uint64_t)v[i].offset + v[i].length;
    }
}

vmb_code vmbi_restic_index_add(vmbi_restic_index *x, const vmbi_repo_id *pack, vmbi_pack_blob *v,
                               size_t n, vmbi_index_added *how, vmb_error **err)
{
    size_t gaps = 0, large = 0;
    vmb_code code = VMB_OK;

    *how = VMBI_INDEX_NEW;
    if (n == 0) {
        return VMB_OK; /* nothing that anyone could look for */
    }
    sort_blobs(v, n);
    if (!survey(v, n, &gaps, &large)) {
        char hex[VMBI_REPO_HEX_SIZE];

        vmbi_repo_id_hex(pack, hex);
        return vmbi_fail(err, VMB_E_INVALID, "pack %s: its blobs overlap or are impossible", hex);
    }
    if (known_pack(x, pack, v, n, how)) {
        return VMB_OK;
    }
    if (n + gaps > MAX_RECORDS - x->records) {
        return vmbi_fail(err, VMB_E_LIMIT, "index: more than %u blobs", (unsigned)MAX_RECORDS);
    }
    code = reserve_records(x, n + gaps, err);
    if (code == VMB_OK) {
        code = reserve_array((void **)&x->packs, sizeof(*x->packs), x->packs_n, 1, &x->packs_cap,
                             err);
    }
    if (code == VMB_OK) {
        code = reserve_array((void **)&x->large, sizeof(*x->large), x->large_n, large,
                             &x->large_cap, err);
    }
    if (code == VMB_OK) {
        code = grow_slots(x, x->records + n + gaps, err);
    }
    if (code == VMB_OK) {
        append(x, pack, v, n);
    }
    return code;
}

bool vmbi_restic_index_has(const vmbi_restic_index *x, vmbi_blob_type type, const vmbi_repo_id *id)
{
    return vmbi_restic_index_record(x, type, id) != SIZE_MAX;
}

size_t vmbi_restic_index_record(const vmbi_restic_index *x, vmbi_blob_type type,
                                const vmbi_repo_id *id)
{
    size_t slot = 0;

    if (x->slots_n == 0) {
        return SIZE_MAX;
    }
    slot = home_of(x, hash_of(id->b));
    return probe(x, type, id, &slot);
}

static uint32_t offset_of(const vmbi_restic_index *x, uint32_t pack, size_t number)
{
    const size_t marked = number - number % MARK_EVERY;
    size_t i = x->packs[pack].start;
    uint32_t offset = 0;

    if (marked > i) {
        memcpy(&offset, mark_at(x, marked), sizeof(offset));
        i = marked;
    }
    for (; i < number; i++) {
        offset += read_record(x, i).length;
    }
    return offset;
}

bool vmbi_restic_index_find(const vmbi_restic_index *x, vmbi_blob_type type,
                            const vmbi_repo_id *id, uint64_t *cursor, uint32_t *pack,
                            vmbi_pack_blob *out)
{
    size_t slot = 0, number = 0;
    record r;

    if (x->slots_n == 0) {
        return false;
    }
    /* The cursor is the next slot plus 1; 0 is the beginning. */
    slot = *cursor == 0 ? home_of(x, hash_of(id->b)) : (size_t)*cursor - 1;
    number = probe(x, type, id, &slot);
    if (number == SIZE_MAX) {
        return false;
    }
    *cursor = (uint64_t)slot + 1;
    *pack = pack_of(x, number);
    r = read_record(x, number);
    *out = (vmbi_pack_blob){*id, offset_of(x, *pack, number), r.length, r.size, type};
    return true;
}

size_t vmbi_restic_index_packs(const vmbi_restic_index *x)
{
    return x->packs_n;
}

size_t vmbi_restic_index_records(const vmbi_restic_index *x)
{
    return x->records;
}

size_t vmbi_restic_index_blobs(const vmbi_restic_index *x)
{
    return x->records - x->gaps;
}

size_t vmbi_restic_index_bytes(const vmbi_restic_index *x)
{
    size_t bytes = sizeof(*x) + x->segments_cap * sizeof(*x->segments) +
                   x->packs_cap * sizeof(*x->packs) + x->large_cap * sizeof(*x->large) +
                   x->slots_n * sizeof(*x->slots);
    size_t i = 0;

    for (i = 0; i < x->segments_cap; i++) {
        bytes += x->segments[i] != NULL ? (size_t)SEGMENT_BYTES : 0;
    }
    return bytes;
}

const vmbi_repo_id *vmbi_restic_index_pack_id(const vmbi_restic_index *x, uint32_t pack)
{
    return &x->packs[pack].id;
}

vmb_code vmbi_restic_index_pack_blobs(const vmbi_restic_index *x, uint32_t pack,
                                      vmbi_pack_blobs *out, vmb_error **err)
{
    const size_t end = pack_end(x, pack);
    size_t i = x->packs[pack].start;
    uint32_t at = 0;

    out->n = 0;
    for (; i < end; i++) {
        const record r = read_record(x, i);
        vmbi_pack_blob b = {{{0}}, at, r.length, r.size, VMBI_BLOB_DATA};
        vmb_code code = VMB_OK;

        at += r.length;
        if (r.kind == KIND_GAP) {
            continue;
        }
        b.type = r.kind == VMBI_BLOB_TREE ? VMBI_BLOB_TREE : VMBI_BLOB_DATA;
        memcpy(b.id.b, r.id, VMBI_REPO_ID_SIZE);
        code = vmbi_pack_blobs_add(out, &b, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}
