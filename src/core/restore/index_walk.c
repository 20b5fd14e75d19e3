/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "base/job.h"
#include "core/restore/index_impl.h"

enum { READ_BYTES = 1024 * 1024 };

/* ---- the archive as a stream --------------------------------------------------------------- */

/* The tar reader pulls and stores push: the object is fetched in ranges. */
typedef struct source {
    const vmbi_store *store;
    vmb_job *job;
    const char *key;
    int64_t size;
    int64_t offset;
    vmbi_buf part;
    size_t used;
} source;

static vmb_code fetch_part(source *s, vmb_error **err)
{
    const vmb_store_provider *p = &s->store->location->store;
    int64_t want = s->size - s->offset < READ_BYTES ? s->size - s->offset : READ_BYTES;
    vmbi_buf_reset(&s->part);
    s->used = 0;
    struct vmb_sink sink = vmbi_sink_to_buf(&s->part);
    vmb_code rc = p->get(p->user, s->job, s->key, s->offset, want, &sink, err);
    rc = vmbi_check_provider(err, rc, "read an object");
    if (rc == VMB_OK && s->part.len != (size_t)want) {
        rc = vmbi_fail(err, VMB_E_CONFLICT, "%s: changed while it was read", s->key);
    }
    s->offset += want;
    return rc;
}

static int64_t read_part(void *user, void *buf, size_t size, vmb_error **err)
{
    source *s = user;
    if (s->used == s->part.len) {
        if (s->offset >= s->size) {
            return 0;
        }
        vmb_code rc = fetch_part(s, err);
        if (rc != VMB_OK) {
            return rc;
        }
    }
    size_t n = s->part.len - s->used < size ? s->part.len - s->used : size;
    memcpy(buf, s->part.data + s->used, n);
    s->used += n;
    return (int64_t)n;
}

vmb_code vmbi_index_walk(const vmbi_index *x, vmbi_tar_entry_fn fn, void *user, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(4096);
    source s = {.store = x->store, .job = x->job, .part = VMBI_BUF_INIT(READ_BYTES)};
    const vmb_store_provider *p = &x->store->location->store;
    int64_t mtime = 0;
    vmb_code rc = vmbi_store_key(x->store, x->path, &key, err);
    if (rc == VMB_OK) {
        s.key = key.data;
        rc = p->stat(p->user, x->job, s.key, &s.size, &mtime, err);
        rc = vmbi_check_provider(err, rc, "look at an object");
    }
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(read_part, &s, VMBI_INDEX_MAX_ITEM, fn, user, err);
    }
    vmbi_buf_free(&s.part);
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "read %s", x->path) : VMB_OK;
}

/* ---- paths --------------------------------------------------------------------------------- */

/* Copies up to the next '/' and steps behind it; false when it does not fit or is empty. */
static bool step(const char **p, char *out, size_t size)
{
    size_t n = strcspn(*p, "/");
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(out, *p, n);
    out[n] = '\0';
    *p += n + ((*p)[n] == '/' ? 1 : 0);
    return true;
}

static bool cut_suffix(char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    if (n <= m || strcmp(s + n - m, suffix) != 0) {
        return false;
    }
    s[n - m] = '\0';
    return true;
}

bool vmbi_index_entry_parse(const char *path, vmbi_index_entry *e)
{
    static const char top[] = "resources/";
    char word[256];
    if (strncmp(path, top, sizeof(top) - 1) != 0) {
        return false;
    }
    const char *p = path + sizeof(top) - 1;
    *e = (vmbi_index_entry){.preferred = false};
    if (!step(&p, e->group_resource, sizeof(e->group_resource)) || !step(&p, word, sizeof(word))) {
        return false;
    }
    if (strcmp(word, "namespaces") != 0 && strcmp(word, "cluster") != 0) {
        e->preferred = cut_suffix(word, "-preferredversion");
        size_t n = strlen(word);
        if (n >= sizeof(e->version)) {
            return false;
        }
        memcpy(e->version, word, n + 1);
        if (!step(&p, word, sizeof(word))) {
            return false;
        }
    }
    bool namespaced = strcmp(word, "namespaces") == 0;
    if ((!namespaced && strcmp(word, "cluster") != 0) ||
        (namespaced && !step(&p, e->ns, sizeof(e->ns))) || !step(&p, e->name, sizeof(e->name))) {
        return false;
    }
    return *p == '\0' && cut_suffix(e->name, ".json");
}
