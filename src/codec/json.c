/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/json_read.h"

/* jansson's own allocator stays malloc: its hook is process-wide, and a library must not take it
 * away from its program. */

enum { MAX_PATH_KEY = 128 };

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed(void)
{
    json_object_seed(0);
}

/* jansson seeds its hash tables with the first object, without a lock. */
static void prepare(void)
{
    (void)pthread_once(&seed_once, seed);
}

/* jansson's getters want plain pointers where nothing is changed. */
static json_t *unconst(const vmbi_json *v)
{
    return (json_t *)(uintptr_t)v;
}

/* Parsing. */

/* Place of a byte of the text. */
static void locate(const char *text, const char *at, int *line, int *column)
{
    *column = 1;
    for (const char *p = text; p < at; p++) {
        if (*p == '\n') {
            *line += 1;
            *column = 1;
        } else if (((unsigned char)*p & 0xc0) != 0x80) {
            *column += 1;
        }
    }
}

/* Behind a string that opened before p; end when it is not closed. */
static const char *pass_string(const char *p, const char *end)
{
    while (p < end && *p != '"') {
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    }
    return p < end ? p + 1 : end;
}

/* What the parser must not see: nesting beyond the limit, since it recurses, and NUL bytes, which
 * jansson passes over between tokens. NULL when there is nothing, else the place. */
static const char *find_unfit(const char *text, size_t len)
{
    const char *end = text + len;
    const char *nul = memchr(text, '\0', len);
    int depth = 0;

    for (const char *p = text; p < end;) {
        char c = *p++;

        if (c == '"') {
            p = pass_string(p, end);
        } else if (c == '{' || c == '[') {
            if (++depth > VMBI_JSON_MAX_DEPTH) {
                return p - 1;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return nul;
}

static vmb_code fail_unfit(vmb_error **err, const char *what, int line, const char *text,
                           const char *at)
{
    int column;

    locate(text, at, &line, &column);
    return *at == '\0' ? vmbi_fail(err, VMB_E_PARSE, "%s: line %d column %d: a NUL byte", what,
                                   line, column)
                       : vmbi_fail(err, VMB_E_LIMIT, "%s: line %d column %d: nested too deeply",
                                   what, line, column);
}

static bool is_number_byte(char c)
{
    return vmbi_is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Copies the text, writing integers beyond int64 as reals ("…e0"), as Kubernetes reads them. */
static void copy_with_reals(const char *text, size_t len, vmbi_buf *out)
{
    const char *end = text + len;
    const char *p = text;

    while (p < end) {
        const char *q = p;
        int64_t ignored;

        if (*p == '"') {
            q = pass_string(p + 1, end);
            vmbi_buf_add(out, p, (size_t)(q - p));
        } else if (is_number_byte(*p)) {
            while (q < end && is_number_byte(*q)) {
                q++;
            }
            size_t n = (size_t)(q - p);
            vmbi_buf_add(out, p, n);
            if (memchr(p, '.', n) == NULL && memchr(p, 'e', n) == NULL &&
                memchr(p, 'E', n) == NULL && !vmbi_parse_i64(p, n, &ignored)) {
                vmbi_buf_adds(out, "e0");
            }
        } else {
            vmbi_buf_addc(out, *p);
            q = p + 1;
        }
        p = q;
    }
}

/* jansson quotes the text near an error. Documents may hold secrets: of that only the key that
 * stands twice is kept. */
static vmb_code fail_parse(vmb_error **err, const char *what, int first_line, const json_error_t *e)
{
    const char *near = strstr(e->text, " near '");
    size_t n = strlen(e->text);

    if (json_error_code(e) == json_error_out_of_memory) {
        return vmbi_fail_nomem(err);
    }
    if (near != NULL && json_error_code(e) != json_error_duplicate_key) {
        n = (size_t)(near - e->text);
    }
    return vmbi_fail(err, VMB_E_PARSE, "%s: line %d column %d: %.*s", what,
                     e->line + first_line - 1, e->column > 0 ? e->column : 1, (int)n, e->text);
}

vmb_code vmbi_json_parse_from(const char *text, size_t len, const char *what, int first_line,
                              vmbi_json **out, vmb_error **err)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    const char *unfit;
    json_error_t e;
    json_t *v;

    if (len == 0) {
        text = ""; /* it may be NULL */
    }
    unfit = find_unfit(text, len);
    if (unfit != NULL) {
        return fail_unfit(err, what, first_line, text, unfit);
    }
    prepare();
    vmb_code code = vmbi_json_read(text, len, out);
    if (code != VMB_E_PARSE) {
        return code == VMB_OK ? VMB_OK : vmbi_fail_nomem(err);
    }
    memset(&e, 0, sizeof(e)); /* jansson leaves it alone when memory is out */
    v = json_loadb(text, len, flags, &e);
    if (v == NULL && json_error_code(&e) == json_error_numeric_overflow) {
        vmbi_buf copy = VMBI_BUF_INIT(len * 2 + 2);

        copy_with_reals(text, len, &copy);
        if (copy.status != VMB_OK) {
            vmbi_buf_free(&copy);
            return vmbi_fail_nomem(err);
        }
        v = json_loadb(copy.data, copy.len, flags, &e);
        vmbi_buf_free(&copy);
    }
    if (v == NULL) {
        return e.text[0] == '\0' ? vmbi_fail_nomem(err) : fail_parse(err, what, first_line, &e);
    }
    *out = v;
    return VMB_OK;
}

vmb_code vmbi_json_parse(const char *text, size_t len, const char *what, vmbi_json **out,
                         vmb_error **err)
{
    return vmbi_json_parse_from(text, len, what, 1, out, err);
}

void vmbi_json_free(vmbi_json *v)
{
    json_decref(v);
}

vmbi_json *vmbi_json_ref(vmbi_json *v)
{
    return json_incref(v);
}

vmbi_json *vmbi_json_copy(const vmbi_json *v)
{
    return json_deep_copy(v);
}

bool vmbi_json_equal(const vmbi_json *a, const vmbi_json *b)
{
    return json_equal(a, b) != 0;
}

/* Types. */

bool vmbi_json_is_object(const vmbi_json *v)
{
    return json_is_object(v);
}

bool vmbi_json_is_array(const vmbi_json *v)
{
    return json_is_array(v);
}

bool vmbi_json_is_string(const vmbi_json *v)
{
    return json_is_string(v);
}

bool vmbi_json_is_int(const vmbi_json *v)
{
    return json_is_integer(v);
}

bool vmbi_json_is_real(const vmbi_json *v)
{
    return json_is_real(v);
}

bool vmbi_json_is_bool(const vmbi_json *v)
{
    return json_is_boolean(v);
}

bool vmbi_json_is_null(const vmbi_json *v)
{
    return v == NULL || json_is_null(v);
}

const char *vmbi_json_type_name(const vmbi_json *v)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer", [JSON_REAL] = "number", [JSON_TRUE] = "boolean",
        [JSON_FALSE] = "boolean",   [JSON_NULL] = "null",
    };

    return v == NULL ? "nothing" : names[json_typeof(v)];
}

/* Reading. */

vmbi_json *vmbi_json_get(const vmbi_json *obj, const char *key)
{
    return json_object_get(obj, key);
}

vmbi_json *vmbi_json_path(const vmbi_json *obj, const char *path)
{
    const json_t *v = obj;

    while (v != NULL) {
        size_t n = strcspn(path, ".");
        char key[MAX_PATH_KEY];

        if (n >= sizeof(key)) {
            return NULL;
        }
        memcpy(key, path, n);
        key[n] = '\0';
        v = json_object_get(v, key);
        if (path[n] == '\0') {
            break;
        }
        path += n + 1;
    }
    return unconst(v);
}

const char *vmbi_json_str(const vmbi_json *v)
{
    return json_string_value(v);
}

size_t vmbi_json_str_len(const vmbi_json *v)
{
    return json_string_length(v);
}

const char *vmbi_json_path_str(const vmbi_json *obj, const char *path)
{
    return json_string_value(vmbi_json_path(obj, path));
}

const char *vmbi_json_get_str(const vmbi_json *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

int64_t vmbi_json_int(const vmbi_json *v, int64_t dflt)
{
    return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool vmbi_json_bool(const vmbi_json *v, bool dflt)
{
    return json_is_boolean(v) ? json_is_true(v) : dflt;
}

double vmbi_json_real(const vmbi_json *v, double dflt)
{
    return json_is_number(v) ? json_number_value(v) : dflt;
}

size_t vmbi_json_len(const vmbi_json *v)
{
    return json_is_array(v) ? json_array_size(v) : json_object_size(v);
}

vmbi_json *vmbi_json_at(const vmbi_json *arr, size_t i)
{
    return json_array_get(arr, i);
}

void *vmbi_json_iter(const vmbi_json *obj)
{
    return json_object_iter(unconst(obj));
}

void *vmbi_json_iter_next(const vmbi_json *obj, void *it)
{
    return json_object_iter_next(unconst(obj), it);
}

const char *vmbi_json_iter_key(void *it)
{
    return json_object_iter_key(it);
}

vmbi_json *vmbi_json_iter_value(void *it)
{
    return json_object_iter_value(it);
}

/* Building. */

vmbi_json *vmbi_json_object(void)
{
    prepare();
    return json_object();
}

vmbi_json *vmbi_json_array(void)
{
    return json_array();
}

vmbi_json *vmbi_json_string(const char *s)
{
    return json_string(s);
}

vmbi_json *vmbi_json_stringn(const char *s, size_t len)
{
    return json_stringn(len == 0 ? "" : s, len);
}

vmbi_json *vmbi_json_integer(int64_t i)
{
    return json_integer(i);
}

vmbi_json *vmbi_json_boolean(bool b)
{
    return json_boolean(b);
}

vmbi_json *vmbi_json_null(void)
{
    return json_null();
}

vmbi_json *vmbi_json_from_double(double d)
{
    return json_real(d);
}

vmbi_json *vmbi_json_string_array(const vmbi_strs *l)
{
    json_t *arr = json_array();
    bool ok = arr != NULL;

    for (size_t i = 0; ok && i < l->n; i++) {
        ok = vmbi_json_append_str(arr, l->v[i]);
    }
    if (!ok) {
        json_decref(arr);
        return NULL;
    }
    return arr;
}

bool vmbi_json_set(vmbi_json *obj, const char *key, vmbi_json *v)
{
    return json_object_set_new(obj, key, v) == 0;
}

bool vmbi_json_set_str(vmbi_json *obj, const char *key, const char *s)
{
    return json_object_set_new(obj, key, json_string(s)) == 0;
}

bool vmbi_json_set_int(vmbi_json *obj, const char *key, int64_t i)
{
    return json_object_set_new(obj, key, json_integer(i)) == 0;
}

bool vmbi_json_set_bool(vmbi_json *obj, const char *key, bool b)
{
    return json_object_set_new(obj, key, json_boolean(b)) == 0;
}

bool vmbi_json_append(vmbi_json *arr, vmbi_json *v)
{
    return json_array_append_new(arr, v) == 0;
}

bool vmbi_json_append_str(vmbi_json *arr, const char *s)
{
    return json_array_append_new(arr, json_string(s)) == 0;
}

vmbi_json *vmbi_json_strings(const char *const *v, size_t n)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        ok = vmbi_json_append_str(list, v[i]);
    }
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

void vmbi_json_del(vmbi_json *obj, const char *key)
{
    (void)json_object_del(obj, key); /* an absent key is as good as a deleted one */
}

bool vmbi_json_set_at(vmbi_json *arr, size_t i, vmbi_json *v)
{
    return json_array_set_new(arr, i, v) == 0;
}

void vmbi_json_wipe(vmbi_json *v)
{
    const char *s = json_string_value(v);
    void *bytes = NULL;

    if (s != NULL) {
        memcpy(&bytes, &s, sizeof(bytes)); /* the tree's own memory: const for readers only */
        explicit_bzero(bytes, json_string_length(v));
    }
}

void vmbi_json_del_at(vmbi_json *arr, size_t i)
{
    (void)json_array_remove(arr, i);
}

vmbi_json *vmbi_json_ensure_object(vmbi_json *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);

    if (json_is_object(v)) {
        return v;
    }
    v = vmbi_json_object();
    return vmbi_json_set(obj, key, v) ? v : NULL;
}

/* RFC 7386, section 2. */
static bool merge(json_t *target, const vmbi_json *patch, int depth)
{
    if (depth > VMBI_JSON_MAX_DEPTH) {
        return false;
    }
    for (void *it = vmbi_json_iter(patch); it != NULL; it = vmbi_json_iter_next(patch, it)) {
        const char *key = json_object_iter_key(it);
        json_t *value = json_object_iter_value(it);
        bool ok = true;

        if (json_is_null(value)) {
            vmbi_json_del(target, key);
        } else if (json_is_object(value)) {
            json_t *sub = vmbi_json_ensure_object(target, key);
            ok = sub != NULL && merge(sub, value, depth + 1);
        } else {
            ok = vmbi_json_set(target, key, json_deep_copy(value));
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool vmbi_json_merge_patch(vmbi_json *target, const vmbi_json *patch)
{
    return json_is_object(target) && json_is_object(patch) && target != patch &&
           merge(target, patch, 1);
}
