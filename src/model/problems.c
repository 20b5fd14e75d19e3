/* SPDX-License-Identifier: Apache-2.0 */
#include "model/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"

enum { MESSAGE_MAX = 1024 };

static void problem_done(vmbi_problem *p)
{
    vmbi_free(p->field);
    vmbi_free(p->message);
    vmbi_free(p->remedy);
}

void vmbi_problems_free(vmbi_problems *p)
{
    for (size_t i = 0; i < p->n; i++) {
        problem_done(&p->v[i]);
    }
    vmbi_free(p->v);
    *p = (vmbi_problems){0};
}

static bool grow(vmbi_problems *p)
{
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 8 : p->cap * 2;
        vmbi_problem *v = vmbi_realloc_array(p->v, cap, sizeof(*v));

        if (v == NULL) {
            return false;
        }
        p->v = v;
        p->cap = cap;
    }
    return true;
}

/* vsnprintf cuts bytes; a cut within a character would make the report invalid UTF-8. */
static void trim_cut_character(char *s)
{
    size_t len = strlen(s);
    size_t tail = 0;

    if (vmbi_utf8_valid(s, len)) {
        return;
    }
    while (tail < 4 && tail < len && ((uint8_t)s[len - tail - 1] & 0xC0) == 0x80) {
        tail++;
    }
    if (tail < len && ((uint8_t)s[len - tail - 1] & 0xC0) == 0xC0) {
        s[len - tail - 1] = '\0';
    }
}

static void VMBI_PRINTF(7, 0)
    add(vmbi_problems *p, bool is_error, int line, int column, const char *field,
        const char *remedy, const char *fmt, va_list args)
{
    vmbi_problem made = {.is_error = is_error, .line = line, .column = column};
    char text[MESSAGE_MAX];

    p->errors += is_error ? 1 : 0;
    if (p->status != VMB_OK || p->n == VMBI_PROBLEMS_MAX) {
        return;
    }
    (void)vsnprintf(text, sizeof(text), fmt, args);
    trim_cut_character(text);
    made.field = vmbi_strdup(field);
    made.message = vmbi_strdup(text);
    made.remedy = vmbi_strdup(remedy != NULL ? remedy : "");
    if (made.field == NULL || made.message == NULL || made.remedy == NULL || !grow(p)) {
        problem_done(&made);
        p->status = VMB_E_NOMEM;
        return;
    }
    p->v[p->n++] = made;
}

/* Place of a field, or of the nearest parent that the text has (for fields that are missing). */
static void find_place(const vmbi_positions *places, const char *field, int *line, int *column)
{
    char path[512];
    size_t len = strlen(field);

    if (places == NULL || len >= sizeof(path)) {
        return;
    }
    memcpy(path, field, len + 1);
    while (!vmbi_positions_find(places, path, line, column) && len > 0) {
        while (len > 0 && path[len - 1] != '.' && path[len - 1] != '[') {
            len--;
        }
        len -= len > 0 ? 1 : 0;
        path[len] = '\0';
    }
}

void vmbi_problems_add(vmbi_problems *p, bool is_error, const char *field, const char *remedy,
                       const char *fmt, ...)
{
    va_list args;
    int line = 0;
    int column = 0;

    if (p->n < VMBI_PROBLEMS_MAX) {
        find_place(p->places, field, &line, &column);
    }
    va_start(args, fmt);
    add(p, is_error, line, column, field, remedy, fmt, args);
    va_end(args);
}

void vmbi_problems_add_at(vmbi_problems *p, bool is_error, int line, int column, const char *field,
                          const char *remedy, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(p, is_error, line, column, field, remedy, fmt, args);
    va_end(args);
}

static int compare(const vmbi_problem *a, const vmbi_problem *b)
{
    if (a->is_error != b->is_error) {
        return a->is_error ? -1 : 1;
    }
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    return a->column == b->column ? 0 : (a->column < b->column ? -1 : 1);
}

/* At most VMBI_PROBLEMS_MAX entries: insertion keeps the order of equals. */
void vmbi_problems_sort(vmbi_problems *p)
{
    for (size_t i = 1; i < p->n; i++) {
        vmbi_problem x = p->v[i];
        size_t j = i;

        for (; j > 0 && compare(&p->v[j - 1], &x) > 0; j--) {
            p->v[j] = p->v[j - 1];
        }
        p->v[j] = x;
    }
}

static void print_one(vmbi_buf *b, const vmbi_problem *p)
{
    vmbi_buf_addf(b, "{\"severity\":\"%s\",\"line\":%d,\"column\":%d,\"field\":",
                  p->is_error ? "error" : "warning", p->line, p->column);
    vmbi_buf_add_json_string(b, p->field, strlen(p->field));
    vmbi_buf_adds(b, ",\"message\":");
    vmbi_buf_add_json_string(b, p->message, strlen(p->message));
    vmbi_buf_adds(b, ",\"remedy\":");
    vmbi_buf_add_json_string(b, p->remedy, strlen(p->remedy));
    vmbi_buf_addc(b, '}');
}

vmb_code vmbi_problems_to_json(const vmbi_problems *p, char **out, size_t *out_len, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(64 * 1024 * 1024);
    vmb_code code;

    vmbi_buf_adds(&b, "{\"problems\":[");
    for (size_t i = 0; i < p->n; i++) {
        if (i > 0) {
            vmbi_buf_addc(&b, ',');
        }
        print_one(&b, &p->v[i]);
    }
    vmbi_buf_adds(&b, "]}");
    code = vmbi_buf_take(&b, out, out_len, err, "validation report");
    vmbi_buf_free(&b);
    return code;
}

static const vmbi_problem *first_error(const vmbi_problems *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->v[i].is_error) {
            return &p->v[i];
        }
    }
    return NULL;
}

vmb_code vmbi_problems_check(const vmbi_problems *p, const char *source, vmb_error **err)
{
    const vmbi_problem *first = first_error(p);
    char place[64] = "";
    char more[64] = "";

    if (p->status == VMB_E_NOMEM) {
        return vmbi_fail_nomem(err);
    }
    if (p->errors == 0) {
        return VMB_OK;
    }
    if (first == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: %zu problems", source, p->errors);
    }
    if (first->line > 0) {
        (void)snprintf(place, sizeof(place), "line %d column %d: ", first->line, first->column);
    }
    if (p->errors > 1) {
        (void)snprintf(more, sizeof(more), " (and %zu more)", p->errors - 1);
    }
    return vmbi_fail(err, VMB_E_INVALID, "%s: %s%s: %s%s%s%s", source, place, first->field,
                     first->message, first->remedy[0] != '\0' ? ": " : "", first->remedy, more);
}

vmb_code vmbi_problems_error_lines(const vmbi_problems *p, vmbi_strs *out, vmb_error **err)
{
    for (size_t i = 0; i < p->n; i++) {
        vmbi_buf b = VMBI_BUF_INIT(16 * 1024);
        vmb_code code;

        if (!p->v[i].is_error) {
            continue;
        }
        vmbi_buf_addf(&b, "%s: %s", p->v[i].field, p->v[i].message);
        code = vmbi_buf_check(&b, err, "validation error");
        if (code == VMB_OK) {
            code = vmbi_strs_addn(out, b.data, b.len, err);
        }
        vmbi_buf_free(&b);
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}
