/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes there are to save: counted beside the backup, so that it can tell how long it
 * still takes. */
#include "repo_scan.h"

#include <fts.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static pthread_t thread;
static bool started;
static atomic_bool stop;
static atomic_llong total;
static atomic_bool complete;
static char **roots;
static bool one_file_system;

static void *scan(void *unused)
{
    int flags = FTS_PHYSICAL | FTS_NOCHDIR | (one_file_system ? FTS_XDEV : 0);
    FTS *walk = fts_open(roots, flags, NULL);
    FTSENT *entry;

    (void)unused;
    while (walk && !atomic_load(&stop) && (entry = fts_read(walk)) != NULL) {
        if (entry->fts_info == FTS_F && S_ISREG(entry->fts_statp->st_mode)) {
            atomic_fetch_add(&total, (long long)entry->fts_statp->st_size);
        }
    }
    if (walk) {
        fts_close(walk);
        atomic_store(&complete, !atomic_load(&stop));
    }
    return NULL;
}

void repo_scan_start(char **paths, bool stay)
{
    roots = paths;
    one_file_system = stay;
    atomic_store(&stop, false);
    atomic_store(&complete, false);
    atomic_store(&total, 0);
    started = pthread_create(&thread, NULL, scan, NULL) == 0;
}

void repo_scan_end(void)
{
    if (started) {
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        started = false;
    }
}

long long repo_scan_total(void)
{
    return atomic_load(&complete) ? atomic_load(&total) : -1;
}
