/* SPDX-License-Identifier: Apache-2.0 */
/* The provider snapshot.csi on a fake cluster, with one volume; for test_snapshot_csi.c only. */
#ifndef SNAPSHOT_CSI_FIXTURE_H
#define SNAPSHOT_CSI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/strs.h"
#include "fake_cluster.h"
#include "providers/builtin.h"

#define SNAP "snapshot.storage.k8s.io"

typedef struct fixture {
    fake_cluster f;
    vmb_snapshot_provider p;
    void *op;
    vmb_error *err;
    vmbi_json *volume;
    char *text;
    size_t len;
} fixture;

static const char backup_json[] =
    "{\"metadata\":{\"name\":\"b1\",\"uid\":\"b-uid\",\"annotations\":{}},\"spec\":{}}";

static const char volume_json[] =
    "{'pvc':{'metadata':{'name':'web-root','namespace':'shop','labels':{'app':'web'}},"
    "'spec':{'storageClassName':'fast','volumeName':'pv-1','resources':{'requests':{'storage':"
    "'1Gi'}}},'status':{'phase':'Bound'}},"
    "'pv':{'metadata':{'name':'pv-1'},'spec':{'csi':{'driver':'d.csi','volumeHandle':'vol-1'},"
    "'persistentVolumeReclaimPolicy':'Delete'}},"
    "'storageClass':{'metadata':{'name':'fast'},'provisioner':'d.csi'}}";

static const char class_json[] =
    "{'apiVersion':'" SNAP "/v1','kind':'VolumeSnapshotClass','metadata':{'name':'only'},"
    "'driver':'d.csi','deletionPolicy':'Delete'}";

static void put_class(fixture *x, const char *name, const char *driver, const char *labels,
                      const char *annotations)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{'apiVersion':'" SNAP "/v1','kind':'VolumeSnapshotClass','metadata':{'name':"
                   "'%s','labels':%s,'annotations':%s},'driver':'%s','deletionPolicy':'Delete'}",
                   name, labels, annotations, driver);
    fake_put(&x->f, SNAP, "volumesnapshotclasses", text);
}

static void set_volume(fixture *x, const char *json)
{
    vmbi_json_free(x->volume);
    vmbi_free(x->text);
    x->volume = fake_json(json);
    assert_int_equal(vmbi_json_to_text(x->volume, &x->text, &x->len, NULL), VMB_OK);
}

static void open_with(fixture *x, const char *settings, const char *without)
{
    memset(x, 0, sizeof *x);
    fake_open(&x->f, without);
    fake_backup(&x->f, "b1", backup_json);
    vmbi_json *s = fake_json(settings);
    assert_int_equal(vmbi_snapshot_csi_new(s, &x->p, &x->err), VMB_OK);
    vmbi_json_free(s);
    set_volume(x, volume_json);
}

static void open_fixture(fixture *x)
{
    open_with(x, "{'pollInterval':'2ms','cleanupTimeout':'600ms','errorGrace':'40ms'}", "");
    fake_put(&x->f, SNAP, "volumesnapshotclasses", class_json);
}

static void close_fixture(fixture *x)
{
    if (x->op != NULL) {
        x->p.op_free(x->p.user, x->op);
    }
    x->p.destroy(x->p.user);
    vmb_error_free(x->err);
    vmbi_json_free(x->volume);
    vmbi_free(x->text);
    fake_close(&x->f);
}

static vmb_code begin(fixture *x)
{
    return x->p.begin(x->p.user, &x->f.job, x->text, x->len, &x->op, &x->err);
}

static vmb_code poll_once(fixture *x, int64_t wait_ns, int32_t *state)
{
    return x->p.poll(x->p.user, &x->f.job, x->op, wait_ns, state, &x->err);
}

/* Polls until the state or an error. */
static vmb_code poll_to(fixture *x, int32_t wanted)
{
    int32_t state = VMB_SNAPSHOT_PENDING;
    for (int i = 0; i < 200; i++) {
        vmb_code code = poll_once(x, 20 * VMBI_MS, &state);
        if (code != VMB_OK || state >= wanted) {
            return code;
        }
    }
    fail_msg("state %d was not reached", (int)wanted);
    return VMB_E_INTERNAL;
}

static vmbi_json *describe(fixture *x)
{
    vmbi_buf b = VMBI_BUF_INIT(1 << 20);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    vmbi_json *doc = NULL;
    assert_int_equal(x->p.describe(x->p.user, &x->f.job, x->op, &sink, &x->err), VMB_OK);
    assert_int_equal(vmbi_json_parse(b.data, b.len, "description", &doc, NULL), VMB_OK);
    vmbi_buf_free(&b);
    return doc;
}

static vmbi_json *only_snapshot(fixture *x)
{
    for (size_t i = 0; i < x->f.objects.n; i++) {
        if (x->f.objects.entries[i].value != NULL &&
            vmbi_starts_with(x->f.objects.entries[i].key, SNAP "/volumesnapshots/")) {
            return x->f.objects.entries[i].value;
        }
    }
    fail_msg("no snapshot");
    return NULL;
}

static void assert_error(const fixture *x, const char *part)
{
    if (strstr(vmb_error_message(x->err), part) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", vmb_error_message(x->err), part);
    }
}

static void assert_logged(const fixture *x, const char *part)
{
    if (x->f.log.data == NULL || strstr(x->f.log.data, part) == NULL) {
        fail_msg("log lacks \"%s\": %s", part, x->f.log.data != NULL ? x->f.log.data : "");
    }
}

#endif
