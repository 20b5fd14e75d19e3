/* SPDX-License-Identifier: Apache-2.0 */
/* Providers in memory for unit tests of the engine: they record every call in one journal, so that
 * a test can prove an order, and fail on command. Real servers are used everywhere else. */
#ifndef VMBI_TESTS_FAKES_H
#define VMBI_TESTS_FAKES_H

#include <vmbackup/vmbackup.h>

enum { FAKE_MAX = 512 };

typedef struct fakes {
    /* journal: "exec pod argv0", "begin pvc", "cut pvc", "put key", "commit key" … */
    char *journal[FAKE_MAX];
    size_t n_journal;

    /* cluster: "resource.group" + object text */
    struct {
        const char *group_resource;
        char *json;
        char ns[64];
        char name[64];
    } objects[FAKE_MAX];
    size_t n_objects;
    vmb_code list_fails;            /* for fail_resource */
    const char *fail_resource;
    int ignores_sink;               /* lists go on and succeed although the sink refused */

    /* store */
    struct {
        char *key;
        char *data;
        size_t len;
    } files[FAKE_MAX];
    size_t n_files;
    vmb_code write_fails; /* of put_write */
    const char *also_lists; /* a key in every listing, whatever was asked for */
    const char *lost_answer; /* put_commit of this key stores, then fails with VMB_E_NET */
    void (*on_put)(struct fakes *f, const char *key); /* called when a put begins */

    /* exec */
    const char *fail_command; /* argv[0] that ends with exit code 1 */
    vmb_run *cancel_on_exec;  /* cancelled when the first command runs */

    /* snapshots */
    vmb_code begin_fails;
    vmb_code cut_fails;
    vmb_code ready_fails;
    int polls_until_cut;
    int64_t cut_at_ns; /* not before this time of CLOCK_MONOTONIC; polls answer at once */
    int polls;
    int open_ops;
    int finished;
    int cancelled;

    int destroyed[4]; /* cluster, exec, store, snapshot */
} fakes;

void fakes_init(fakes *f);
void fakes_done(fakes *f);
/* Adds an object; name and namespace are read from it. */
void fakes_add(fakes *f, const char *group_resource, const char *json);
/* A context with all four providers and the location "default". */
vmb_ctx *fakes_ctx(fakes *f);
/* Registers what the library allocates for itself only; returns the code of the first failure. */
vmb_code fakes_register(fakes *f, vmb_ctx *ctx, vmb_error **err);
/* Puts a file there, as another program would. */
void fakes_put(fakes *f, const char *key, const char *text);
const char *fakes_file(const fakes *f, const char *key, size_t *len); /* NULL when absent */
/* Adds a line to the journal, from any thread. */
void fakes_note(fakes *f, const char *what, const char *subject, const char *more);
/* Index in the journal of the first entry that starts with `prefix`, -1 when none. */
int fakes_at(const fakes *f, const char *prefix);
/* The archive's member as NUL-terminated text (release with vmb_free); NULL when absent. */
char *fakes_member(vmb_ctx *ctx, const char *backup, const char *resource, const char *ns,
                   const char *name);

#endif
