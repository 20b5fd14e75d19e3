/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of vmbackup-operator. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"

enum { BASIC = 12 }; /* flags that are no setting of the control */
enum { OPT_CONTROL = 1000, OPT_FLAG = 2000, OPT_SETTING = 3000 };

/* Flags that become a string or, from OPT_FLAG on, true in the control's settings. */
static const struct {
    const char *flag;
    const char *key;
    const char *value;
    const char *help;
} control_flags[] = {
    {"default-backup-storage-location", "defaultLocation", "NAME",
     "location of backups that name none, when none is marked (default)"},
    {"default-backup-ttl", "defaultTTL", "DURATION", "how long backups are kept (720h)"},
    {"store-validation-frequency", "validationPeriod", "DURATION",
     "between two looks at a location (1m)"},
    {"backup-sync-period", "syncPeriod", "DURATION", "between two looks for backups in it (1m)"},
    {"garbage-collection-frequency", "gcPeriod", "DURATION",
     "between two looks for expired backups (1h)"},
    {"schedule-period", "schedulePeriod", "DURATION", "between two looks at schedules (1m)"},
    {"time-zone", "timeZone", "ZONE", "of schedules without one (UTC)"},
    {"lease-name", "leaseName", "NAME", "of the Lease (vmbackup-operator)"},
    {"identity", "identity", "NAME", "of this process in the Lease (host name and process id)"},
};
static const struct {
    const char *flag;
    const char *key;
    const char *help;
} true_flags[] = {
    {"leader-elect", "leaderElection", "let one of several processes work"},
    {"schedule-skip-immediately", "scheduleSkipImmediately",
     "schedules do not begin with a backup that they missed"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void print_help(void)
{
    printf("usage: vmbackup-operator [flags]\n\n"
           "Does what Velero's server does for the custom resources of one namespace.\n\n");
    printf("  %-34s  %s\n", "--namespace NAME",
           "whose resources are served ($VELERO_NAMESPACE, or velero)");
    printf("  %-34s  %s\n", "--kubeconfig FILE", "outside of a cluster");
    printf("  %-34s  %s\n", "--context NAME", "of the kubeconfig");
    printf("  %-34s  %s\n", "--listen ADDRESS:PORT",
           "for /metrics, /healthz and /readyz (127.0.0.1:8085; \"\": none)");
    printf("  %-34s  %s\n", "--log-level LEVEL", "debug, info, warning or error (info)");
    printf("  %-34s  %s\n", "--fs-host-pods DIR",
           "the kubelet's folder of pods, for filesystem backups of this node");
    printf("  %-34s  %s\n", "--fs-node NAME", "the node that this process runs on");
    printf("  %-34s  %s\n", "--client-qps N",
           "requests a second to the API server (0: as many as it takes)");
    printf("  %-34s  %s\n", "--client-burst N", "requests above that at a time");
    printf("  %-34s  %s\n", "--set KEY=VALUE", "a setting of the library, see vmb_ctx_set()");
    for (size_t i = 0; i < COUNT(control_flags); i++) {
        char left[64];

        snprintf(left, sizeof(left), "--%s %s", control_flags[i].flag, control_flags[i].value);
        printf("  %-34s  %s\n", left, control_flags[i].help);
    }
    for (size_t i = 0; i < COUNT(true_flags); i++) {
        char left[64];

        snprintf(left, sizeof(left), "--%s", true_flags[i].flag);
        printf("  %-34s  %s\n", left, true_flags[i].help);
    }
}

static void usage(const char *message, const char *what)
{
    fprintf(stderr, "vmbackup-operator: %s%s; --help lists the flags\n", message, what);
    exit(2);
}

static void add_setting(struct operator_options *o, const char *text)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text) {
        usage("--set wants KEY=VALUE, not ", text);
    }
    char *key = strndup(text, (size_t)(equals - text));
    if (!key || json_object_set_new(o->settings, key, json_string(equals + 1)) != 0) {
        usage("--set is no UTF-8: ", text);
    }
    free(key);
}

static void set_option(struct operator_options *o, int c, const char *value)
{
    if (c >= OPT_FLAG) {
        json_object_set_new(o->control, true_flags[c - OPT_FLAG].key, json_true());
    } else if (c >= OPT_CONTROL) {
        json_object_set_new(o->control, control_flags[c - OPT_CONTROL].key, json_string(value));
    } else if (c == 'n') {
        o->ns = value;
    } else if (c == 'k') {
        o->kubeconfig = value;
    } else if (c == 'c') {
        o->context = value;
    } else if (c == 'l') {
        o->listen = value[0] ? value : NULL;
    } else if (c == 'v') {
        o->log_level = value;
    } else if (c == 'p') {
        o->host_pods = value;
    } else if (c == 'N') {
        o->node = value;
    } else if (c == 'q') {
        o->client_qps = value;
    } else if (c == 'b') {
        o->client_burst = value;
    } else if (c == 's') {
        add_setting(o, value);
    }
}

void options_read(int argc, char **argv, struct operator_options *out)
{
    struct option options[BASIC + COUNT(control_flags) + COUNT(true_flags) + 1] = {
        {"namespace", required_argument, NULL, 'n'},
        {"kubeconfig", required_argument, NULL, 'k'},
        {"context", required_argument, NULL, 'c'},
        {"listen", required_argument, NULL, 'l'},
        {"log-level", required_argument, NULL, 'v'},
        {"set", required_argument, NULL, 's'},
        {"fs-host-pods", required_argument, NULL, 'p'},
        {"fs-node", required_argument, NULL, 'N'},
        {"client-qps", required_argument, NULL, 'q'},
        {"client-burst", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
    };
    const char *env = getenv("VELERO_NAMESPACE");
    int c;

    for (size_t i = 0; i < COUNT(control_flags); i++) {
        options[BASIC + i] = (struct option){control_flags[i].flag, required_argument, NULL,
                                         OPT_CONTROL + (int)i};
    }
    for (size_t i = 0; i < COUNT(true_flags); i++) {
        options[BASIC + COUNT(control_flags) + i] =
            (struct option){true_flags[i].flag, no_argument, NULL, OPT_FLAG + (int)i};
    }
    *out = (struct operator_options){.ns = env && env[0] ? env : "velero",
                                     .listen = "127.0.0.1:8085",
                                     .log_level = "info",
                                     .client_qps = "0",
                                     .control = json_object(),
                                     .settings = json_object()};
    if (!out->control || !out->settings) {
        usage("out of memory", "");
    }
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            print_help();
            exit(0);
        }
        if (c == 'V') {
            printf("vmbackup-operator %s\n", vmb_version_string());
            exit(0);
        }
        if (c == '?') {
            exit(2);
        }
        set_option(out, c, optarg);
    }
    if (optind < argc) {
        usage("takes no arguments: ", argv[optind]);
    }
}
