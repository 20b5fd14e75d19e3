/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/error.h"
#include "base/job.h"
#include "core/restore/index_impl.h"

enum { READ_BYTES = 1024 * 1024 };

/* ---- the archive as a stream --------------------------------------------------------------- */

vmb_code vmbi_index_open(const vmbi_index *x, vmbi_index_source *s, vmb_error **err)
{
    const vmb_store_provider *p = &x->store->location->store;
    int64_t mtime = 0;
    *s = (vmbi_index_source){.x = x, .key = VMBI_BUF_INIT(4096), .part = VMBI_BUF_INIT(READ_BYTES)};
    vmb_code rc = vmbi_store_key(x->store, x->path, &s->key, err);
    if (rc == VMB_OK) {
        rc = p->stat(p->user, x->job, s->key.data, &s->size, &mtime, err);
        rc = vmbi_check_provider(err, rc, "look at an object");
    }
    return rc;
}

void vmbi_index_close(vmbi_index_source *s)
{
    vmbi_buf_free(&s->part);
    vmbi_buf_free(&s->key);
}

static vmb_code fetch_part(vmbi_index_source *s, vmb_error **err)
{
    const vmb_store_provider *p = &s->x->store->location->store;
    int64_t want = s->size - s->offset < READ_BYTES ? s->size - s->offset : READ_BYTES;
    vmbi_buf_reset(&s->part);
    s->used = 0;
    struct vmb_sink sink = vmbi_sink_to_buf(&s->part);
    vmb_code rc = p->get(p->user, s->x->job, s->key.data, s->offset, want, &sink, err);
    rc = vmbi_check_provider(err, rc, "read an object");
    if (rc == VMB_OK && s->part.len != (size_t)want) {
        rc = vmbi_fail(err, VMB_E_CONFLICT, "%s: changed while it was read", s->key.data);
    }
    s->offset += want;
    return rc;
}

int64_t vmbi_index_pull(void *source, void *buf, size_t size, vmb_error **err)
{
    vmbi_index_source *s = source;
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
    vmbi_index_source s;
    vmb_code rc = vmbi_index_open(x, &s, err);
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(vmbi_index_pull, &s, VMBI_INDEX_MAX_ITEM, fn, user, err);
    }
    vmbi_index_close(&s);
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
