/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster in memory, a store in a folder, and restores from the one into the other. */
#ifndef RESTORE_SUPPORT_H
#define RESTORE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include <vmbackup/vmbackup.h>

#include "codec/json.h"

enum { MAX_OBJECTS = 600, SHOP_ITEMS = 8 };

typedef struct object {
    char path[256]; /* "pods.group/ns/name" */
    char *json;
} object;

typedef struct fake {
    pthread_mutex_t lock;
    object objects[MAX_OBJECTS];
    size_t n;
    int busy, busiest;
    int pause_us;          /* of each create, to let others come in */
    const char *fail_path; /* creating this one fails, */
    vmb_code fail_code;    /* with this code (0: VMB_E_INVALID), */
    int fail_times;        /* so often (0: for ever) */
    const char *lost_path; /* the answer to this create is lost, once */
    const char *leaving;   /* this object goes away, */
    int leaving_looks;     /* when it has been looked at so often */
    int creates_left;      /* creates until the cancelled run is; 0: the first */
    int cancel_in_hook;    /* the run is cancelled while a command runs */
    char dir[64];          /* the store */
    char hooks[512];       /* commands that were run */
    vmb_run *cancel;       /* cancelled by the first create */
    int fills;             /* calls of the volume provider */
    int fill_fails;        /* 1: they fail */
    char holder[256];      /* the pod that held disks of a machine */
    pthread_t thread;      /* that executes the run */
    int events, strangers; /* told on that thread, and on another one */
} fake;

typedef struct item {
    const char *path; /* below resources/ */
    const char *json;
} item;

#define OBJ(kind, name, ns, more)                                                                  \
    "{\"apiVersion\":\"v1\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"" name                  \
    "\",\"namespace\":\"" ns "\",\"uid\":\"u\",\"resourceVersion\":\"5\"}" more "}"

extern const item shop[SHOP_ITEMS];

#define SHOP(f) make_backup(f, shop, SHOP_ITEMS)

int setup(void **state);
int teardown(void **state);
object *find(fake *f, const char *path);
void add(fake *f, const char *path, const char *json);
/* A file of the backup "b1". */
void write_file(const fake *f, const char *name, const void *data, size_t len);
/* The same, compressed. */
void write_gz(const fake *f, const char *name, const char *text);
/* A backup "b1" with these objects, as Velero lays it out. */
void make_backup(const fake *f, const item *items, size_t n);
vmb_ctx *make_ctx(fake *f);
/* Runs a Restore "r1" whose spec is `spec`, expects the phase; the report is owned. */
vmbi_json *restore(fake *f, const char *spec, const char *phase);
vmbi_json *restore_labelled(fake *f, const char *spec, const char *labels, const char *phase);
/* What was created; owned. */
vmbi_json *created(fake *f, const char *path);
/* Which one it was. */
size_t place(fake *f, const char *path);

#endif
