/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in either language, and the places of values in JSON. */
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "codec/jscan.h"
#include "codec/positions.h"
#include "codec/yaml_events.h"

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && vmbi_is_space(*p)) {
        p++;
    }
    return p;
}

/* A byte order mark means nothing in UTF-8. */
static void skip_mark(const char **text, size_t *len)
{
    if (*len >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *len -= 3;
    }
}

static bool is_json(const char *text, size_t len)
{
    const char *p = skip_space(text, text + len);

    return p < text + len && (*p == '{' || *p == '[');
}

/* Refuses what neither language may contain; libyaml's own message has no line. */
static vmb_code check_text(const char *text, size_t len, size_t max, const char *what,
                           vmb_error **err)
{
    const char *end = text + len;
    vmbi_cursor c = {text, 1, 1};

    if (len > max) {
        return vmbi_fail(err, VMB_E_LIMIT, "%s: larger than %zu bytes", what, max);
    }
    if (len > 0 && memchr(text, '\0', len) != NULL) {
        vmbi_cursor_move(&c, memchr(text, '\0', len));
        return vmbi_fail(err, VMB_E_PARSE, "%s: line %d column %d: the text contains a NUL byte",
                         what, c.line, c.column);
    }
    if (vmbi_utf8_valid(text, len)) {
        return VMB_OK;
    }
    while (c.at < end) { /* the line that is not valid names the place */
        const char *nl = memchr(c.at, '\n', (size_t)(end - c.at));
        const char *stop = nl == NULL ? end : nl + 1;

        if (!vmbi_utf8_valid(c.at, (size_t)(stop - c.at))) {
            break;
        }
        c.at = stop;
        c.line++;
    }
    return vmbi_fail(err, VMB_E_PARSE, "%s: line %d: the text is not UTF-8", what, c.line);
}

/* Places in JSON. The text has been parsed: it is well-formed and not too deep. */

typedef struct json_places {
    vmbi_positions *p;
    vmbi_cursor cursor;
} json_places;

static vmb_code place_value(json_places *j, vmbi_slice v, const char *key, uint32_t *out,
                            vmb_error **err);

static vmb_code place_child(json_places *j, vmbi_slice key, vmbi_slice v, uint32_t parent,
                            uint32_t *last, vmb_error **err)
{
    vmbi_buf name = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);
    uint32_t child = 0;
    vmb_code code = VMB_OK;

    if (key.p != NULL) {
        vmbi_slice quoted = {key.p - 1, key.len + 2};

        vmbi_buf_reserve(&name, key.len + 1);
        code = vmbi_buf_check(&name, err, "key");
        if (code == VMB_OK && !vmbi_jscan_string(quoted, name.data, key.len + 1)) {
            code = vmbi_fail(err, VMB_E_INTERNAL, "places of a document: two parsers disagree");
        }
    }
    if (code != VMB_OK) {
        vmbi_buf_free(&name);
        return code;
    }
    code = place_value(j, v, key.p == NULL ? NULL : name.data, &child, err);
    vmbi_buf_free(&name);
    if (code == VMB_OK) {
        vmbi_positions_link(j->p, parent, last, child);
    }
    return code;
}

static vmb_code place_value(json_places *j, vmbi_slice v, const char *key, uint32_t *out,
                            vmb_error **err)
{
    bool object = *v.p == '{';
    uint32_t last = 0;
    vmbi_jscan s;
    vmb_code code;

    vmbi_cursor_move(&j->cursor, v.p);
    code = vmbi_positions_add(j->p, key, j->cursor.line, j->cursor.column, out, err);
    if (code != VMB_OK || (!object && *v.p != '[')) {
        return code;
    }
    if (object ? !vmbi_jscan_object(&s, v.p, v.len) : !vmbi_jscan_array(&s, v.p, v.len)) {
        return vmbi_fail(err, VMB_E_INTERNAL, "places of a document: two parsers disagree");
    }
    for (;;) {
        vmbi_slice k = {NULL, 0};
        vmbi_slice child;
        int rc = object ? vmbi_jscan_member(&s, &k, &child) : vmbi_jscan_element(&s, &child);

        if (rc != 1) {
            return rc == 0 ? VMB_OK
                           : vmbi_fail(err, VMB_E_INTERNAL,
                                       "places of a document: two parsers disagree");
        }
        code = place_child(j, k, child, *out, &last, err);
        if (code != VMB_OK) {
            return code;
        }
    }
}

static vmb_code json_positions(const char *text, size_t len, vmbi_positions **out, vmb_error **err)
{
    json_places j = {NULL, {text, 1, 1}};
    const char *start = skip_space(text, text + len);
    vmb_code code = vmbi_positions_new(&j.p, err);

    if (code == VMB_OK) {
        code = place_value(&j, (vmbi_slice){start, (size_t)(text + len - start)}, NULL, &j.p->root,
                           err);
        if (code != VMB_OK) {
            vmbi_positions_free(j.p);
            return code;
        }
        *out = j.p;
    }
    return code;
}

static vmb_code parse_json(const char *text, size_t len, const char *what, vmbi_json **out,
                           vmbi_positions **positions, vmb_error **err)
{
    vmbi_json *v = NULL;
    vmb_code code = vmbi_json_parse(text, len, what, &v, err);

    if (code == VMB_OK && positions != NULL) {
        code = json_positions(text, len, positions, err);
    }
    if (code != VMB_OK) {
        vmbi_json_free(v);
        return code;
    }
    *out = v;
    return VMB_OK;
}

/* Exactly one document. An empty first one is passed over, as in "---\n---\nkind: Backup". */
static vmb_code parse_yaml(vmbi_yaml_reader *r, const char *what, vmbi_json **out,
                           vmbi_positions **positions, vmb_error **err)
{
    vmbi_json *doc = NULL, *more = NULL;
    vmbi_positions *places = NULL;
    int line = 0;
    vmb_code code;

    do {
        vmbi_json_free(doc);
        vmbi_positions_free(places);
        doc = NULL;
        places = NULL;
        code = vmbi_yaml_reader_next(r, &doc, &line, &places, err);
    } while (code == VMB_OK && doc != NULL && vmbi_json_is_null(doc));
    if (code == VMB_OK && doc == NULL) {
        code = vmbi_fail(err, VMB_E_PARSE, "%s: the document is empty", what);
    }
    while (code == VMB_OK) {
        code = vmbi_yaml_reader_next(r, &more, &line, NULL, err);
        if (code != VMB_OK || more == NULL) {
            break;
        }
        if (!vmbi_json_is_null(more)) {
            code = vmbi_fail(err, VMB_E_INVALID,
                             "%s: line %d: a second document begins where one is expected", what,
                             line);
        }
        vmbi_json_free(more);
    }
    if (code != VMB_OK) {
        vmbi_json_free(doc);
        vmbi_positions_free(places);
        return code;
    }
    if (positions != NULL) {
        *positions = places;
    } else {
        vmbi_positions_free(places);
    }
    *out = doc;
    return VMB_OK;
}

vmb_code vmbi_doc_parse(const char *text, size_t len, const char *what, vmbi_doc_hint hint,
                        vmbi_json **out, vmbi_positions **positions, vmb_error **err)
{
    vmbi_yaml_reader *r = NULL;
    vmb_code code;

    if (len == 0) {
        return vmbi_fail(err, VMB_E_PARSE, "%s: the document is empty", what);
    }
    code = check_text(text, len, VMBI_DOC_MAX_BYTES, what, err);
    if (code != VMB_OK) {
        return code;
    }
    skip_mark(&text, &len);
    if (is_json(text, len)) {
        return parse_json(text, len, what, out, positions, err);
    }
    code = vmbi_yaml_reader_new(text, len, what, hint, VMBI_DOC_MAX_NODES, &r, err);
    if (code == VMB_OK) {
        code = parse_yaml(r, what, out, positions, err);
    }
    vmbi_yaml_reader_free(r);
    return code;
}

/* Streams. */

static vmb_code give(vmbi_doc_fn fn, void *user, vmbi_json *doc, int line, vmb_error **err)
{
    vmb_code code = vmbi_json_is_null(doc) ? VMB_OK : fn(user, doc, line, err);

    vmbi_json_free(doc);
    return code < 0 ? code : VMB_OK;
}

/* JSON values one behind the other, with "---" lines between them allowed. */
static vmb_code stream_json(const char *text, size_t len, const char *what, vmbi_doc_fn fn,
                            void *user, vmb_error **err)
{
    const char *end = text + len;
    const char *p = skip_space(text, end);
    vmbi_cursor c = {text, 1, 1};
    vmb_code code = VMB_OK;

    while (p < end && code == VMB_OK) {
        const char *next = vmbi_jscan_skip(p, end);
        vmbi_json *doc = NULL;

        vmbi_cursor_move(&c, p);
        if (next == NULL) {
            next = end; /* the parser will say why */
        }
        code = vmbi_json_parse_from(p, (size_t)(next - p), what, c.line, &doc, err);
        if (code == VMB_OK) {
            code = give(fn, user, doc, c.line, err);
        }
        p = skip_space(next, end);
        if (end - p >= 3 && memcmp(p, "---", 3) == 0) {
            p = skip_space(p + 3, end);
        }
    }
    return code;
}

static vmb_code stream_yaml(const char *text, size_t len, const char *what, vmbi_doc_fn fn,
                            void *user, vmb_error **err)
{
    vmbi_yaml_reader *r = NULL;
    /* Lists of many objects are honest: what the text can hold without aliases is allowed. */
    size_t max_nodes = len > VMBI_DOC_MAX_NODES ? len : VMBI_DOC_MAX_NODES;
    vmb_code code = vmbi_yaml_reader_new(text, len, what, NULL, max_nodes, &r, err);

    while (code == VMB_OK) {
        vmbi_json *doc = NULL;
        int line = 0;

        code = vmbi_yaml_reader_next(r, &doc, &line, NULL, err);
        if (code != VMB_OK || doc == NULL) {
            break;
        }
        code = give(fn, user, doc, line, err);
    }
    vmbi_yaml_reader_free(r);
    return code;
}

vmb_code vmbi_doc_parse_stream(const char *text, size_t len, const char *what, vmbi_doc_fn fn,
                               void *user, vmb_error **err)
{
    vmb_code code = check_text(text, len, VMBI_DOC_STREAM_MAX_BYTES, what, err);

    if (code != VMB_OK || len == 0) {
        return code;
    }
    skip_mark(&text, &len);
    return is_json(text, len) ? stream_json(text, len, what, fn, user, err)
                              : stream_yaml(text, len, what, fn, user, err);
}
