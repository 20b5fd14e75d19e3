/* SPDX-License-Identifier: Apache-2.0 */
#include "api/repo_options.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/duration.h"
#include "model/fields.h"

enum {
    MAX_DOCUMENT = 4 << 20,
    MAX_LIST = 10000,
    MAX_STRING = 4096, /* PATH_MAX of Linux */
    MAX_OPTIONS = 64
};

typedef struct reading {
    const char *what;
    const char *name; /* of the option */
    vmb_error **err;
} reading;

static vmb_code wrong_type(const reading *x, const vmbi_json *v, const char *wanted)
{
    return vmbi_fail(x->err, VMB_E_ARG, "%s: \"%s\" must be %s, not %s", x->what, x->name, wanted,
                     vmbi_json_type_name(v));
}

static vmb_code unknown(const reading *x, const vmbi_option *table, size_t n)
{
    vmbi_field names[MAX_OPTIONS + 1] = {{0}};
    vmbi_buf known = VMBI_BUF_INIT(2048);
    const char *nearest = NULL;

    for (size_t i = 0; i < n && i < MAX_OPTIONS; i++) {
        names[i].name = table[i].name;
        vmbi_buf_addf(&known, "%s%s", i == 0 ? "" : ", ", table[i].name);
    }
    nearest = vmbi_fields_nearest(names, x->name);
    vmb_code rc =
        vmbi_fail(x->err, VMB_E_ARG, "%s: option \"%.64s\" is unknown%s%s%s; known are %s", x->what,
                  x->name, nearest != NULL ? ", did you mean \"" : "",
                  nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "",
                  n == 0          ? "none"
                  : known.len > 0 ? known.data
                                  : "…");
    vmbi_buf_free(&known);
    return rc;
}

static vmb_code read_string(const reading *x, const vmbi_json *v, bool may_be_empty,
                            const char **out)
{
    const char *s = vmbi_json_str(v);

    if (s == NULL) {
        return wrong_type(x, v, "a string");
    }
    if (s[0] == '\0' && !may_be_empty) {
        return vmbi_fail(x->err, VMB_E_ARG, "%s: \"%s\" is empty", x->what, x->name);
    }
    if (vmbi_json_str_len(v) > MAX_STRING) {
        return vmbi_fail(x->err, VMB_E_ARG, "%s: \"%s\" has more than %d bytes", x->what, x->name,
                         MAX_STRING);
    }
    *out = s;
    return VMB_OK;
}

static vmb_code read_int(const reading *x, const vmbi_json *v, const vmbi_option *o, int64_t *out)
{
    if (!vmbi_json_is_int(v)) {
        return wrong_type(x, v, "a whole number");
    }
    int64_t i = vmbi_json_int(v, 0);
    if (i < o->min || i > o->max) {
        return vmbi_fail(x->err, VMB_E_ARG, "%s: \"%s\" is %lld, allowed are %lld to %lld", x->what,
                         x->name, (long long)i, (long long)o->min, (long long)o->max);
    }
    *out = i;
    return VMB_OK;
}

static vmb_code read_duration(const reading *x, const vmbi_json *v, int64_t *out)
{
    const char *s = vmbi_json_str(v);
    int64_t ns = 0;

    if (s == NULL) {
        return wrong_type(x, v, "a Go duration such as \"30s\" or \"1h30m\"");
    }
    if (!vmbi_duration_parse(s, &ns) || ns < 0) {
        return vmbi_fail(x->err, VMB_E_ARG,
                         "%s: \"%s\": \"%.64s\" is not a Go duration such as \"30s\" or \"1h30m\"",
                         x->what, x->name, s);
    }
    *out = ns;
    return VMB_OK;
}

static vmb_code read_time(const reading *x, const vmbi_json *v, int64_t *out)
{
    const char *s = vmbi_json_str(v);
    int64_t ns = 0;

    if (s == NULL) {
        return wrong_type(x, v, "a time such as \"2026-05-20T08:00:22Z\"");
    }
    if (!vmbi_parse_rfc3339(s, &ns)) {
        return vmbi_fail(x->err, VMB_E_ARG,
                         "%s: \"%s\": \"%.64s\" is not a time such as \"2026-05-20T08:00:22Z\"",
                         x->what, x->name, s);
    }
    *out = ns;
    return VMB_OK;
}

/* A list of tags becomes the string "a,b", which takes the list's place in the document. */
static vmb_code join_tags(const reading *x, vmbi_json *list, size_t at)
{
    const vmbi_json *tags = vmbi_json_at(list, at);
    vmbi_buf joined = VMBI_BUF_INIT(MAX_STRING);
    vmb_code rc = VMB_OK;

    for (size_t i = 0; i < vmbi_json_len(tags) && rc == VMB_OK; i++) {
        const char *tag = vmbi_json_str(vmbi_json_at(tags, i));

        if (tag == NULL || strchr(tag, ',') != NULL) {
            rc = vmbi_fail(x->err, VMB_E_ARG,
                           "%s: \"%s\": a list of tags holds strings without commas", x->what,
                           x->name);
        } else {
            vmbi_buf_addf(&joined, "%s%s", i == 0 ? "" : ",", tag);
        }
    }
    if (rc == VMB_OK) {
        rc = vmbi_buf_check(&joined, x->err, x->name);
    }
    if (rc == VMB_OK &&
        !vmbi_json_set_at(list, at, vmbi_json_string(joined.len > 0 ? joined.data : ""))) {
        rc = vmbi_fail_nomem(x->err);
    }
    vmbi_buf_free(&joined);
    return rc;
}

static vmb_code read_list(const reading *x, vmbi_json *v, bool tags, vmbi_option_list *out)
{
    vmbi_option_list l = {NULL, vmbi_json_is_array(v) ? vmbi_json_len(v) : 1};
    vmb_code rc = VMB_OK;

    if (!vmbi_json_is_array(v) && !vmbi_json_is_string(v)) {
        return wrong_type(x, v, "a list of strings");
    }
    if (l.n > MAX_LIST) {
        return vmbi_fail(x->err, VMB_E_ARG, "%s: \"%s\" has more than %d elements", x->what,
                         x->name, MAX_LIST);
    }
    l.v = vmbi_alloc_array(l.n, sizeof(*l.v));
    if (l.v == NULL) {
        return vmbi_fail_nomem(x->err);
    }
    for (size_t i = 0; i < l.n && rc == VMB_OK; i++) {
        if (tags && vmbi_json_is_array(vmbi_json_at(v, i))) {
            rc = join_tags(x, v, i);
        }
        if (rc == VMB_OK) {
            rc = read_string(x, vmbi_json_is_array(v) ? vmbi_json_at(v, i) : v, tags, &l.v[i]);
        }
    }
    if (rc != VMB_OK) {
        vmbi_free((void *)l.v);
        return rc;
    }
    vmbi_free((void *)out->v); /* of a former option with the same field */
    *out = l;
    return VMB_OK;
}

static vmb_code read_one(const reading *x, vmbi_json *v, const vmbi_option *o, void *field)
{
    switch (o->kind) {
    case VMBI_OPTION_BOOL:
        if (!vmbi_json_is_bool(v)) {
            return wrong_type(x, v, "true or false");
        }
        *(bool *)field = vmbi_json_bool(v, false);
        return VMB_OK;
    case VMBI_OPTION_INT:
        return read_int(x, v, o, field);
    case VMBI_OPTION_STRING:
        return read_string(x, v, o->min == -1, field);
    case VMBI_OPTION_STRINGS:
    case VMBI_OPTION_TAGS:
        return read_list(x, v, o->kind == VMBI_OPTION_TAGS, field);
    case VMBI_OPTION_DURATION:
        return read_duration(x, v, field);
    case VMBI_OPTION_TIME:
        return read_time(x, v, field);
    }
    return vmbi_fail(x->err, VMB_E_INTERNAL, "%s: \"%s\" has no type", x->what, x->name);
}

static void *field_of(void *out, const vmbi_option *o)
{
    return (char *)out + o->offset;
}

static vmb_code read_all(reading *x, vmbi_json *doc, const vmbi_option *table, size_t n, void *out)
{
    vmb_code rc = VMB_OK;

    for (void *it = vmbi_json_iter(doc); it != NULL && rc == VMB_OK;
         it = vmbi_json_iter_next(doc, it)) {
        vmbi_json *v = vmbi_json_iter_value(it);
        size_t i = 0;

        x->name = vmbi_json_iter_key(it);
        while (i < n && strcmp(table[i].name, x->name) != 0) {
            i++;
        }
        if (i == n) {
            rc = unknown(x, table, n);
        } else if (!vmbi_json_is_null(v)) {
            rc = read_one(x, v, &table[i], field_of(out, &table[i]));
        }
    }
    return rc;
}

vmb_code vmbi_options_read(const char *text, size_t len, const char *what, const vmbi_option *table,
                           size_t n, void *out, vmbi_json **doc, vmb_error **err)
{
    reading x = {what, "", err};
    vmbi_json *v = NULL;
    vmb_code rc = VMB_OK;

    *doc = NULL;
    if (text == NULL || len == 0) {
        return VMB_OK;
    }
    if (len > MAX_DOCUMENT) {
        return vmbi_fail(err, VMB_E_ARG, "%s: more than %d MiB", what, MAX_DOCUMENT >> 20);
    }
    rc = vmbi_json_parse(text, len, what, &v, err);
    if (rc == VMB_OK && !vmbi_json_is_object(v)) {
        rc = vmbi_fail(err, VMB_E_ARG, "%s: must be an object, not %s", what,
                       vmbi_json_type_name(v));
    }
    if (rc == VMB_OK) {
        rc = read_all(&x, v, table, n, out);
    }
    if (rc != VMB_OK) {
        vmbi_options_done(table, n, out, v);
        return rc;
    }
    *doc = v;
    return VMB_OK;
}

void vmbi_options_done(const vmbi_option *table, size_t n, void *out, vmbi_json *doc)
{
    for (size_t i = 0; i < n; i++) {
        if (table[i].kind == VMBI_OPTION_STRINGS || table[i].kind == VMBI_OPTION_TAGS) {
            vmbi_option_list *l = field_of(out, &table[i]);

            vmbi_free((void *)l->v);
            *l = (vmbi_option_list){NULL, 0};
        }
    }
    vmbi_json_free(doc);
}
