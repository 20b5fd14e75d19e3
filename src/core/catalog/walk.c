/* SPDX-License-Identifier: Apache-2.0 */
/* Walking an archive: the reader pulls and the store pushes, so it is read in ranges. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/error.h"

enum { PIECE = 4 * 1024 * 1024 };

typedef struct source {
    vmb_catalog *cat;
    vmb_job job;
    vmbi_buf key;
    vmbi_buf piece;
    size_t taken; /* of the piece */
    int64_t offset;
    int64_t size;
} source;

static vmb_code next_piece(source *s, vmb_error **err)
{
    const vmb_store_provider *p = &s->cat->store.location->store;
    int64_t left = s->size - s->offset;
    int64_t wanted = left < PIECE ? left : PIECE;
    struct vmb_sink sink = vmbi_sink_to_buf(&s->piece);
    vmb_job job = s->job;
    vmbi_buf_reset(&s->piece);
    s->taken = 0;
    job.limits = vmbi_limits_within(&s->job.limits, s->cat->store.timeout_ns);
    vmb_code rc = p->get(p->user, &job, s->key.data, s->offset, wanted, &sink, err);
    rc = vmbi_check_provider(err, rc, "read an archive");
    if (rc == VMB_OK && (int64_t)s->piece.len != wanted) {
        rc = vmbi_fail(err, VMB_E_CONFLICT, "%s changed while it was read", s->key.data);
    }
    s->offset += rc == VMB_OK ? wanted : 0;
    return rc;
}

static int64_t read_source(void *user, void *buf, size_t size, vmb_error **err)
{
    source *s = user;
    if (s->taken == s->piece.len && s->offset < s->size) {
        vmb_code rc = next_piece(s, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    size_t left = s->piece.len - s->taken;
    size_t n = left < size ? left : size;
    if (n > 0) {
        memcpy(buf, s->piece.data + s->taken, n);
    }
    s->taken += n;
    return (int64_t)n;
}

vmb_code vmbi_catalog_walk(vmb_catalog *cat, const char *backup, vmbi_tar_entry_fn fn, void *user,
                           int64_t *packed_bytes, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    source s = {.cat = cat, .job = vmbi_catalog_job(cat), .key = VMBI_BUF_INIT(1024),
                .piece = VMBI_BUF_INIT(PIECE)};
    bool exists = false;
    vmb_code rc = vmbi_catalog_file_path(backup, VMB_FILE_CONTENTS, &path, NULL, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_exists(&cat->store, &s.job, path.data, &exists, &s.size, err);
    }
    if (rc == VMB_OK && !exists) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "%s does not exist in location %s", path.data,
                       cat->store.location->name);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_key(&cat->store, path.data, &s.key, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(read_source, &s, VMBI_CATALOG_MAX_ITEM, fn, user, err);
        rc = rc != VMB_OK ? vmbi_wrap(err, rc, "read %s", path.data) : VMB_OK;
    }
    if (rc == VMB_OK && packed_bytes != NULL) {
        *packed_bytes = s.size;
    }
    vmbi_buf_free(&s.piece);
    vmbi_buf_free(&s.key);
    vmbi_buf_free(&path);
    return rc;
}

/* ---- paths --------------------------------------------------------------------------------- */

/* Takes the part before the next '/'; false when there is none or it is empty. */
static bool part(const char **p, vmbi_slice *out)
{
    const char *slash = strchr(*p, '/');
    if (slash == NULL || slash == *p) {
        return false;
    }
    *out = (vmbi_slice){*p, (size_t)(slash - *p)};
    *p = slash + 1;
    return true;
}

static bool is(vmbi_slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

bool vmbi_archive_path_parse(const char *path, vmbi_archive_path *out)
{
    static const char end[] = ".json";
    vmbi_archive_path a = {0};
    vmbi_slice word;
    const char *p = path;
    if (!part(&p, &word) || !is(word, "resources") || !part(&p, &a.resource) || !part(&p, &word)) {
        return false;
    }
    if (!is(word, "namespaces") && !is(word, "cluster")) {
        a.version = word;
        if (!part(&p, &word)) {
            return false;
        }
    }
    if (is(word, "namespaces") ? !part(&p, &a.ns) : !is(word, "cluster")) {
        return false;
    }
    size_t len = strlen(p);
    if (len <= sizeof(end) - 1 || strchr(p, '/') != NULL ||
        strcmp(p + len - (sizeof(end) - 1), end) != 0) {
        return false;
    }
    a.name = (vmbi_slice){p, len - (sizeof(end) - 1)};
    *out = a;
    return true;
}
