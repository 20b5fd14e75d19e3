/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/indexfile.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/jscan.h"

static bool key_is(vmbi_slice key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.p, name, key.len) == 0;
}

static bool parse_id(vmbi_slice raw, vmbi_repo_id *out)
{
    return raw.len == 2 * VMBI_REPO_ID_SIZE + 2 && raw.p[0] == '"' &&
           vmbi_repo_id_parse(raw.p + 1, raw.len - 2, out);
}

static bool parse_u32(vmbi_slice raw, uint32_t *out)
{
    uint64_t v = 0;

    if (!vmbi_parse_u64(raw.p, raw.len, &v) || v > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)v;
    return true;
}

static bool parse_type(vmbi_slice raw, vmbi_blob_type *out)
{
    if (raw.len == 6 && memcmp(raw.p, "\"data\"", 6) == 0) {
        *out = VMBI_BLOB_DATA;
        return true;
    }
    *out = VMBI_BLOB_TREE;
    return raw.len == 6 && memcmp(raw.p, "\"tree\"", 6) == 0;
}

static bool parse_blob(vmbi_slice raw, vmbi_pack_blob *b)
{
    enum { ID = 1, TYPE = 2, OFFSET = 4, LENGTH = 8 };
    unsigned seen = 0;
    vmbi_jscan s;
    vmbi_slice key, value;
    bool ok = vmbi_jscan_object(&s, raw.p, raw.len);
    int rc = 0;

    b->size = 0;
    while (ok && (rc = vmbi_jscan_member(&s, &key, &value)) == 1) {
        if (key_is(key, "id")) {
            ok = parse_id(value, &b->id);
            seen |= ID;
        } else if (key_is(key, "type")) {
            ok = parse_type(value, &b->type);
            seen |= TYPE;
        } else if (key_is(key, "offset")) {
            ok = parse_u32(value, &b->offset);
            seen |= OFFSET;
        } else if (key_is(key, "length")) {
            ok = parse_u32(value, &b->length);
            seen |= LENGTH;
        } else if (key_is(key, "uncompressed_length")) {
            ok = parse_u32(value, &b->size);
        }
    }
    return ok && rc == 0 && seen == (ID | TYPE | OFFSET | LENGTH);
}

/* The blobs of one pack, into a list that is used again for the next. */
static vmb_code parse_blobs(vmbi_slice raw, vmbi_pack_blobs *list, vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice item;
    int rc = 0;

    list->n = 0;
    if (!vmbi_jscan_array(&s, raw.p, raw.len)) {
        return vmbi_fail(err, VMB_E_INVALID, "index: \"blobs\" is no list");
    }
    while ((rc = vmbi_jscan_element(&s, &item)) == 1) {
        vmbi_pack_blob b;
        vmb_code code = VMB_OK;

        if (!parse_blob(item, &b)) {
            return vmbi_fail(err, VMB_E_INVALID, "index: a blob is malformed");
        }
        code = vmbi_pack_blobs_add(list, &b, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return rc == 0 ? VMB_OK : vmbi_fail(err, VMB_E_PARSE, "index: malformed JSON");
}

static vmb_code parse_pack(vmbi_slice raw, vmbi_pack_blobs *list, vmbi_index_pack_fn fn, void *user,
                           vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice key, value;
    vmbi_repo_id id;
    bool has_id = false, has_blobs = false;
    vmb_code code = VMB_OK;
    int rc = 0;

    if (!vmbi_jscan_object(&s, raw.p, raw.len)) {
        return vmbi_fail(err, VMB_E_INVALID, "index: a pack is no object");
    }
    while (code == VMB_OK && (rc = vmbi_jscan_member(&s, &key, &value)) == 1) {
        if (key_is(key, "id")) {
            has_id = parse_id(value, &id);
        } else if (key_is(key, "blobs")) {
            has_blobs = true;
            code = parse_blobs(value, list, err);
        }
    }
    if (code == VMB_OK && (rc != 0 || !has_id || !has_blobs)) {
        code = vmbi_fail(err, VMB_E_INVALID, "index: a pack is malformed");
    }
    return code == VMB_OK ? fn(user, &id, list->v, list->n, err) : code;
}

static vmb_code parse_packs(vmbi_slice raw, vmbi_index_pack_fn fn, void *user, vmb_error **err)
{
    vmbi_pack_blobs list = {NULL, 0, 0};
    vmbi_jscan s;
    vmbi_slice item;
    vmb_code code = VMB_OK;
    int rc = 0;

    if (raw.len == 4 && memcmp(raw.p, "null", 4) == 0) {
        return VMB_OK; /* how Go prints an empty list */
    }
    if (!vmbi_jscan_array(&s, raw.p, raw.len)) {
        return vmbi_fail(err, VMB_E_INVALID, "index: \"packs\" is no list");
    }
    while (code == VMB_OK && (rc = vmbi_jscan_element(&s, &item)) == 1) {
        code = parse_pack(item, &list, fn, user, err);
    }
    if (code == VMB_OK && rc != 0) {
        code = vmbi_fail(err, VMB_E_PARSE, "index: malformed JSON");
    }
    vmbi_pack_blobs_free(&list);
    return code;
}

static vmb_code parse_supersedes(vmbi_slice raw, vmbi_index_supersedes_fn fn, void *user,
                                 vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice item;
    vmb_code code = VMB_OK;
    int rc = 0;

    if (fn == NULL || !vmbi_jscan_array(&s, raw.p, raw.len)) {
        return VMB_OK;
    }
    while (code == VMB_OK && (rc = vmbi_jscan_element(&s, &item)) == 1) {
        vmbi_repo_id id;

        code = parse_id(item, &id)
                   ? fn(user, &id, err)
                   : vmbi_fail(err, VMB_E_INVALID, "index: \"supersedes\" holds no ID");
    }
    return code;
}

vmb_code vmbi_indexfile_parse(const char *text, size_t len, vmbi_index_pack_fn fn,
                              vmbi_index_supersedes_fn supersedes, void *user, vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice key, value;
    bool seen = false;
    vmb_code code = VMB_OK;
    int rc = 0;

    if (!vmbi_jscan_object(&s, text, len)) {
        return vmbi_fail(err, VMB_E_PARSE, "index: no JSON object");
    }
    while (code == VMB_OK && (rc = vmbi_jscan_member(&s, &key, &value)) == 1) {
        if (key_is(key, "packs")) {
            seen = true;
            code = parse_packs(value, fn, user, err);
        } else if (key_is(key, "supersedes")) {
            code = parse_supersedes(value, supersedes, user, err);
        }
    }
    if (code == VMB_OK && (rc != 0 || !seen)) {
        code = vmbi_fail(err, VMB_E_PARSE, "index: malformed JSON");
    }
    return code;
}

void vmbi_indexfile_begin(vmbi_buf *out)
{
    vmbi_buf_adds(out, "{\"packs\":[");
}

void vmbi_indexfile_pack(vmbi_buf *out, bool first, const vmbi_repo_id *pack,
                         const vmbi_pack_blob *v, size_t n)
{
    char hex[VMBI_REPO_HEX_SIZE];
    size_t i = 0;

    vmbi_repo_id_hex(pack, hex);
    vmbi_buf_addf(out, "%s{\"id\":\"%s\",\"blobs\":[", first ? "" : ",", hex);
    for (i = 0; i < n; i++) {
        vmbi_repo_id_hex(&v[i].id, hex);
        vmbi_buf_addf(out, "%s{\"id\":\"%s\",\"type\":\"%s\",\"offset\":%u,\"length\":%u",
                      i == 0 ? "" : ",", hex, v[i].type == VMBI_BLOB_TREE ? "tree" : "data",
                      (unsigned)v[i].offset, (unsigned)v[i].length);
        if (v[i].size != 0) {
            vmbi_buf_addf(out, ",\"uncompressed_length\":%u", (unsigned)v[i].size);
        }
        vmbi_buf_addc(out, '}');
    }
    vmbi_buf_adds(out, "]}");
}

void vmbi_indexfile_end(vmbi_buf *out)
{
    vmbi_buf_adds(out, "]}\n");
}
