/* SPDX-License-Identifier: Apache-2.0 */
/* A volume provider in memory and a namespace with one pod, for test_volumes*.c. */
#ifndef VMBI_TESTS_VOLUMES_SUPPORT_H
#define VMBI_TESTS_VOLUMES_SUPPORT_H

#include <vmbackup/vmbackup.h>

#include "codec/json.h"
#include "support/fakes.h"

enum { MAX_DOCS = 16 };

typedef struct fake_volumes {
    fakes *f;
    const char *fail_volume; /* name in the pod; VMB_E_IO for it */
    const char *result;      /* written instead of the usual one */
    int64_t sleep_ns;        /* of each save */
    vmb_run *cancel;         /* cancelled when the second volume is saved */
    int32_t score;           /* of bids; 0: 100 */
    uint32_t flags;
    /* under a lock */
    int running;
    int max_running;
    int started;
    char *docs[MAX_DOCS]; /* that were saved */
    size_t n_docs;
    int removed;
    int destroyed;
} fake_volumes;

void volumes_done(fake_volumes *v);
/* fakes with the claim "disk" on pv-1 and Velero's usual providers, and this one unless NULL. */
vmb_ctx *volumes_ctx(fakes *f, fake_volumes *v);
/* The pod "launcher" of the namespace shop: entries of its spec.volumes and annotations, as JSON
 * members; all volumes are mounted. */
void volumes_pod(fakes *f, const char *name, const char *phase, const char *annotations,
                 const char *volumes, const char *mounts);
/* The usual one: volume "disk" of the claim, emptyDir "cache", all mounted. */
void volumes_usual_pod(fakes *f, const char *annotations);
/* A run of the backup b1 of shop; spec: further JSON members of the spec, or "". */
vmb_run *volumes_run(vmb_ctx *ctx, const char *spec, const char *annotations);
/* A side file of b1, unpacked and parsed; released by vmbi_json_free. */
vmbi_json *volumes_file(vmb_ctx *ctx, int32_t file);
/* The record of the given volume, NULL when there is none. */
vmbi_json *volumes_record(vmbi_json *records, const char *volume);
/* Was the volume of that name saved (begun)? */
bool volumes_saved(const fakes *f, const char *volume);
int64_t volumes_count(vmb_run *run, const char *counter); /* of status */

#endif
