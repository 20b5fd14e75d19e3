/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/xml.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/xmlreader.h>

#include "base/error.h"
#include "base/strs.h"

enum { MAX_DEPTH = 16, MAX_TEXT = 64 * 1024, MAX_PATH = 512 };

static pthread_once_t xml_once = PTHREAD_ONCE_INIT;

static void init_xml(void)
{
    xmlInitParser();
}

static void ignore_error(void *user, const char *msg, xmlParserSeverities severity,
                         xmlTextReaderLocatorPtr locator)
{
    (void)user; /* libxml2 would print to stderr */
    (void)msg;
    (void)severity;
    (void)locator;
}

struct walk {
    vmbi_buf path;
    vmbi_buf text;
    size_t starts[MAX_DEPTH]; /* length of path before each open element */
    size_t depth;
    vmbi_s3_xml_fn fn;
    void *user;
    const char *what;
};

static vmb_code malformed(const struct walk *w, vmb_error **err)
{
    return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is no acceptable XML", w->what);
}

static vmb_code enter(struct walk *w, xmlTextReaderPtr r, vmb_error **err)
{
    const char *name = (const char *)xmlTextReaderConstLocalName(r);

    if (!name || w->depth >= MAX_DEPTH) {
        return malformed(w, err);
    }
    w->starts[w->depth++] = w->path.len;
    if (w->path.len > 0) {
        vmbi_buf_addc(&w->path, '/');
    }
    vmbi_buf_adds(&w->path, name);
    vmbi_buf_reset(&w->text);
    return w->path.status == VMB_OK ? VMB_OK : malformed(w, err);
}

static vmb_code leave(struct walk *w, vmb_error **err)
{
    vmb_code code = VMB_OK;

    if (w->depth == 0 || w->text.status != VMB_OK) {
        return malformed(w, err);
    }
    vmbi_buf_add(&w->text, "", 0); /* so that there is text, if only a NUL */
    code = vmbi_buf_check(&w->text, err, w->what);
    if (code == VMB_OK) {
        code = w->fn(w->user, w->path.data, w->text.data ? w->text.data : "", err);
    }
    w->path.len = w->starts[--w->depth];
    w->path.data[w->path.len] = '\0';
    vmbi_buf_reset(&w->text);
    return code;
}

static vmb_code node(struct walk *w, xmlTextReaderPtr r, vmb_error **err)
{
    const int type = xmlTextReaderNodeType(r);
    vmb_code code = VMB_OK;

    if (type == XML_READER_TYPE_ELEMENT) {
        const int empty = xmlTextReaderIsEmptyElement(r);

        code = enter(w, r, err);
        return code == VMB_OK && empty == 1 ? leave(w, err) : code;
    }
    if (type == XML_READER_TYPE_END_ELEMENT) {
        return leave(w, err);
    }
    if (type == XML_READER_TYPE_TEXT || type == XML_READER_TYPE_CDATA ||
        type == XML_READER_TYPE_SIGNIFICANT_WHITESPACE) {
        const char *value = (const char *)xmlTextReaderConstValue(r);

        vmbi_buf_adds(&w->text, value ? value : "");
        return w->text.status == VMB_OK ? VMB_OK : malformed(w, err);
    }
    if (type == XML_READER_TYPE_DOCUMENT_TYPE || type == XML_READER_TYPE_ENTITY_REFERENCE) {
        return malformed(w, err);
    }
    return VMB_OK; /* comments, processing instructions */
}

/* The parser wants "<?xml" at the first byte: white space before it is dropped, and the
 * declaration may be followed by as much as the server likes. */
static void skip_space(const char **xml, size_t *len)
{
    if (*len >= 3 && memcmp(*xml, "\xef\xbb\xbf", 3) == 0) {
        *xml += 3;
        *len -= 3;
    }
    while (*len > 0 && vmbi_is_space(**xml)) {
        (*xml)++;
        (*len)--;
    }
}

vmb_code vmbi_s3_xml_walk(const char *xml, size_t len, const char *what, vmbi_s3_xml_fn fn,
                          void *user, vmb_error **err)
{
    struct walk w = {.path = VMBI_BUF_INIT(MAX_PATH),
                     .text = VMBI_BUF_INIT(MAX_TEXT),
                     .fn = fn,
                     .user = user,
                     .what = what};
    xmlTextReaderPtr r = NULL;
    vmb_code code = VMB_OK;
    int more = 0;

    (void)pthread_once(&xml_once, init_xml);
    skip_space(&xml, &len);
    if (len == 0 || len > INT_MAX || xml[0] != '<') {
        return malformed(&w, err);
    }
    r = xmlReaderForMemory(xml, (int)len, NULL, NULL,
                           XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (!r) {
        return vmbi_fail_nomem(err);
    }
    xmlTextReaderSetErrorHandler(r, ignore_error, NULL);
    while (code == VMB_OK && (more = xmlTextReaderRead(r)) == 1) {
        code = node(&w, r, err);
    }
    if (code == VMB_OK && (more != 0 || w.depth != 0)) {
        code = malformed(&w, err);
    }
    xmlFreeTextReader(r);
    vmbi_buf_free(&w.path);
    vmbi_buf_free(&w.text);
    return code;
}

struct find {
    const char *path;
    char *out;
    size_t size;
    bool found;
};

static vmb_code find_text(void *user, const char *path, const char *text, vmb_error **err)
{
    struct find *f = user;
    size_t len = strlen(text);

    (void)err;
    if (f->found || strcmp(path, f->path) != 0) {
        return VMB_OK;
    }
    while (len > 0 && vmbi_is_space(*text)) {
        text++;
        len--;
    }
    while (len > 0 && vmbi_is_space(text[len - 1])) {
        len--;
    }
    if (len < f->size) {
        memcpy(f->out, text, len);
        f->out[len] = '\0';
        f->found = true;
    }
    return VMB_OK;
}

bool vmbi_s3_xml_text(const char *xml, size_t len, const char *path, char *out, size_t size)
{
    struct find f = {path, out, size, false};

    return xml && vmbi_s3_xml_walk(xml, len, "answer", find_text, &f, NULL) == VMB_OK && f.found;
}

static vmb_code find_root(void *user, const char *path, const char *text, vmb_error **err)
{
    struct find *f = user;
    const size_t len = strlen(path);

    (void)text;
    (void)err;
    if (!strchr(path, '/') && len < f->size) {
        memcpy(f->out, path, len + 1);
        f->found = true;
    }
    return VMB_OK;
}

bool vmbi_s3_xml_root(const char *xml, size_t len, char *out, size_t size)
{
    struct find f = {NULL, out, size, false};

    return xml && vmbi_s3_xml_walk(xml, len, "answer", find_root, &f, NULL) == VMB_OK && f.found;
}

void vmbi_s3_xml_escape(vmbi_buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            vmbi_buf_adds(out, "&amp;");
            break;
        case '<':
            vmbi_buf_adds(out, "&lt;");
            break;
        case '>':
            vmbi_buf_adds(out, "&gt;");
            break;
        case '"':
            vmbi_buf_adds(out, "&quot;");
            break;
        default:
            vmbi_buf_addc(out, *text);
        }
    }
}
