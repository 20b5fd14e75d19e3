/* SPDX-License-Identifier: Apache-2.0 */
/* One object of the archive. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/error.h"
#include "codec/tar.h"

enum {
    MAX_ARCHIVE = 512 * 1024 * 1024, /* compressed */
    MAX_ITEM = 64 * 1024 * 1024
};

/* The store pushes and the archive reader pulls: the whole archive is buffered compressed, which
 * is small (1.4 MB for 20,000 objects). */
typedef struct item_search {
    const vmbi_buf *packed;
    size_t offset;
    const char *path;
    vmbi_buf *out;
    bool found;
} item_search;

static int64_t read_packed(void *user, void *buf, size_t size, vmb_error **err)
{
    item_search *s = user;
    (void)err;
    size_t left = s->packed->len - s->offset;
    size_t n = left < size ? left : size;
    memcpy(buf, s->packed->data + s->offset, n);
    s->offset += n;
    return (int64_t)n;
}

static vmb_code match_entry(void *user, const char *path, const char *data, size_t len,
                            vmb_error **err)
{
    item_search *s = user;
    if (strcmp(path, s->path) != 0) {
        return VMB_OK;
    }
    vmbi_buf_add(s->out, data, len);
    s->found = true;
    vmb_code rc = vmbi_buf_check(s->out, err, "object");
    return rc != VMB_OK ? rc : 1; /* ends the walk */
}

vmb_code vmbi_catalog_read_item(vmb_catalog *cat, const char *backup, const char *resource,
                                const char *ns, const char *name, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf packed = VMBI_BUF_INIT(MAX_ARCHIVE);
    vmbi_buf path = VMBI_BUF_INIT(4096);
    vmbi_buf_addf(&path, "resources/%s/", resource);
    if (ns != NULL && ns[0] != '\0') {
        vmbi_buf_addf(&path, "namespaces/%s/%s.json", ns, name);
    } else {
        vmbi_buf_addf(&path, "cluster/%s.json", name);
    }
    vmb_code rc = vmbi_buf_check(&path, err, "archive path");
    if (rc == VMB_OK) {
        rc = vmbi_catalog_read_buf(cat, backup, VMB_FILE_CONTENTS, &packed, err);
    }
    item_search search = {&packed, 0, path.data, out, false};
    if (rc == VMB_OK) {
        rc = vmbi_tar_read(read_packed, &search, MAX_ITEM, match_entry, &search, err);
    }
    if (rc == VMB_OK && !search.found) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "backup %s: %s is not in its archive", backup,
                       path.data);
    }
    vmbi_buf_free(&packed);
    vmbi_buf_free(&path);
    return rc;
}
