/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of the control loops, from a JSON object. */
#include "core/control/control.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"

static const char known[] =
    "defaultLocation, defaultTTL, validationPeriod, syncPeriod, gcPeriod, schedulePeriod, "
    "scheduleSkipImmediately, timeZone, leaderElection, leaseName, identity, version";

void vmbi_control_settings_free(vmbi_control_settings *s)
{
    vmbi_free(s->default_location);
    vmbi_free(s->identity);
    vmbi_free(s->lease_name);
    vmbi_free(s->zone);
    vmbi_free(s->version);
    *s = (vmbi_control_settings){0};
}

static vmb_code set_text(char **field, const char *key, const vmbi_json *v, vmb_error **err)
{
    const char *s = vmbi_json_str(v);
    if (s == NULL || s[0] == '\0') {
        return vmbi_fail(err, VMB_E_ARG, "control setting %s: must be a string", key);
    }
    char *copy = vmbi_strdup(s);
    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_free(*field);
    *field = copy;
    return VMB_OK;
}

static vmb_code set_period(int64_t *field, const char *key, const vmbi_json *v, vmb_error **err)
{
    const char *s = vmbi_json_str(v);
    int64_t ns = 0;
    if (s == NULL || !vmbi_duration_parse(s, &ns) || ns < 0) {
        return vmbi_fail(err, VMB_E_ARG, "control setting %s: must be a Go duration such as 1h",
                         key);
    }
    *field = ns;
    return VMB_OK;
}

static vmb_code set_flag(bool *field, const char *key, const vmbi_json *v, vmb_error **err)
{
    if (!vmbi_json_is_bool(v)) {
        return vmbi_fail(err, VMB_E_ARG, "control setting %s: must be true or false", key);
    }
    *field = vmbi_json_bool(v, false);
    return VMB_OK;
}

static vmb_code read_one(vmbi_control_settings *s, const char *key, const vmbi_json *v,
                         vmb_error **err)
{
    const struct {
        const char *key;
        char **text;
        int64_t *period;
        bool *flag;
    } fields[] = {
        {"defaultLocation", &s->default_location, NULL, NULL},
        {"defaultTTL", NULL, &s->default_ttl_ns, NULL},
        {"validationPeriod", NULL, &s->validation_ns, NULL},
        {"syncPeriod", NULL, &s->sync_ns, NULL},
        {"gcPeriod", NULL, &s->gc_ns, NULL},
        {"schedulePeriod", NULL, &s->schedule_ns, NULL},
        {"scheduleSkipImmediately", NULL, NULL, &s->skip_immediately},
        {"timeZone", &s->zone, NULL, NULL},
        {"leaderElection", NULL, NULL, &s->leader_election},
        {"leaseName", &s->lease_name, NULL, NULL},
        {"identity", &s->identity, NULL, NULL},
        {"version", &s->version, NULL, NULL},
    };
    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return fields[i].text != NULL     ? set_text(fields[i].text, key, v, err)
                   : fields[i].period != NULL ? set_period(fields[i].period, key, v, err)
                                              : set_flag(fields[i].flag, key, v, err);
        }
    }
    return vmbi_fail(err, VMB_E_ARG, "control setting %s is unknown; known are %s", key, known);
}

static vmb_code set_defaults(vmbi_control_settings *s, vmb_error **err)
{
    char host[128] = "";
    char identity[192];
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') {
        memcpy(host, "vmbackup", sizeof("vmbackup"));
    }
    (void)snprintf(identity, sizeof(identity), "%s_%ld", host, (long)getpid());
    *s = (vmbi_control_settings){
        .default_location = vmbi_strdup("default"),
        .default_ttl_ns = INT64_C(720) * 3600 * VMBI_SECOND,
        .validation_ns = 60 * VMBI_SECOND,
        .sync_ns = 60 * VMBI_SECOND,
        .gc_ns = 3600 * VMBI_SECOND,
        .schedule_ns = 60 * VMBI_SECOND,
        .identity = vmbi_strdup(identity),
        .lease_name = vmbi_strdup("vmbackup-operator"),
        .version = vmbi_strdup("vmbackup-" VMBI_VERSION),
    };
    return s->default_location != NULL && s->identity != NULL && s->lease_name != NULL &&
                   s->version != NULL
               ? VMB_OK
               : vmbi_fail_nomem(err);
}

vmb_code vmbi_control_settings_read(const vmbi_json *doc, vmbi_control_settings *out,
                                    vmb_error **err)
{
    vmb_code rc = set_defaults(out, err);
    if (rc == VMB_OK && doc != NULL && !vmbi_json_is_object(doc)) {
        rc = vmbi_fail(err, VMB_E_ARG, "control settings: must be an object, not %s",
                       vmbi_json_type_name(doc));
    }
    for (void *it = vmbi_json_iter(doc); it != NULL && rc == VMB_OK;
         it = vmbi_json_iter_next(doc, it)) {
        rc = read_one(out, vmbi_json_iter_key(it), vmbi_json_iter_value(it), err);
    }
    return rc;
}
