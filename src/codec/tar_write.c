/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what Go's archive/tar writes for the same entries, byte for byte: USTAR when the path
 * fits, otherwise a PAX header with the path in front. POSIX.1-2017, pax, "ustar Interchange
 * Format" and "pax Header Block". */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/tar.h"

enum { BLOCK = 512, NAME_SIZE = 100, PREFIX_SIZE = 155, MAX_PATH_BYTES = 4096 };

/* Largest number in eleven octal digits. */
#define MAX_OCTAL (INT64_C(077777777777))

typedef struct header {
    char name[NAME_SIZE];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char uname[32];
    char gname[32];
    char major[8];
    char minor[8];
    char prefix[PREFIX_SIZE];
    char pad[12];
} header;

_Static_assert(sizeof(header) == BLOCK, "a tar header is one block");

struct vmbi_tar {
    vmbi_write_fn fn;
    void *user;
};

static const char zeros[2 * BLOCK];

vmb_code vmbi_tar_new(vmbi_write_fn fn, void *user, vmbi_tar **out, vmb_error **err)
{
    vmbi_tar *t = vmbi_alloc(sizeof(*t));

    if (t == NULL) {
        return vmbi_fail_nomem(err);
    }
    t->fn = fn;
    t->user = user;
    *out = t;
    return VMB_OK;
}

/* Fills a field with octal digits and the NUL that ends it. */
static void put_octal(char *field, size_t size, uint64_t v)
{
    field[--size] = '\0';
    while (size > 0) {
        field[--size] = (char)('0' + (v & 7));
        v >>= 3;
    }
}

static void put_checksum(header *h)
{
    const unsigned char *p = (const unsigned char *)h;
    unsigned sum = 0;

    memset(h->checksum, ' ', sizeof(h->checksum));
    for (size_t i = 0; i < BLOCK; i++) {
        sum += p[i];
    }
    put_octal(h->checksum, 7, sum); /* six digits, NUL, space */
}

static void init_header(header *h, char type, uint64_t size)
{
    memset(h, 0, sizeof(*h));
    put_octal(h->mode, sizeof(h->mode), 0);
    put_octal(h->uid, sizeof(h->uid), 0);
    put_octal(h->gid, sizeof(h->gid), 0);
    put_octal(h->size, sizeof(h->size), size);
    put_octal(h->mtime, sizeof(h->mtime), 0);
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    h->type = type;
}

/* Where to cut a path in prefix and name, so that both fit: index of the '/'; 0 when there is no
 * such place. */
static size_t find_split(const char *path, size_t len)
{
    size_t at = len > PREFIX_SIZE + 1 ? PREFIX_SIZE + 1 : len;

    while (at > 0 && path[at - 1] != '/') {
        at--;
    }
    if (at <= 1 || len - at > NAME_SIZE || len == at) {
        return 0;
    }
    return at - 1;
}

static bool is_ascii(const char *s, size_t len)
{
    unsigned char any = 0;

    for (size_t i = 0; i < len; i++) {
        any |= (unsigned char)s[i];
    }
    return any < 0x80;
}

/* Copies the ASCII bytes of s, as many as fit. */
static void put_ascii(char *field, size_t size, const char *s, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < size; i++) {
        if ((unsigned char)s[i] < 0x80) {
            field[n++] = s[i];
        }
    }
}

/* Name field when the whole path stands in a PAX record. */
static void put_short_name(header *h, const char *path, size_t len)
{
    put_ascii(h->name, NAME_SIZE, path, len);
    /* Some readers take a file whose cut name ends in '/' for a directory. */
    for (size_t n = NAME_SIZE; n > 0 && h->name[n - 1] == '/'; n--) {
        h->name[n - 1] = '\0';
    }
}

/* Length of a PAX record "<length> path=<path>\n"; the length counts its own digits. */
static size_t record_size(size_t path_len)
{
    size_t rest = path_len + sizeof(" path=\n") - 1;
    size_t digits = 1;

    for (size_t limit = 10; rest + digits >= limit; limit *= 10) {
        digits++;
    }
    return rest + digits;
}

/* The PAX header and its record in front of a file whose path does not fit. */
static vmb_code write_pax(vmbi_tar *t, const char *path, size_t len, vmb_error **err)
{
    char block[BLOCK + MAX_PATH_BYTES + BLOCK];
    char name[MAX_PATH_BYTES + 32];
    const char *slash = memrchr(path, '/', len);
    size_t dir_len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    size_t size = record_size(len);
    size_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
    size_t n = 0;
    header *h = (header *)(void *)block;

    memcpy(name, path, dir_len);
    n = dir_len;
    memcpy(name + n, "PaxHeaders.0/", 13);
    n += 13;
    memcpy(name + n, path + dir_len, len - dir_len);
    n += len - dir_len;

    init_header(h, 'x', size);
    put_short_name(h, name, n);
    put_checksum(h);

    char *record = block + BLOCK;
    memset(record, 0, padded);
    size_t head = size - len - 1; /* "<length> path=" */
    size_t digits = head - 6;
    size_t v = size;
    for (size_t i = digits; i > 0; i--) {
        record[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    memcpy(record + digits, " path=", 6);
    memcpy(record + head, path, len);
    record[size - 1] = '\n';
    return t->fn(t->user, block, BLOCK + padded, err);
}

static vmb_code write_header(vmbi_tar *t, const char *path, size_t len, uint64_t size,
                             uint64_t mtime, vmb_error **err)
{
    header h;
    size_t split;

    init_header(&h, '0', size);
    memcpy(h.mode, "0000755", 8);
    put_octal(h.mtime, sizeof(h.mtime), mtime);
    put_octal(h.major, sizeof(h.major), 0);
    put_octal(h.minor, sizeof(h.minor), 0);
    if (len <= NAME_SIZE && is_ascii(path, len)) {
        memcpy(h.name, path, len);
    } else if (is_ascii(path, len) && (split = find_split(path, len)) > 0) {
        memcpy(h.prefix, path, split);
        memcpy(h.name, path + split + 1, len - split - 1);
    } else {
        vmb_code code = write_pax(t, path, len, err);

        if (code != VMB_OK) {
            return code;
        }
        put_short_name(&h, path, len);
    }
    put_checksum(&h);
    return t->fn(t->user, &h, sizeof(h), err);
}

vmb_code vmbi_tar_add(vmbi_tar *t, const char *path, int64_t mtime_unix_s, const vmbi_slice *parts,
                      size_t n, vmb_error **err)
{
    size_t len = strlen(path);
    size_t size = 0;
    vmb_code code;

    for (size_t i = 0; i < n; i++) {
        if (__builtin_add_overflow(size, parts[i].len, &size)) {
            return vmbi_fail(err, VMB_E_LIMIT, "tar entry %s: too large", path);
        }
    }
    if ((uint64_t)size > (uint64_t)MAX_OCTAL || len > MAX_PATH_BYTES) {
        return vmbi_fail(err, VMB_E_LIMIT, "tar entry %.200s: too large", path);
    }
    if (len == 0 || path[len - 1] == '/' || mtime_unix_s < 0 || mtime_unix_s > MAX_OCTAL) {
        return vmbi_fail(err, VMB_E_ARG, "tar entry \"%.200s\": bad path or time", path);
    }
    code = write_header(t, path, len, size, (uint64_t)mtime_unix_s, err);
    for (size_t i = 0; i < n && code == VMB_OK; i++) {
        if (parts[i].len > 0) {
            code = t->fn(t->user, parts[i].p, parts[i].len, err);
        }
    }
    if (code == VMB_OK && size % BLOCK != 0) {
        code = t->fn(t->user, zeros, BLOCK - size % BLOCK, err);
    }
    return code;
}

vmb_code vmbi_tar_finish(vmbi_tar *t, vmb_error **err)
{
    return t->fn(t->user, zeros, sizeof(zeros), err);
}

void vmbi_tar_free(vmbi_tar *t)
{
    vmbi_free(t);
}
