/* SPDX-License-Identifier: Apache-2.0 */
/* A thin program over saving, restoring and reading disks, for run_disk.py and the bench:
 *   disk_probe init REPO
 *   disk_probe backup REPO SOURCE PARENT|- CHUNK [LOG]
 *   disk_probe restore REPO SNAPSHOT PATH|- TARGET
 *   disk_probe pread REPO SNAPSHOT PATH|-        (lines "offset length" come in, bytes go out)
 *   disk_probe extents REPO SNAPSHOT PATH|-
 * LOG has a line "offset length" for each write to the source since some day: from it the probe
 * knows what has changed, as a hypervisor would. The password is $RESTIC_PASSWORD. Prints JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/job.h"
#include "base/error.h"
#include "codec/json.h"
#include "providers/builtin.h"
#include "repo/disk/disk.h"

/* ---- a source that knows its changes --------------------------------------------------------- */

enum { UNIT = 64 * 1024, LINE = 128 };

typedef struct tracked {
    vmb_blocks_provider disk;
    const char *log;
} tracked;

static vmb_code tracked_size(void *user, vmb_job *job, int64_t *size, vmb_error **err)
{
    tracked *t = user;
    return t->disk.size(t->disk.user, job, size, err);
}

static vmb_code tracked_pread(void *user, vmb_job *job, void *data, size_t len, int64_t offset,
                              vmb_error **err)
{
    tracked *t = user;
    return t->disk.pread(t->disk.user, job, data, len, offset, err);
}

/* Marks the units that were written behind line `from` of the log; returns the number of lines. */
static long read_log(const tracked *t, long from, uint8_t *units, int64_t n_units)
{
    char line[LINE];
    long n = 0;
    FILE *f = fopen(t->log, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        int64_t offset = 0, length = 0;
        if (++n > from && units != NULL &&
            sscanf(line, "%" SCNd64 " %" SCNd64, &offset, &length) == 2 && length > 0) {
            for (int64_t u = offset / UNIT; u <= (offset + length - 1) / UNIT && u < n_units; u++) {
                units[u] = 1;
            }
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return n;
}

static vmb_code tracked_state(void *user, vmb_job *job, vmb_sink *out, vmb_error **err)
{
    char text[64];
    (void)job;
    int n = snprintf(text, sizeof(text), "log:%ld", read_log(user, 0, NULL, 0));
    return out->write(out->user, text, (size_t)n, err);
}

static vmb_code tracked_extents(void *user, vmb_job *job, int64_t offset, int64_t length,
                                const char *since, vmb_extent_sink *out, vmb_error **err)
{
    tracked *t = user;
    long from = 0;
    if (since == NULL) {
        return t->disk.extents(t->disk.user, job, offset, length, NULL, out, err);
    }
    if (sscanf(since, "log:%ld", &from) != 1) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "state %s is none of this log", since);
    }
    const int64_t n = (offset + length + UNIT - 1) / UNIT;
    uint8_t *units = calloc(1, (size_t)n);
    vmb_code rc = units != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        (void)read_log(t, from, units, n);
    }
    for (int64_t u = offset / UNIT; u < n && rc == VMB_OK;) {
        int64_t last = u;
        while (last < n && units[last] == units[u]) {
            last++;
        }
        int64_t start = u * UNIT < offset ? offset : u * UNIT;
        int64_t end = last * UNIT < offset + length ? last * UNIT : offset + length;
        rc = out->push(out->user, start, end - start,
                       units[u] != 0 ? VMB_EXTENT_DATA : VMB_EXTENT_UNCHANGED, err);
        u = last;
    }
    free(units);
    return rc;
}

static vmb_blocks_provider tracked_table(tracked *t)
{
    return (vmb_blocks_provider){
        .struct_size = sizeof(vmb_blocks_provider),
        .api_version = VMB_PROVIDER_API,
        .name = "tracked",
        .user = t,
        .size = tracked_size,
        .pread = tracked_pread,
        .extents = tracked_extents,
        .state = tracked_state,
    };
}

/* ---- verbs ------------------------------------------------------------------------------------- */

/* Of this program alone: ru_maxrss would have that of the one which started it. */
static long peak_kib(void)
{
    char line[LINE];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "VmHWM: %ld kB", &kib) == 1) {
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void print_usage(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    printf(",\"cpu\":%.3f,\"user\":%.3f,\"rss\":%ld}\n",
           seconds(u.ru_utime) + seconds(u.ru_stime), seconds(u.ru_utime), peak_kib() * 1024);
}

static vmb_code run_backup(vmbi_repo *r, vmb_job *job, int argc, char **argv, vmb_error **err)
{
    const char *tags[] = {"probe"};
    vmbi_disk_save_options o = {
        .parent = strcmp(argv[1], "-") == 0 ? NULL : argv[1],
        .chunk_bytes = (uint32_t)strtoul(argv[2], NULL, 10),
        .hostname = "probe",
        .username = "root",
        .tags = tags,
        .n_tags = 1,
    };
    char id[VMBI_REPO_HEX_SIZE] = "";
    vmbi_disk_save_stats s = {0};
    vmbi_repo_stats rs;
    tracked t = {.log = argc > 3 ? argv[3] : NULL};
    vmb_code rc = vmbi_blocks_file_new(argv[0], false, &t.disk, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmb_blocks_provider table = t.log != NULL ? tracked_table(&t) : t.disk;
    rc = vmbi_disk_save(r, &table, &o, job, id, &s, err);
    t.disk.destroy(t.disk.user);
    if (rc == VMB_OK) {
        vmbi_repo_get_stats(r, &rs);
        printf("{\"snapshot\":\"%s\",\"bytes\":%" PRIu64 ",\"read\":%" PRIu64 ",\"zero\":%" PRIu64
               ",\"unchanged\":%" PRIu64 ",\"new\":%" PRIu64 ",\"stored\":%" PRIu64,
               id, s.bytes, s.bytes_read, s.bytes_zero, s.bytes_unchanged, rs.bytes_new,
               rs.bytes_stored);
        print_usage();
    }
    return rc;
}

static const char *path_of(const char *arg)
{
    return strcmp(arg, "-") == 0 ? NULL : arg;
}

static vmb_code run_restore(vmbi_repo *r, vmb_job *job, char **argv, vmb_error **err)
{
    vmbi_disk_restore_options o = {.snapshot = argv[0], .path = path_of(argv[1]), .verify = true};
    vmbi_disk_restore_stats s = {0};
    vmb_blocks_provider target;
    vmb_code rc = vmbi_blocks_file_new(argv[2], true, &target, err);
    if (rc == VMB_OK) {
        rc = vmbi_disk_restore(r, &target, &o, job, &s, err);
        target.destroy(target.user);
    }
    if (rc == VMB_OK) {
        printf("{\"bytes\":%" PRIu64 ",\"written\":%" PRIu64 ",\"zero\":%" PRIu64
               ",\"verified\":%" PRIu64,
               s.bytes, s.bytes_written, s.bytes_zero, s.bytes_verified);
        print_usage();
    }
    return rc;
}

static vmb_code read_lines(vmbi_disk *d, vmb_error **err)
{
    char line[LINE];
    vmb_code rc = VMB_OK;
    while (rc == VMB_OK && fgets(line, sizeof(line), stdin) != NULL) {
        uint64_t offset = 0;
        size_t len = 0;
        if (sscanf(line, "%" SCNu64 " %zu", &offset, &len) != 2 || len > (64U << 20)) {
            return vmbi_fail(err, VMB_E_ARG, "a line is wrong");
        }
        void *data = malloc(len + 1);
        rc = data != NULL ? vmbi_disk_pread(d, data, len, offset, err) : vmbi_fail_nomem(err);
        if (rc == VMB_OK && fwrite(data, 1, len, stdout) != len) {
            rc = vmbi_fail(err, VMB_E_IO, "cannot write");
        }
        free(data);
    }
    return rc;
}

static vmb_code print_extent(void *user, int64_t offset, int64_t length, int32_t kind)
{
    bool *first = user;
    printf("%s[%" PRId64 ",%" PRId64 ",%d]", *first ? "[" : ",", offset, length, (int)kind);
    *first = false;
    return VMB_OK;
}

static vmb_code run_open(const char *verb, vmbi_repo *r, vmb_job *job, char **argv,
                         vmb_error **err)
{
    vmbi_disk *d = NULL;
    bool first = true;
    vmb_code rc = vmbi_disk_open(r, argv[0], path_of(argv[1]), 0, job, &d, err);
    if (rc == VMB_OK && strcmp(verb, "pread") == 0) {
        rc = read_lines(d, err);
    } else if (rc == VMB_OK) {
        rc = vmbi_disk_extents(d, 0, vmbi_disk_size(d), print_extent, &first, err);
        printf("%s]\n", first ? "[" : "");
    }
    vmbi_disk_close(d);
    return rc;
}

static vmb_code work(const char *verb, const vmbi_repo_options *o, vmb_job *job, int argc,
                     char **argv, vmb_error **err)
{
    vmbi_repo *r = NULL;
    bool init = strcmp(verb, "init") == 0;
    vmb_code rc = init ? vmbi_repo_init(o, &r, err) : vmbi_repo_open(o, &r, err);
    if (rc == VMB_OK && !init) {
        rc = vmbi_repo_lock(r, VMBI_REPO_SHARED, 0, err);
        if (rc == VMB_OK) {
            rc = vmbi_repo_load_index(r, err);
        }
    }
    if (rc == VMB_OK && strcmp(verb, "backup") == 0 && argc >= 3) {
        rc = run_backup(r, job, argc, argv, err);
    } else if (rc == VMB_OK && strcmp(verb, "restore") == 0 && argc == 3) {
        rc = run_restore(r, job, argv, err);
    } else if (rc == VMB_OK && !init && argc == 2) {
        rc = run_open(verb, r, job, argv, err);
    }
    vmbi_repo_close(r);
    return rc;
}

static void log_line(void *user, int32_t level, const char *msg)
{
    (void)user;
    fprintf(stderr, "log %d: %s\n", (int)level, msg);
}

int main(int argc, char **argv)
{
    const char *password = getenv("RESTIC_PASSWORD");
    vmb_store_provider store;
    vmb_error *err = NULL;
    vmb_job job = {.log = log_line};
    if (argc < 3 || password == NULL) {
        fprintf(stderr, "usage: disk_probe init|backup|restore|pread|extents REPO …\n");
        return 2;
    }
    vmbi_json *settings = vmbi_json_object();
    vmbi_json *config = vmbi_json_ensure_object(settings, "config");
    (void)vmbi_json_set_str(config, "path", argv[2]);
    vmb_code rc = vmbi_store_dir_new(settings, &store, &err);
    vmbi_json_free(settings);
    if (rc == VMB_OK) {
        vmbi_repo_options o = {.store = &store, .job = &job, .password = password,
                               .password_len = strlen(password),
                               .memory_bytes = 32 * 1024 * 1024};
        rc = work(argv[1], &o, &job, argc - 3, argv + 3, &err);
        if (store.destroy != NULL) {
            store.destroy(store.user);
        }
    }
    if (rc != VMB_OK) {
        fprintf(stderr, "error: %s\n", vmb_error_message(err));
    }
    vmb_error_free(err);
    return rc == VMB_OK ? 0 : 1;
}
