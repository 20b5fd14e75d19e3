/* SPDX-License-Identifier: Apache-2.0 */
/* Calls the cluster and exec providers from a command line, for the suites in Python.
 *
 *   kube_probe [OPTIONS] discover
 *   kube_probe [OPTIONS] list GROUP VERSION RESOURCE NS [SELECTOR]
 *   kube_probe [OPTIONS] get GROUP VERSION RESOURCE NS NAME
 *   kube_probe [OPTIONS] create GROUP VERSION RESOURCE NS      (object on standard input)
 *   kube_probe [OPTIONS] patch GROUP VERSION RESOURCE NS NAME KIND [SUBRESOURCE]
 *   kube_probe [OPTIONS] delete GROUP VERSION RESOURCE NS NAME
 *   kube_probe [OPTIONS] exec NS POD CONTAINER ARGV…
 *
 * GROUP and NS "-" stand for the core group and for no namespace. One JSON object goes to standard
 * output: {"code":"VMB_OK","message":"","retryable":0,"ms":…,"rssKiB":…} and what the command adds.
 * Ends with 0 when there is something to tell, 2 for a wrong call. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "codec/digest.h"
#include "codec/jscan.h"
#include "providers/builtin.h"

enum { DOC_MAX = 256 << 20, TEXT_MAX = 64 << 10 };

typedef struct probe {
    vmb_cluster_provider cluster;
    vmb_exec_provider exec;
    struct vmb_job job;
    int64_t page_size;
    int64_t item_sleep_ms; /* --item-sleep: a slow receiver */
    int64_t fail_at;       /* --fail-at: the receiver fails at this item */
    int64_t get_at;        /* --get-at: it gets this item by name, from inside the list */
    bool names;            /* --names: print them */
    const char *group, *version, *resource, *ns;
    uint64_t items;
    uint64_t item_bytes;
    uint64_t nested;
    vmbi_buf name_list;
    vmbi_digest *digest;
    vmbi_buf doc;       /* what a sink received */
    uint64_t out_bytes; /* exec */
    uint64_t err_bytes;
    int64_t started_ns;
    int64_t first_ns; /* when the first item or byte came */
} probe;

static const char *or_empty(const char *s)
{
    return strcmp(s, "-") == 0 ? "" : s;
}

static const char *or_null(const char *s)
{
    return strcmp(s, "-") == 0 ? NULL : s;
}

static vmb_code nested_get(probe *p, const char *name, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(DOC_MAX);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    vmb_code rc = p->cluster.get(p->cluster.user, &p->job, p->group, p->version, p->resource,
                                 p->ns, name, &sink, err);
    p->nested += rc == VMB_OK && b.len > 0 ? 1 : 0;
    vmbi_buf_free(&b);
    return rc;
}

static vmb_code on_item(void *user, const char *json, size_t len, vmb_error **err)
{
    probe *p = user;
    vmbi_object_scan scan;
    char name[300] = "?";
    if (!vmbi_jscan_k8s_object(json, len, &scan) ||
        !vmbi_jscan_string(scan.name, name, sizeof(name))) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "item without a name");
    }
    if (p->items == 0) {
        p->first_ns = vmbi_mono_ns();
    }
    p->items++;
    p->item_bytes += len;
    if (p->names) {
        vmbi_buf_addf(&p->name_list, "%s\"%s\"", p->name_list.len > 0 ? "," : "", name);
    }
    if (p->item_sleep_ms > 0) {
        (void)usleep((useconds_t)p->item_sleep_ms * 1000);
    }
    if (p->fail_at > 0 && p->items == (uint64_t)p->fail_at) {
        return vmbi_fail(err, VMB_E_FULL, "the receiver is full");
    }
    return p->get_at > 0 && p->items % (uint64_t)p->get_at == 0 ? nested_get(p, name, err)
                                                               : VMB_OK;
}

static vmb_code on_stdout(void *user, const void *data, size_t len, vmb_error **err)
{
    probe *p = user;
    (void)err;
    if (p->out_bytes == 0) {
        p->first_ns = vmbi_mono_ns();
    }
    p->out_bytes += len;
    vmbi_digest_update(p->digest, data, len);
    size_t room = p->doc.len < TEXT_MAX ? TEXT_MAX - p->doc.len : 0;
    vmbi_buf_add(&p->doc, data, len < room ? len : room);
    return VMB_OK;
}

static vmb_code on_stderr(void *user, const void *data, size_t len, vmb_error **err)
{
    probe *p = user;
    (void)err;
    p->err_bytes += len;
    size_t room = p->name_list.len < TEXT_MAX ? TEXT_MAX - p->name_list.len : 0;
    vmbi_buf_add(&p->name_list, data, len < room ? len : room);
    return VMB_OK;
}

static vmb_code run_exec(probe *p, int argc, char **argv, vmbi_buf *extra, vmb_error **err)
{
    struct vmb_sink out = {on_stdout, p};
    struct vmb_sink errout = {on_stderr, p};
    uint8_t sum[32];
    char hex[65];
    int32_t exit_code = -1;
    vmb_code rc = p->exec.exec(p->exec.user, &p->job, argv[0], argv[1], argv[2],
                               (const char *const *)(argv + 3), (size_t)(argc - 3), &out, &errout,
                               &exit_code, err);
    vmbi_digest_final(p->digest, sum);
    vmbi_hex(sum, sizeof(sum), hex);
    vmbi_buf_addf(extra, ",\"exit\":%d,\"outBytes\":%" PRIu64 ",\"errBytes\":%" PRIu64, exit_code,
                  p->out_bytes, p->err_bytes);
    vmbi_buf_addf(extra, ",\"sha256\":\"%s\",\"out\":", hex);
    vmbi_buf_add_json_string(extra, p->doc.data != NULL ? p->doc.data : "", p->doc.len);
    vmbi_buf_adds(extra, ",\"err\":");
    vmbi_buf_add_json_string(extra, p->name_list.data != NULL ? p->name_list.data : "",
                             p->name_list.len);
    return rc;
}

static vmb_code read_stdin(vmbi_buf *b, vmb_error **err)
{
    char chunk[8192];
    size_t n = 0;
    while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0) {
        vmbi_buf_add(b, chunk, n);
    }
    return vmbi_buf_check(b, err, "standard input");
}

static vmb_code run_list(probe *p, const char *selector, vmbi_buf *extra, vmb_error **err)
{
    struct vmb_item_sink sink = {on_item, p};
    vmb_code rc = p->cluster.list(p->cluster.user, &p->job, p->group, p->version, p->resource,
                                  p->ns, selector, p->page_size, &sink, err);
    vmbi_buf_addf(extra, ",\"items\":%" PRIu64 ",\"itemBytes\":%" PRIu64 ",\"nested\":%" PRIu64,
                  p->items, p->item_bytes, p->nested);
    if (p->names) {
        vmbi_buf_addf(extra, ",\"names\":[%s]", p->name_list.data != NULL ? p->name_list.data : "");
    }
    return rc;
}

/* The commands that address a resource; argv begins behind NS. */
static vmb_code run_object(probe *p, const char *verb, int argc, char **argv, vmbi_buf *extra,
                           vmb_error **err)
{
    vmbi_buf in = VMBI_BUF_INIT(DOC_MAX);
    struct vmb_sink sink = vmbi_sink_to_buf(&p->doc);
    void *u = p->cluster.user;
    const char *name = argc > 0 ? argv[0] : "";
    vmb_code rc = VMB_E_ARG;
    if (strcmp(verb, "list") == 0) {
        rc = run_list(p, argc > 0 ? argv[0] : NULL, extra, err);
    } else if (strcmp(verb, "get") == 0) {
        rc = p->cluster.get(u, &p->job, p->group, p->version, p->resource, p->ns, name, &sink, err);
    } else if (strcmp(verb, "delete") == 0) {
        rc = p->cluster.remove(u, &p->job, p->group, p->version, p->resource, p->ns, name, err);
    } else if (strcmp(verb, "create") == 0) {
        rc = read_stdin(&in, err);
        if (rc == VMB_OK) {
            rc = p->cluster.create(u, &p->job, p->group, p->version, p->resource, p->ns, in.data,
                                   in.len, &sink, err);
        }
    } else if (strcmp(verb, "patch") == 0 && argc > 1) {
        rc = read_stdin(&in, err);
        if (rc == VMB_OK) {
            rc = p->cluster.patch(u, &p->job, p->group, p->version, p->resource, p->ns, name,
                                  argc > 2 ? argv[2] : NULL,
                                  strcmp(argv[1], "json") == 0 ? VMB_PATCH_JSON : VMB_PATCH_MERGE,
                                  in.data, in.len, &sink, err);
        }
    }
    if (p->doc.len > 0) {
        vmbi_buf_adds(extra, ",\"object\":");
        vmbi_buf_add(extra, p->doc.data, p->doc.len);
    }
    vmbi_buf_free(&in);
    return rc;
}

static vmb_code run(probe *p, int argc, char **argv, vmbi_buf *extra, vmb_error **err)
{
    if (strcmp(argv[0], "discover") == 0) {
        struct vmb_sink sink = vmbi_sink_to_buf(&p->doc);
        vmb_code rc = p->cluster.discover(p->cluster.user, &p->job, &sink, err);
        if (p->doc.len > 0) {
            vmbi_buf_adds(extra, ",\"object\":");
            vmbi_buf_add(extra, p->doc.data, p->doc.len);
        }
        return rc;
    }
    if (strcmp(argv[0], "exec") == 0 && argc > 4) {
        return run_exec(p, argc - 1, argv + 1, extra, err);
    }
    if (argc < 5) {
        (void)fputs("wrong number of words\n", stderr);
        exit(2);
    }
    p->group = or_empty(argv[1]);
    p->version = argv[2];
    p->resource = argv[3];
    p->ns = or_null(argv[4]);
    return run_object(p, argv[0], argc - 5, argv + 5, extra, err);
}

typedef struct canceller {
    vmbi_cancel *cancel;
    int64_t after_ms;
} canceller;

static void *cancel_later(void *arg)
{
    canceller *c = arg;
    (void)usleep((useconds_t)c->after_ms * 1000);
    vmbi_cancel_fire(c->cancel);
    return NULL;
}

/* Peak of this program alone: ru_maxrss would begin with that of the process that started it. */
static int64_t peak_rss_kib(void)
{
    char line[256];
    long long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "VmHWM: %lld kB", &kib) == 1) {
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib;
}

static void report(const probe *p, vmb_code rc, vmb_error *err, const vmbi_buf *extra)
{
    struct rusage usage;
    vmbi_buf line = VMBI_BUF_INIT(DOC_MAX);
    const char *message = vmb_error_message(err);
    (void)getrusage(RUSAGE_SELF, &usage);
    vmbi_buf_addf(&line, "{\"code\":\"%s\",\"retryable\":%d,\"ms\":%.1f,\"firstMs\":%.1f",
                  vmb_code_name(rc), vmbi_error_is_retryable(err) ? 1 : 0,
                  (double)(vmbi_mono_ns() - p->started_ns) / 1e6,
                  p->first_ns != 0 ? (double)(p->first_ns - p->started_ns) / 1e6 : -1.0);
    vmbi_buf_addf(&line, ",\"rssKiB\":%" PRId64 ",\"cpuMs\":%.1f,\"message\":", peak_rss_kib(),
                  (double)usage.ru_utime.tv_sec * 1e3 + (double)usage.ru_utime.tv_usec / 1e3 +
                      (double)usage.ru_stime.tv_sec * 1e3 + (double)usage.ru_stime.tv_usec / 1e3);
    vmbi_buf_add_json_string(&line, message, strlen(message));
    vmbi_buf_add(&line, extra->data != NULL ? extra->data : "", extra->len);
    vmbi_buf_adds(&line, "}\n");
    (void)fwrite(line.data, 1, line.len, stdout);
    vmbi_buf_free(&line);
}

/* --key value pairs; the rest of the words. Settings go to the provider as strings. */
static int read_options(probe *p, vmbi_json *settings, int64_t *deadline_ms, int64_t *cancel_ms,
                        int argc, char **argv)
{
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *key = argv[i] + 2;
        const char *value = argv[i + 1];
        int64_t n = 0;
        bool number = vmbi_parse_i64(value, strlen(value), &n);
        if (strcmp(key, "deadline-ms") == 0 && number) {
            *deadline_ms = n;
        } else if (strcmp(key, "cancel-ms") == 0 && number) {
            *cancel_ms = n;
        } else if (strcmp(key, "page") == 0 && number) {
            p->page_size = n;
        } else if (strcmp(key, "item-sleep-ms") == 0 && number) {
            p->item_sleep_ms = n;
        } else if (strcmp(key, "fail-at") == 0 && number) {
            p->fail_at = n;
        } else if (strcmp(key, "get-at") == 0 && number) {
            p->get_at = n;
        } else if (strcmp(key, "names") == 0) {
            p->names = n != 0;
        } else if (!vmbi_json_set_str(settings, key, value)) {
            return argc;
        }
    }
    return i;
}

int main(int argc, char **argv)
{
    static probe p;
    vmbi_json *settings = vmbi_json_object();
    vmbi_buf extra = VMBI_BUF_INIT(DOC_MAX);
    vmb_error *err = NULL;
    canceller cancel = {NULL, -1};
    int64_t deadline_ms = -1;
    pthread_t thread;
    vmbi_buf_init(&p.doc, DOC_MAX);
    vmbi_buf_init(&p.name_list, DOC_MAX);
    int first = read_options(&p, settings, &deadline_ms, &cancel.after_ms, argc, argv);
    if (first >= argc || vmbi_cancel_new(&cancel.cancel, NULL) != VMB_OK ||
        vmbi_digest_new(VMBI_SHA256, &p.digest, NULL) != VMB_OK) {
        (void)fputs("usage: see the head of kube_probe.c\n", stderr);
        return 2;
    }
    p.started_ns = vmbi_mono_ns();
    vmb_code rc = vmbi_cluster_kube_new(settings, &p.cluster, &p.exec, &err);
    vmbi_json_free(settings);
    if (rc == VMB_OK) {
        vmbi_limits none = {0, cancel.cancel};
        p.job.limits = deadline_ms >= 0 ? vmbi_limits_within(&none, deadline_ms * VMBI_MS) : none;
        bool armed = cancel.after_ms >= 0 &&
                     pthread_create(&thread, NULL, cancel_later, &cancel) == 0;
        rc = run(&p, argc - first, argv + first, &extra, &err);
        report(&p, rc, err, &extra);
        if (armed) {
            (void)pthread_join(thread, NULL);
        }
        /* the exec half first: the cluster's must keep the client alive, and the other way round */
        p.exec.destroy(p.exec.user);
        p.cluster.destroy(p.cluster.user);
    } else {
        report(&p, rc, err, &extra);
    }
    vmb_error_free(err);
    vmbi_digest_free(p.digest);
    vmbi_cancel_free(cancel.cancel);
    vmbi_buf_free(&p.doc);
    vmbi_buf_free(&p.name_list);
    vmbi_buf_free(&extra);
    return 0;
}
