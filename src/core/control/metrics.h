/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and gauges in Prometheus' text form, under Velero's names and a few of our own. */
#ifndef VMBI_CORE_CONTROL_METRICS_H
#define VMBI_CORE_CONTROL_METRICS_H

#include <pthread.h>

#include "base/buf.h"

enum { VMBI_SERIES_MAX = 20000, VMBI_METRICS_MAX_BYTES = 16 << 20 };

typedef struct vmbi_series {
    int metric;   /* index of the table in metrics.c */
    char *label;  /* value of the metric's label; "" when it has none */
    double value; /* of a histogram: the sum */
    uint64_t count;
    uint64_t *buckets; /* histograms only */
} vmbi_series;

typedef struct vmbi_metrics {
    pthread_mutex_t lock;
    vmbi_series *v;
    size_t n;
    size_t cap;
} vmbi_metrics;

void vmbi_metrics_init(vmbi_metrics *m);
void vmbi_metrics_done(vmbi_metrics *m);
/* name: without the prefix "velero_" or "vmbackup_", as in the table of metrics.c; label "" for
 * metrics without one. An unknown name is ignored in release builds. */
void vmbi_metrics_add(vmbi_metrics *m, const char *name, const char *label, double value);
void vmbi_metrics_set(vmbi_metrics *m, const char *name, const char *label, double value);
/* Sets it when value is larger. */
void vmbi_metrics_most(vmbi_metrics *m, const char *name, const char *label, double value);
void vmbi_metrics_observe(vmbi_metrics *m, const char *name, const char *label, double value);
void vmbi_metrics_forget(vmbi_metrics *m, const char *name, const char *label);
vmb_code vmbi_metrics_print(vmbi_metrics *m, vmbi_buf *out, vmb_error **err);

#endif
