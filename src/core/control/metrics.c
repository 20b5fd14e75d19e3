/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/metrics.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

enum { COUNTER, GAUGE, HISTOGRAM };
enum { BUCKETS = 9 };

/* Velero's buckets of backup durations: 1, 5, 10, 15, 30 minutes, 1 to 4 hours. */
static const double buckets[BUCKETS] = {60, 300, 600, 900, 1800, 3600, 7200, 10800, 14400};

static const struct {
    const char *prefix;
    const char *name;
    const char *label; /* NULL: none */
    int type;
    const char *help;
} table[] = {
    {"velero_", "backup_total", NULL, GAUGE, "Backups that exist"},
    {"velero_", "backup_attempt_total", "schedule", COUNTER, "Backups that were started"},
    {"velero_", "backup_success_total", "schedule", COUNTER, "Backups that ended as Completed"},
    {"velero_", "backup_partial_failure_total", "schedule", COUNTER,
     "Backups that ended as PartiallyFailed"},
    {"velero_", "backup_failure_total", "schedule", COUNTER, "Backups that ended as Failed"},
    {"velero_", "backup_validation_failure_total", "schedule", COUNTER, "Backups refused"},
    {"velero_", "backup_duration_seconds", "schedule", HISTOGRAM, "How long backups took"},
    {"velero_", "backup_tarball_size_bytes", "schedule", GAUGE, "Archive of the last backup"},
    {"velero_", "backup_items_total", "schedule", GAUGE, "Objects in the last backup"},
    {"velero_", "backup_items_errors", "schedule", GAUGE, "Errors of the last backup"},
    {"velero_", "backup_warning_total", "schedule", COUNTER, "Backups with warnings"},
    {"velero_", "backup_last_status", "schedule", GAUGE, "1: the last backup was Completed"},
    {"velero_", "backup_last_successful_timestamp", "schedule", GAUGE,
     "When the last Completed backup ended, Unix seconds"},
    {"velero_", "backup_deletion_attempt_total", "schedule", COUNTER, "Deletions begun"},
    {"velero_", "backup_deletion_success_total", "schedule", COUNTER, "Deletions done"},
    {"velero_", "backup_deletion_failure_total", "schedule", COUNTER, "Deletions failed"},
    {"velero_", "backup_location_status_gauge", "backup_location_name", GAUGE,
     "1: the location is Available"},
    {"velero_", "csi_snapshot_attempt_total", "schedule", COUNTER, "CSI snapshots begun"},
    {"velero_", "csi_snapshot_success_total", "schedule", COUNTER, "CSI snapshots ready"},
    {"velero_", "csi_snapshot_failure_total", "schedule", COUNTER, "CSI snapshots failed"},
    {"velero_", "restore_total", NULL, GAUGE, "Restores that exist"},
    {"velero_", "restore_attempt_total", "schedule", COUNTER, "Restores that were started"},
    {"velero_", "restore_success_total", "schedule", COUNTER, "Restores that ended as Completed"},
    {"velero_", "restore_partial_failure_total", "schedule", COUNTER,
     "Restores that ended as PartiallyFailed"},
    {"velero_", "restore_failed_total", "schedule", COUNTER, "Restores that ended as Failed"},
    {"velero_", "restore_validation_failed_total", "schedule", COUNTER, "Restores refused"},
    {"vmbackup_", "location_missing_backups", "backup_location_name", GAUGE,
     "Backups that an empty location should hold"},
    {"vmbackup_", "freeze_seconds", "schedule", GAUGE,
     "Longest time that a guest was frozen in the last backup"},
    {"vmbackup_", "freeze_seconds_max", NULL, GAUGE, "Longest freeze since the start"},
    {"vmbackup_", "bytes_read_total", "schedule", COUNTER, "Bytes of objects read for backups"},
    {"vmbackup_", "bytes_stored_total", "schedule", COUNTER, "Bytes of archives written"},
    {"vmbackup_", "resident_memory_bytes", NULL, GAUGE, "Resident memory of the process"},
    {"vmbackup_", "leader", NULL, GAUGE, "1: this process does the work"},
};

void vmbi_metrics_done(vmbi_metrics *m)
{
    for (size_t i = 0; i < m->n; i++) {
        vmbi_free(m->v[i].label);
        vmbi_free(m->v[i].buckets);
    }
    vmbi_free(m->v);
    (void)pthread_mutex_destroy(&m->lock);
}

static int find_metric(const char *name)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static vmbi_series *find_series(const vmbi_metrics *m, int metric, const char *label)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->v[i].metric == metric && strcmp(m->v[i].label, label) == 0) {
            return &m->v[i];
        }
    }
    return NULL;
}

static vmbi_series *make_series(vmbi_metrics *m, int metric, const char *label)
{
    if (m->n >= VMBI_SERIES_MAX) {
        return NULL;
    }
    if (m->n == m->cap) {
        size_t cap = m->cap != 0 ? m->cap * 2 : 32;
        vmbi_series *v = vmbi_realloc_array(m->v, cap, sizeof(*v));
        if (v == NULL) {
            return NULL;
        }
        m->v = v;
        m->cap = cap;
    }
    vmbi_series s = {.metric = metric, .label = vmbi_strdup(label)};
    if (table[metric].type == HISTOGRAM) {
        s.buckets = vmbi_zalloc(BUCKETS * sizeof(uint64_t));
    }
    if (s.label == NULL || (table[metric].type == HISTOGRAM && s.buckets == NULL)) {
        vmbi_free(s.label);
        vmbi_free(s.buckets);
        return NULL;
    }
    m->v[m->n] = s;
    return &m->v[m->n++];
}

/* Counters of a schedule begin together, at 0: Prometheus sees no increase in a series that begins
 * with 1, so that an alert would miss the first failure. */
static void begin_counters(vmbi_metrics *m, const char *label)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        if (table[i].type == COUNTER && table[i].label != NULL &&
            strcmp(table[i].label, "schedule") == 0 && find_series(m, (int)i, label) == NULL) {
            (void)make_series(m, (int)i, label);
        }
    }
}

/* Gets or makes the series; NULL when it cannot be had: a lost count is no reason to fail. */
static vmbi_series *series(vmbi_metrics *m, const char *name, const char *label)
{
    int metric = find_metric(name);
    if (metric < 0) {
        return NULL;
    }
    vmbi_series *found = find_series(m, metric, label);
    if (found == NULL && table[metric].type == COUNTER) {
        begin_counters(m, label);
        found = find_series(m, metric, label);
    }
    return found != NULL ? found : make_series(m, metric, label);
}

void vmbi_metrics_init(vmbi_metrics *m)
{
    *m = (vmbi_metrics){0};
    (void)pthread_mutex_init(&m->lock, NULL);
    begin_counters(m, ""); /* of backups by hand */
}

void vmbi_metrics_add(vmbi_metrics *m, const char *name, const char *label, double value)
{
    (void)pthread_mutex_lock(&m->lock);
    vmbi_series *s = series(m, name, label);
    if (s != NULL) {
        s->value += value;
    }
    (void)pthread_mutex_unlock(&m->lock);
}

void vmbi_metrics_set(vmbi_metrics *m, const char *name, const char *label, double value)
{
    (void)pthread_mutex_lock(&m->lock);
    vmbi_series *s = series(m, name, label);
    if (s != NULL) {
        s->value = value;
    }
    (void)pthread_mutex_unlock(&m->lock);
}

void vmbi_metrics_most(vmbi_metrics *m, const char *name, const char *label, double value)
{
    (void)pthread_mutex_lock(&m->lock);
    vmbi_series *s = series(m, name, label);
    if (s != NULL && value > s->value) {
        s->value = value;
    }
    (void)pthread_mutex_unlock(&m->lock);
}

void vmbi_metrics_observe(vmbi_metrics *m, const char *name, const char *label, double value)
{
    (void)pthread_mutex_lock(&m->lock);
    vmbi_series *s = series(m, name, label);
    if (s != NULL && s->buckets != NULL) {
        s->value += value;
        s->count++;
        for (size_t i = 0; i < BUCKETS; i++) {
            s->buckets[i] += value <= buckets[i] ? 1 : 0;
        }
    }
    (void)pthread_mutex_unlock(&m->lock);
}

void vmbi_metrics_forget(vmbi_metrics *m, const char *name, const char *label)
{
    (void)pthread_mutex_lock(&m->lock);
    vmbi_series *s = find_series(m, find_metric(name), label);
    if (s != NULL) {
        vmbi_free(s->label);
        vmbi_free(s->buckets);
        *s = m->v[--m->n];
    }
    (void)pthread_mutex_unlock(&m->lock);
}

/* ---- printing ----------------------------------------------------------------------------- */

static void print_label_value(vmbi_buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '\\' || *s == '"') {
            vmbi_buf_addc(out, '\\');
        }
        vmbi_buf_adds(out, *s == '\n' ? "\\n" : (char[]){*s, '\0'});
    }
}

static void print_name(vmbi_buf *out, const vmbi_series *s, const char *suffix, const char *le)
{
    const char *label = table[s->metric].label;
    vmbi_buf_addf(out, "%s%s%s", table[s->metric].prefix, table[s->metric].name, suffix);
    if (label == NULL && le == NULL) {
        vmbi_buf_addc(out, ' ');
        return;
    }
    vmbi_buf_addc(out, '{');
    if (label != NULL) {
        vmbi_buf_addf(out, "%s=\"", label);
        print_label_value(out, s->label);
        vmbi_buf_addc(out, '"');
    }
    if (le != NULL) {
        vmbi_buf_addf(out, "%sle=\"%s\"", label != NULL ? "," : "", le);
    }
    vmbi_buf_adds(out, "} ");
}

static void print_series(vmbi_buf *out, const vmbi_series *s)
{
    static const char *const bounds[BUCKETS] = {"60",   "300",  "600",   "900",  "1800",
                                                "3600", "7200", "10800", "14400"};
    if (s->buckets == NULL) {
        print_name(out, s, "", NULL);
        vmbi_buf_addf(out, "%.15g\n", s->value);
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        print_name(out, s, "_bucket", bounds[i]);
        vmbi_buf_addf(out, "%llu\n", (unsigned long long)s->buckets[i]);
    }
    print_name(out, s, "_bucket", "+Inf");
    vmbi_buf_addf(out, "%llu\n", (unsigned long long)s->count);
    print_name(out, s, "_sum", NULL);
    vmbi_buf_addf(out, "%.15g\n", s->value);
    print_name(out, s, "_count", NULL);
    vmbi_buf_addf(out, "%llu\n", (unsigned long long)s->count);
}

vmb_code vmbi_metrics_print(vmbi_metrics *m, vmbi_buf *out, vmb_error **err)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    (void)pthread_mutex_lock(&m->lock);
    for (size_t t = 0; t < VMBI_ARRAY_LEN(table); t++) {
        bool first = true;
        for (size_t i = 0; i < m->n; i++) {
            if (m->v[i].metric != (int)t) {
                continue;
            }
            if (first) {
                vmbi_buf_addf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", table[t].prefix,
                              table[t].name, table[t].help, table[t].prefix, table[t].name,
                              types[table[t].type]);
                first = false;
            }
            print_series(out, &m->v[i]);
        }
    }
    (void)pthread_mutex_unlock(&m->lock);
    return vmbi_buf_check(out, err, "metrics");
}
