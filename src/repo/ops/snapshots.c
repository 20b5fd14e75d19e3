/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/snapshots.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"

/* ---- one snapshot ------------------------------------------------------------------------------ */

void vmbi_snapshot_done(vmbi_snapshot *s)
{
    vmbi_json_free(s->json);
    *s = (vmbi_snapshot){0};
}

/* "+05:30" at the end of a time; "Z" is 0. */
static int32_t utc_offset(const char *time)
{
    size_t len = strlen(time);
    const char *p = len >= 6 ? time + len - 6 : "";
    if ((p[0] != '+' && p[0] != '-') || p[3] != ':' || !vmbi_is_digit(p[1]) ||
        !vmbi_is_digit(p[2]) || !vmbi_is_digit(p[4]) || !vmbi_is_digit(p[5])) {
        return 0;
    }
    int32_t minutes = ((p[1] - '0') * 10 + (p[2] - '0')) * 60 + (p[4] - '0') * 10 + (p[5] - '0');
    return p[0] == '-' ? -minutes * 60 : minutes * 60;
}

bool vmbi_snapshot_fill(vmbi_snapshot *out, const char *id, const vmbi_json *json)
{
    const char *time = vmbi_json_get_str(json, "time");
    const char *tree = vmbi_json_get_str(json, "tree");
    if (time == NULL || tree == NULL || strlen(id) != VMBI_REPO_HEX_SIZE - 1 ||
        !vmbi_parse_rfc3339(time, &out->time_unix_ns) ||
        !vmbi_repo_id_parse(tree, strlen(tree), &out->tree)) {
        return false;
    }
    memcpy(out->id, id, VMBI_REPO_HEX_SIZE);
    out->utc_offset_s = utc_offset(time);
    return true;
}

vmbi_json *vmbi_snapshot_json(const vmbi_snapshot *s)
{
    vmbi_json *v = vmbi_json_copy(s->json);
    char short_id[9];
    memcpy(short_id, s->id, 8);
    short_id[8] = '\0';
    if (v == NULL || !vmbi_json_set_str(v, "id", s->id) ||
        !vmbi_json_set_str(v, "short_id", short_id)) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}

/* ---- filters ----------------------------------------------------------------------------------- */

static bool list_has(const vmbi_json *list, const char *text, size_t len)
{
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        if (s != NULL && strlen(s) == len && memcmp(s, text, len) == 0) {
            return true;
        }
    }
    return false;
}

/* All tags of "a, b" at the snapshot; an empty one stands for "no tags at all". */
bool vmbi_snapshot_has_tags(const vmbi_snapshot *s, const char *tags)
{
    const vmbi_json *own = vmbi_json_get(s->json, "tags");
    for (;;) {
        size_t len = strcspn(tags, ",");
        const char *p = tags;
        size_t n = len;
        while (n > 0 && vmbi_is_space(*p)) {
            p++;
            n--;
        }
        while (n > 0 && vmbi_is_space(p[n - 1])) {
            n--;
        }
        if (n == 0 && vmbi_json_len(own) == 0) {
            return true;
        }
        if (!list_has(own, p, n)) {
            return false;
        }
        if (tags[len] == '\0') {
            return true;
        }
        tags += len + 1;
    }
}

static bool passes(const vmbi_snapshot_filter *f, const vmbi_snapshot *s)
{
    const char *host = vmbi_json_get_str(s->json, "hostname");
    const vmbi_json *paths = vmbi_json_get(s->json, "paths");
    bool ok = f->n_hosts == 0;
    for (size_t i = 0; i < f->n_hosts && !ok; i++) {
        ok = vmbi_streq(f->hosts[i], host != NULL ? host : "");
    }
    bool tagged = f->n_tags == 0;
    for (size_t i = 0; i < f->n_tags && ok && !tagged; i++) {
        tagged = vmbi_snapshot_has_tags(s, f->tags[i]);
    }
    ok = ok && tagged;
    for (size_t i = 0; i < f->n_paths && ok; i++) {
        ok = list_has(paths, f->paths[i], strlen(f->paths[i]));
    }
    return ok && (!f->has_before || s->time_unix_ns <= f->before_unix_ns);
}

/* ---- sets -------------------------------------------------------------------------------------- */

void vmbi_snapshots_free(vmbi_snapshot_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        vmbi_snapshot_done(&s->v[i]);
    }
    vmbi_free(s->v);
    *s = (vmbi_snapshot_set){0};
}

/* Takes s over in every case. */
static vmb_code push(vmbi_snapshot_set *set, vmbi_snapshot *s, vmb_error **err)
{
    if (set->n == set->cap) {
        size_t cap = set->cap == 0 ? 32 : set->cap * 2;
        vmbi_snapshot *v = vmbi_realloc_array(set->v, cap, sizeof(*v));
        if (v == NULL) {
            vmbi_snapshot_done(s);
            return vmbi_fail_nomem(err);
        }
        set->v = v;
        set->cap = cap;
    }
    set->v[set->n++] = *s;
    *s = (vmbi_snapshot){0};
    return VMB_OK;
}

typedef struct collecting {
    const vmbi_snapshot_filter *filter;
    vmbi_snapshot_set *set;
} collecting;

static vmb_code collect(void *user, const char *id, const vmbi_json *json, vmb_error **err)
{
    collecting *c = user;
    vmbi_snapshot s = {0};
    if (json == NULL || !vmbi_snapshot_fill(&s, id, json)) {
        c->set->damaged++;
        return VMB_OK;
    }
    s.json = vmbi_json_copy(json);
    if (s.json == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (c->filter != NULL && !passes(c->filter, &s)) {
        vmbi_snapshot_done(&s);
        return VMB_OK;
    }
    return push(c->set, &s, err);
}

static int by_time(const void *a, const void *b)
{
    const vmbi_snapshot *x = a;
    const vmbi_snapshot *y = b;
    if (x->time_unix_ns != y->time_unix_ns) {
        return x->time_unix_ns < y->time_unix_ns ? -1 : 1;
    }
    return strcmp(x->id, y->id);
}

static vmb_code load_all(vmbi_repo *r, const vmbi_snapshot_filter *f, vmbi_snapshot_set *out,
                         vmb_error **err)
{
    collecting c = {f, out};
    vmb_code rc = vmbi_repo_snapshot_list(r, collect, &c, err);
    if (rc == VMB_OK && out->n > 1) {
        qsort(out->v, out->n, sizeof(*out->v), by_time);
    }
    return rc;
}

static vmb_code find_latest(vmbi_repo *r, const vmbi_snapshot_filter *f, vmbi_snapshot *out,
                            vmb_error **err)
{
    vmbi_snapshot_set set = {0};
    vmb_code rc = load_all(r, f, &set, err);
    if (rc == VMB_OK && set.n == 0) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "snapshot \"latest\": none passes the filter");
    }
    if (rc == VMB_OK) {
        *out = set.v[--set.n];
    }
    vmbi_snapshots_free(&set);
    return rc;
}

vmb_code vmbi_snapshot_find(vmbi_repo *r, const char *id, const vmbi_snapshot_filter *f,
                            vmbi_snapshot *out, vmb_error **err)
{
    vmbi_snapshot s = {0};
    char full[VMBI_REPO_HEX_SIZE] = "";
    if (strcmp(id, "latest") == 0) {
        return find_latest(r, f, out, err);
    }
    vmb_code rc = vmbi_repo_snapshot_load(r, id, full, &s.json, err);
    if (rc == VMB_OK && !vmbi_snapshot_fill(&s, full, s.json)) {
        rc = vmbi_fail(err, VMB_E_INVALID, "snapshot %s: \"time\" or \"tree\" is malformed", full);
    }
    if (rc != VMB_OK) {
        vmbi_snapshot_done(&s);
        return rc;
    }
    *out = s;
    return VMB_OK;
}

static bool set_has(const vmbi_snapshot_set *set, const char *id)
{
    for (size_t i = 0; i < set->n; i++) {
        if (strcmp(set->v[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static vmb_code load_named(vmbi_repo *r, const vmbi_snapshot_filter *f, vmbi_snapshot_set *out,
                           vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < f->n_ids && rc == VMB_OK; i++) {
        vmbi_snapshot s = {0};
        rc = vmbi_snapshot_find(r, f->ids[i], f, &s, err);
        if (rc == VMB_OK && set_has(out, s.id)) {
            vmbi_snapshot_done(&s);
        } else if (rc == VMB_OK) {
            rc = push(out, &s, err);
        }
    }
    if (rc == VMB_OK && out->n > 1) {
        qsort(out->v, out->n, sizeof(*out->v), by_time);
    }
    return rc;
}

/* Keeps the newest `latest` of each group. */
static vmb_code keep_latest(vmbi_snapshot_set *set, size_t latest, vmb_error **err)
{
    vmbi_snapshot_groups groups = {0};
    vmb_code rc = vmbi_snapshots_group(set, VMBI_GROUP_DEFAULT, &groups, err);
    for (size_t g = 0; g < groups.n && rc == VMB_OK; g++) {
        for (size_t i = latest; i < groups.v[g].n; i++) {
            vmbi_snapshot_done(&set->v[groups.v[g].v[i] - set->v]);
        }
    }
    vmbi_snapshot_groups_free(&groups);
    size_t n = 0;
    for (size_t i = 0; i < set->n && rc == VMB_OK; i++) {
        if (set->v[i].json != NULL) {
            set->v[n++] = set->v[i];
        }
    }
    set->n = rc == VMB_OK ? n : set->n;
    return rc;
}

vmb_code vmbi_snapshots_load(vmbi_repo *r, const vmbi_snapshot_filter *f, vmbi_snapshot_set *out,
                             vmb_error **err)
{
    vmbi_snapshot_set set = {0};
    bool named = f != NULL && f->n_ids > 0;
    vmb_code rc = named ? load_named(r, f, &set, err) : load_all(r, f, &set, err);
    if (rc == VMB_OK && f != NULL && f->latest > 0 && !named) {
        rc = keep_latest(&set, f->latest, err);
    }
    if (rc != VMB_OK) {
        vmbi_snapshots_free(&set);
        return rc;
    }
    *out = set;
    return VMB_OK;
}

vmb_code vmbi_snapshot_parent(vmbi_repo *r, const char *host, const char *const *paths,
                              size_t n_paths, int64_t before_unix_ns, char id[VMBI_REPO_HEX_SIZE],
                              vmb_error **err)
{
    vmbi_snapshot_filter f = {
        .hosts = &host, .n_hosts = 1, .paths = paths, .n_paths = n_paths, .has_before = true,
        .before_unix_ns = before_unix_ns != 0 ? before_unix_ns : vmbi_unix_ns()};
    vmbi_snapshot_set set = {0};
    vmb_code rc = load_all(r, &f, &set, err);
    if (rc == VMB_OK) {
        memcpy(id, set.n > 0 ? set.v[set.n - 1].id : "", set.n > 0 ? VMBI_REPO_HEX_SIZE : 1);
    }
    vmbi_snapshots_free(&set);
    return rc;
}

/* ---- groups ------------------------------------------------------------------------------------ */

vmb_code vmbi_group_parse(const char *text, unsigned *out, vmb_error **err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {{"host", VMBI_GROUP_HOST},   {"hosts", VMBI_GROUP_HOST},
                 {"path", VMBI_GROUP_PATHS},  {"paths", VMBI_GROUP_PATHS},
                 {"tag", VMBI_GROUP_TAGS},    {"tags", VMBI_GROUP_TAGS}};
    unsigned by = 0;
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        bool known = len == 0;
        for (size_t i = 0; i < VMBI_ARRAY_LEN(names) && !known; i++) {
            known = strlen(names[i].name) == len && memcmp(names[i].name, p, len) == 0;
            by |= known ? names[i].bit : 0;
        }
        if (!known) {
            return vmbi_fail(err, VMB_E_ARG, "group by \"%.40s\": host, paths and tags are known",
                             text);
        }
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    *out = by;
    return VMB_OK;
}

/* The strings of a list, sorted; JSON null when there is none. */
static vmbi_json *sorted_list(const vmbi_json *list, bool wanted, vmb_error **err)
{
    vmbi_strs strs = {0};
    vmb_code rc = VMB_OK;
    if (!wanted || !vmbi_json_is_array(list)) {
        return vmbi_json_null();
    }
    for (size_t i = 0; i < vmbi_json_len(list) && rc == VMB_OK; i++) {
        const char *s = vmbi_json_str(vmbi_json_at(list, i));
        rc = vmbi_strs_add(&strs, s != NULL ? s : "", err);
    }
    vmbi_strs_sort(&strs);
    vmbi_json *out = rc == VMB_OK ? vmbi_json_string_array(&strs) : NULL;
    vmbi_strs_free(&strs);
    return out;
}

static vmbi_json *key_of(const vmbi_snapshot *s, unsigned by, vmb_error **err)
{
    const char *host = vmbi_json_get_str(s->json, "hostname");
    vmbi_json *key = vmbi_json_object();
    bool with_host = (by & VMBI_GROUP_HOST) != 0 && host != NULL;
    bool ok = key != NULL && vmbi_json_set_str(key, "host", with_host ? host : "");
    ok = ok && vmbi_json_set(key, "paths", sorted_list(vmbi_json_get(s->json, "paths"),
                                                       (by & VMBI_GROUP_PATHS) != 0, err));
    ok = ok && vmbi_json_set(key, "tags", sorted_list(vmbi_json_get(s->json, "tags"),
                                                      (by & VMBI_GROUP_TAGS) != 0, err));
    if (!ok) {
        vmbi_json_free(key);
        return NULL;
    }
    return key;
}

/* A snapshot with the text of its key, for sorting. */
typedef struct keyed {
    char *text;
    vmbi_json *key;
    const vmbi_snapshot *s;
} keyed;

static int by_key_then_newest(const void *a, const void *b)
{
    const keyed *x = a;
    const keyed *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : -by_time(x->s, y->s);
}

/* Cuts the sorted list into groups; takes the keys over. */
static vmb_code cut_groups(keyed *list, size_t n, vmbi_snapshot_groups *out, vmb_error **err)
{
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        while (end < n && strcmp(list[end].text, list[i].text) == 0) {
            end++;
        }
        vmbi_snapshot_group *g = &out->v[out->n++];
        g->v = vmbi_alloc_array(end - i, sizeof(*g->v));
        if (g->v == NULL) {
            return vmbi_fail_nomem(err);
        }
        g->key = vmbi_steal(&list[i].key);
        for (; i < end; i++) {
            g->v[g->n++] = list[i].s;
        }
    }
    return VMB_OK;
}

vmb_code vmbi_snapshots_group(const vmbi_snapshot_set *s, unsigned by, vmbi_snapshot_groups *out,
                              vmb_error **err)
{
    size_t n = s->n > 0 ? s->n : 1;
    vmbi_snapshot_groups groups = {vmbi_zalloc(n * sizeof(vmbi_snapshot_group)), 0};
    keyed *list = vmbi_zalloc(n * sizeof(*list));
    vmb_code rc = groups.v != NULL && list != NULL ? VMB_OK : vmbi_fail_nomem(err);
    for (size_t i = 0; i < s->n && rc == VMB_OK; i++) {
        list[i].s = &s->v[i];
        list[i].key = key_of(&s->v[i], by, err);
        rc = list[i].key != NULL ? vmbi_json_to_text(list[i].key, &list[i].text, NULL, err)
                                 : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        qsort(list, s->n, sizeof(*list), by_key_then_newest);
        rc = cut_groups(list, s->n, &groups, err);
    }
    for (size_t i = 0; i < s->n && list != NULL; i++) {
        vmbi_free(list[i].text);
        vmbi_json_free(list[i].key);
    }
    vmbi_free(list);
    if (rc != VMB_OK) {
        vmbi_snapshot_groups_free(&groups);
        return rc;
    }
    *out = groups;
    return VMB_OK;
}

void vmbi_snapshot_groups_free(vmbi_snapshot_groups *g)
{
    for (size_t i = 0; i < g->n; i++) {
        vmbi_json_free(g->v[i].key);
        vmbi_free(g->v[i].v);
    }
    vmbi_free(g->v);
    *g = (vmbi_snapshot_groups){0};
}
