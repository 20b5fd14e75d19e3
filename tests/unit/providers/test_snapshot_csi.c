/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_csi_fixture.h"

/* ---- bidding and beginning
 * ----------------------------------------------------------------------- */

static int32_t bid(fixture *x)
{
    int32_t score = -1;
    assert_int_equal(x->p.bid(x->p.user, &x->f.job, x->text, x->len, &score, &x->err), VMB_OK);
    return score;
}

static void bid_csi_volume_is_generic(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    assert_int_equal(bid(&x), 100);
    close_fixture(&x);
}

static void bid_other_volumes_is_zero(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    set_volume(&x, "{'pvc':{'metadata':{'name':'a','namespace':'b'}},'pv':{'spec':{'nfs':{}}},"
                   "'storageClass':null}");
    assert_int_equal(bid(&x), 0);
    set_volume(&x, "{'pvc':{'metadata':{'name':'a','namespace':'b'}},'pv':null,"
                   "'storageClass':null}");
    assert_int_equal(bid(&x), 0);
    close_fixture(&x);
}

static void bid_cluster_without_snapshots_is_zero(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", SNAP);
    assert_int_equal(bid(&x), 0);
    close_fixture(&x);
}

static void begin_creates_velero_snapshot(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    const vmbi_json *vs = only_snapshot(&x);
    const char *name = vmbi_json_path_str(vs, "metadata.name");
    assert_int_equal(strlen(name), strlen("velero-web-root-") + 5);
    assert_true(vmbi_starts_with(name, "velero-web-root-"));
    assert_string_equal(vmbi_json_path_str(vs, "metadata.namespace"), "shop");
    assert_string_equal(vmbi_json_path_str(vs, "metadata.labels.app"), "web");
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_path(vs, "metadata.labels"), "velero.io/backup-name"), "b1");
    assert_string_equal(vmbi_json_path_str(vs, "spec.source.persistentVolumeClaimName"),
                        "web-root");
    assert_string_equal(vmbi_json_path_str(vs, "spec.volumeSnapshotClassName"), "only");
    close_fixture(&x);
}

static void begin_long_names_stay_label_safe(void **unused)
{
    fixture x;
    char claim[260];
    char text[2048];
    char backup[101];
    (void)unused;
    memset(claim, 'c', 200);
    claim[200] = '\0';
    memset(backup, 'b', 100);
    backup[100] = '\0';
    open_fixture(&x);
    fake_backup(&x.f, backup, backup_json);
    (void)snprintf(text, sizeof text,
                   "{'pvc':{'metadata':{'name':'%s','namespace':'shop'},'spec':{'storageClassName':"
                   "'fast'},'status':{'phase':'Bound'}},'pv':{'spec':{'csi':{'driver':'d.csi'}}}}",
                   claim);
    set_volume(&x, text);
    assert_int_equal(begin(&x), VMB_OK);
    const vmbi_json *vs = only_snapshot(&x);
    assert_int_equal(strlen(vmbi_json_path_str(vs, "metadata.name")), 63);
    assert_int_equal(
        strlen(vmbi_json_get_str(vmbi_json_path(vs, "metadata.labels"), "velero.io/backup-name")),
        63);
    close_fixture(&x);
}

static void refused(const char *volume, vmb_code code, const char *part)
{
    fixture x;
    open_fixture(&x);
    set_volume(&x, volume);
    assert_int_equal(begin(&x), code);
    assert_null(x.op);
    assert_error(&x, part);
    assert_int_equal(x.f.calls[FAKE_CREATE], 0);
    close_fixture(&x);
}

static void begin_unfit_claims_are_refused(void **unused)
{
    (void)unused;
    refused("{'pvc':{'metadata':{'name':'a','namespace':'n'},'spec':{'storageClassName':'s'},"
            "'status':{'phase':'Pending'}},'pv':null}",
            VMB_E_INVALID, "Pending");
    refused("{'pvc':{'metadata':{'name':'a','namespace':'n'},'spec':{'storageClassName':'s'},"
            "'status':{'phase':'Lost'}},'pv':null}",
            VMB_E_INVALID, "Lost");
    refused("{'pvc':{'metadata':{'name':'a','namespace':'n'},'spec':{},'status':{'phase':'Bound'}},"
            "'pv':{'spec':{'csi':{'driver':'d.csi'}}}}",
            VMB_E_INVALID, "no storage class");
    refused("{'pvc':{'metadata':{'name':'a','namespace':'n'},'spec':{'storageClassName':'s'},"
            "'status':{'phase':'Bound'}},'pv':{'spec':{'nfs':{}}}}",
            VMB_E_UNSUPPORTED, "not a CSI volume");
}

/* ---- classes
 * ------------------------------------------------------------------------------------- */

static const char *class_of(fixture *x)
{
    if (begin(x) != VMB_OK) {
        return vmb_error_message(x->err);
    }
    return vmbi_json_path_str(only_snapshot(x), "spec.volumeSnapshotClassName");
}

#define LABELLED "{'velero.io/csi-volumesnapshot-class':'false'}"
#define DEFAULT "{'snapshot.storage.kubernetes.io/is-default-class':'true'}"

static void class_label_value_is_ignored(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    put_class(&x, "a-plain", "d.csi", "{}", DEFAULT);
    put_class(&x, "z-labelled", "d.csi", LABELLED, "{}");
    put_class(&x, "b-other", "other.csi", LABELLED, "{}");
    assert_string_equal(class_of(&x), "z-labelled");
    close_fixture(&x);
}

static void class_two_labelled_first_name_wins(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    put_class(&x, "second", "d.csi", LABELLED, "{}");
    put_class(&x, "first", "d.csi", LABELLED, "{}");
    assert_string_equal(class_of(&x), "first");
    close_fixture(&x);
}

static void class_default_beats_plain(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    put_class(&x, "a", "d.csi", "{}", "{}");
    put_class(&x, "b", "d.csi", "{}", DEFAULT);
    assert_string_equal(class_of(&x), "b");
    close_fixture(&x);
}

static void class_ambiguous_error_names_label(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    put_class(&x, "a", "d.csi", "{}", "{}");
    put_class(&x, "b", "d.csi", "{}", "{}");
    assert_int_equal(begin(&x), VMB_E_NOT_FOUND);
    assert_error(&x, "velero.io/csi-volumesnapshot-class");
    assert_error(&x, "more than one");
    assert_error(&x, "d.csi");
    close_fixture(&x);
}

static void set_claim_wish(fixture *x, const char *wish)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "{'pvc':{'metadata':{'name':'web-root','namespace':'shop','annotations':"
                   "{'velero.io/csi-volumesnapshot-class':'%s'}},'spec':{'storageClassName':"
                   "'fast'},'status':{'phase':'Bound'}},'pv':{'spec':{'csi':{'driver':'d.csi'}}}}",
                   wish);
    set_volume(x, text);
}

static void class_claim_annotation_wins_without_case(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    put_class(&x, "wanted", "D.CSI", "{}", "{}");
    put_class(&x, "labelled", "d.csi", LABELLED, "{}");
    set_claim_wish(&x, "Wanted");
    assert_string_equal(class_of(&x), "wanted");
    close_fixture(&x);
}

static void class_wish_for_other_driver_warns_and_falls_through(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    put_class(&x, "foreign", "other.csi", "{}", "{}");
    put_class(&x, "labelled", "d.csi", LABELLED, "{}");
    set_claim_wish(&x, "foreign");
    assert_string_equal(class_of(&x), "labelled");
    assert_logged(&x, "W:the claim asks for snapshot class foreign");
    close_fixture(&x);
}

static void class_backup_annotation_is_by_driver(void **unused)
{
    fixture x;
    (void)unused;
    open_with(&x, "{}", "");
    fake_backup(&x.f, "b1",
                "{\"metadata\":{\"annotations\":{\"velero.io/csi-volumesnapshot-class_d.csi\":"
                "\"chosen\"}}}");
    put_class(&x, "chosen", "d.csi", "{}", "{}");
    put_class(&x, "labelled", "d.csi", LABELLED, "{}");
    assert_string_equal(class_of(&x), "chosen");
    close_fixture(&x);
}

static void class_list_is_asked_once_per_run(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    x.p.op_free(x.p.user, x.op);
    x.op = NULL;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(x.f.calls[FAKE_LIST], 1);
    fake_backup(&x.f, "b2", "{\"metadata\":{\"name\":\"b2\",\"uid\":\"other\"}}");
    x.p.op_free(x.p.user, x.op);
    x.op = NULL;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(x.f.calls[FAKE_LIST], 2);
    close_fixture(&x);
}

/* ---- watching
 * ------------------------------------------------------------------------------------ */

static void poll_reports_cut_before_ready(void **unused)
{
    fixture x;
    int32_t state = -1;
    (void)unused;
    open_fixture(&x);
    x.f.storage.handle_after = 5;
    x.f.storage.ready_after = 40;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_once(&x, 0, &state), VMB_OK);
    assert_int_equal(state, VMB_SNAPSHOT_PENDING);
    assert_int_equal(poll_once(&x, VMBI_SECOND, &state), VMB_OK);
    assert_int_equal(state, VMB_SNAPSHOT_CUT);
    assert_true(x.f.looks < 40);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_OK);
    close_fixture(&x);
}

static void poll_handle_and_ready_at_once_is_ready(void **unused)
{
    fixture x;
    int32_t state = -1;
    (void)unused;
    open_fixture(&x);
    x.f.storage.bind_after = x.f.storage.handle_after = x.f.storage.ready_after = 1;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_once(&x, VMBI_SECOND, &state), VMB_OK);
    assert_int_equal(state, VMB_SNAPSHOT_READY);
    close_fixture(&x);
}

static void poll_wait_is_bounded(void **unused)
{
    fixture x;
    int32_t state = -1;
    (void)unused;
    open_fixture(&x);
    x.f.storage.controller = false;
    assert_int_equal(begin(&x), VMB_OK);
    int64_t start = vmbi_mono_ns();
    assert_int_equal(poll_once(&x, 30 * VMBI_MS, &state), VMB_OK);
    int64_t took = vmbi_mono_ns() - start;
    assert_int_equal(state, VMB_SNAPSHOT_PENDING);
    assert_true(took >= 30 * VMBI_MS && took < 20 * VMBI_SECOND);
    close_fixture(&x);
}

static void poll_error_that_heals_is_no_failure(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.vs_error = "failed to take snapshot of the volume vol-1: busy";
    x.f.storage.vs_error_until = 30;
    x.f.storage.bind_after = x.f.storage.handle_after = x.f.storage.ready_after = 31;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_OK);
    close_fixture(&x);
}

static void poll_error_that_cannot_heal_fails_after_grace(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.vs_error = "Failed to get snapshot class gone with error not found";
    x.f.storage.vs_error_until = -1;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_CUT), VMB_E_INVALID);
    assert_error(&x, "snapshot class gone");
    assert_error(&x, "of claim web-root");
    close_fixture(&x);
}

static void poll_short_config_error_is_forgiven(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.vs_error = "cannot get claim from snapshot";
    x.f.storage.vs_error_until = 4;
    x.f.storage.bind_after = x.f.storage.handle_after = x.f.storage.ready_after = 4;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_OK);
    close_fixture(&x);
}

static void deadline(fixture *x, int64_t ns)
{
    x->f.job.limits.deadline_mono_ns = vmbi_mono_ns() + ns;
}

static void poll_error_without_message_times_out_with_text(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.vsc_error = "{}";
    assert_int_equal(begin(&x), VMB_OK);
    deadline(&x, 300 * VMBI_MS);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_CUT), VMB_E_TIMEOUT);
    assert_error(&x, "an error without a message");
    close_fixture(&x);
}

static void poll_driver_without_sidecar_times_out_naming_it(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.sidecar = false;
    assert_int_equal(begin(&x), VMB_OK);
    deadline(&x, 300 * VMBI_MS);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_CUT), VMB_E_TIMEOUT);
    assert_error(&x, "driver d.csi");
    assert_error(&x, "no snapshotter has answered");
    close_fixture(&x);
}

static void poll_cancelled_run_ends_wait(void **unused)
{
    fixture x;
    int32_t state = -1;
    (void)unused;
    open_fixture(&x);
    x.f.storage.controller = false;
    assert_int_equal(vmbi_cancel_new(&x.f.cancel, NULL), VMB_OK);
    x.f.job.limits.cancel = x.f.cancel;
    assert_int_equal(begin(&x), VMB_OK);
    vmbi_cancel_fire(x.f.cancel);
    assert_int_equal(poll_once(&x, 10 * VMBI_SECOND, &state), VMB_E_CANCELLED);
    assert_int_equal(state, -1);
    close_fixture(&x);
}

static void poll_deleted_snapshot_fails(void **unused)
{
    fixture x;
    int32_t state = -1;
    (void)unused;
    open_fixture(&x);
    x.f.storage.controller = false;
    assert_int_equal(begin(&x), VMB_OK);
    const char *name = vmbi_json_path_str(only_snapshot(&x), "metadata.name");
    assert_int_equal(vmb_cluster_remove(&x.f.cluster, &x.f.job, SNAP, NULL, "volumesnapshots",
                                        "shop", name, NULL),
                     VMB_OK);
    assert_int_equal(poll_once(&x, VMBI_SECOND, &state), VMB_E_NOT_FOUND);
    close_fixture(&x);
}

static void poll_vanished_content_fails_after_grace(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.ready_after = 1000000;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_CUT), VMB_OK);
    assert_int_equal(vmb_cluster_remove(&x.f.cluster, &x.f.job, SNAP, NULL,
                                        "volumesnapshotcontents", NULL, "snapcontent-uid-1", NULL),
                     VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_E_INVALID);
    assert_error(&x, "VolumeSnapshotContent is gone");
    close_fixture(&x);
}

static void poll_content_of_another_is_refused(void **unused)
{
    fixture x;
    int32_t state = 0;
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    x.f.storage.controller = false;
    fake_put(&x.f, SNAP, "volumesnapshotcontents",
             "{'metadata':{'name':'foreign'},'spec':{'volumeSnapshotRef':{'uid':'not-ours'}},"
             "'status':{'snapshotHandle':'h','readyToUse':true}}");
    vmbi_json *status = vmbi_json_ensure_object(only_snapshot(&x), "status");
    assert_true(vmbi_json_set_str(status, "boundVolumeSnapshotContentName", "foreign"));
    assert_int_equal(poll_once(&x, 0, &state), VMB_E_CONFLICT);
    close_fixture(&x);
}

static void poll_passing_server_errors_are_survived(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    fake_fail(&x.f, FAKE_GET, NULL, VMB_E_SERVER, 5);
    x.f.fault[FAKE_GET].retryable = true;
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_OK);
    close_fixture(&x);
}

static void poll_denied_fails_at_once(void **unused)
{
    fixture x;
    int32_t state = 0;
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    fake_fail(&x.f, FAKE_GET, "volumesnapshots", VMB_E_DENIED, 1);
    assert_int_equal(poll_once(&x, VMBI_SECOND, &state), VMB_E_DENIED);
    close_fixture(&x);
}

static void begin_lost_answer_is_recovered(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    fake_fail(&x.f, FAKE_CREATE, NULL, VMB_E_NET, 1);
    x.f.fault[FAKE_CREATE].after = true;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 1);
    close_fixture(&x);
}

static void begin_lost_request_fails_at_poll(void **unused)
{
    fixture x;
    int32_t state = 0;
    (void)unused;
    open_fixture(&x);
    fake_fail(&x.f, FAKE_CREATE, NULL, VMB_E_NET, 1);
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_once(&x, VMBI_SECOND, &state), VMB_E_NET);
    assert_error(&x, "fault on demand");
    close_fixture(&x);
}

static void begin_denied_leaves_nothing(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    fake_fail(&x.f, FAKE_CREATE, NULL, VMB_E_DENIED, 1);
    assert_int_equal(begin(&x), VMB_E_DENIED);
    assert_null(x.op);
    close_fixture(&x);
}

/* ---- describing
 * ---------------------------------------------------------------------------------- */

static void describe_before_cut_is_refused(void **unused)
{
    fixture x;
    vmbi_buf b = VMBI_BUF_INIT(1024);
    struct vmb_sink sink = vmbi_sink_to_buf(&b);
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(x.p.describe(x.p.user, &x.f.job, x.op, &sink, &x.err), VMB_E_STATE);
    close_fixture(&x);
}

static void describe_ready_is_velero_record(void **unused)
{
    fixture x;
    char want[1024];
    (void)unused;
    open_fixture(&x);
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_READY), VMB_OK);
    vmbi_json *d = describe(&x);
    const char *vs = vmbi_json_path_str(only_snapshot(&x), "metadata.name");
    const char *id = vmbi_json_get_str(d, "operationID");
    vmbi_json *info = vmbi_json_get(d, "volumeInfo");
    const char *done = vmbi_json_get_str(info, "completionTimestamp");
    int64_t parsed = 0;
    assert_true(done != NULL && vmbi_parse_rfc3339(done, &parsed));
    (void)snprintf(want, sizeof want,
                   "{'pvcName':'web-root','pvcNamespace':'shop','pvName':'pv-1','backupMethod':"
                   "'CSISnapshot','snapshotDataMoved':false,'preserveLocalSnapshot':true,"
                   "'skipped':false,'startTimestamp':'2026-11-24T01:02:03Z',"
                   "'completionTimestamp':'%s','result':'succeeded','csiSnapshotInfo':"
                   "{'snapshotHandle':'snap-1','size':1073741824,'driver':'d.csi','vscName':"
                   "'snapcontent-uid-1','operationID':'%s','ReadyToUse':true},'pvInfo':"
                   "{'reclaimPolicy':'Delete','labels':null}}",
                   done, id);
    vmbi_json *expected = fake_json(want);
    assert_true(vmbi_json_equal(info, expected));
    vmbi_json_free(expected);

    vmbi_json *op = vmbi_json_get(d, "operation");
    (void)snprintf(want, sizeof want,
                   "{'backupName':'b1','backupUID':'b-uid','backupItemAction':"
                   "'velero.io/csi-volumesnapshot-backupper','operationID':'%s',"
                   "'resourceIdentifier':{'Group':'" SNAP "','Resource':'volumesnapshots',"
                   "'Namespace':'shop','Name':'%s'},'postOperationItems':[{'Group':'" SNAP "',"
                   "'Resource':'volumesnapshots','Namespace':'shop','Name':'%s'},{'Group':'" SNAP
                   "','Resource':'volumesnapshotcontents','Namespace':'','Name':"
                   "'snapcontent-uid-1'}]}",
                   id, vs, vs);
    expected = fake_json(want);
    assert_true(vmbi_json_equal(vmbi_json_get(op, "spec"), expected));
    vmbi_json_free(expected);
    assert_string_equal(vmbi_json_path_str(op, "status.phase"), "Completed");
    assert_true(vmbi_starts_with(id, "shop/velero-web-root-"));
    assert_true(vmbi_parse_rfc3339(strrchr(id, '/') + 1, &parsed));
    vmbi_json_free(d);
    close_fixture(&x);
}

static void describe_items_are_ordered_and_clean(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.ready_after = 1000000;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_CUT), VMB_OK);
    vmbi_json *d = describe(&x);
    vmbi_json *items = vmbi_json_get(d, "items");
    static const char *const order[] = {"volumesnapshotclasses", "volumesnapshotcontents",
                                        "volumesnapshots"};
    assert_int_equal(vmbi_json_len(items), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(vmbi_json_get_str(vmbi_json_at(items, i), "resource"), order[i]);
        assert_string_equal(vmbi_json_get_str(vmbi_json_at(items, i), "version"), "v1");
        assert_string_equal(vmbi_json_path_str(vmbi_json_at(items, i), "object.apiVersion"),
                            SNAP "/v1");
    }
    const vmbi_json *vsc = vmbi_json_get(vmbi_json_at(items, 1), "object");
    assert_null(vmbi_json_get(vmbi_json_path(vsc, "metadata.annotations"),
                              "snapshot.storage.kubernetes.io/volumesnapshot-being-created"));
    assert_string_equal(vmbi_json_str(vmbi_json_at(vmbi_json_path(vsc, "metadata.finalizers"), 0)),
                        "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection");
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_path(vsc, "metadata.labels"), "velero.io/backup-name"), "b1");
    const vmbi_json *vs = vmbi_json_get(vmbi_json_at(items, 2), "object");
    vmbi_json *want = fake_json("{'velero.io/csi-driver-name':'d.csi',"
                                "'velero.io/csi-vsc-deletion-policy':'Delete',"
                                "'velero.io/csi-volumesnapshot-handle':'snap-1',"
                                "'velero.io/csi-volumesnapshot-restore-size':'1Gi'}");
    assert_true(vmbi_json_equal(vmbi_json_path(vs, "metadata.annotations"), want));
    vmbi_json_free(want);
    assert_string_equal(vmbi_json_path_str(d, "operation.status.phase"), "InProgress");
    assert_null(vmbi_json_path(d, "volumeInfo.result"));
    vmbi_json_free(d);
    close_fixture(&x);
}

static const char *request_after(fixture *x, int64_t restore_size, vmbi_json **d)
{
    open_fixture(x);
    x->f.storage.restore_size = restore_size;
    assert_int_equal(begin(x), VMB_OK);
    assert_int_equal(poll_to(x, VMB_SNAPSHOT_CUT), VMB_OK);
    *d = describe(x);
    return vmbi_json_path_str(*d, "claimPatch.spec.resources.requests.storage");
}

static void describe_claim_request_is_raised_only_upwards(void **unused)
{
    fixture x;
    vmbi_json *d = NULL;
    (void)unused;
    assert_string_equal(request_after(&x, 1610612736, &d), "1536Mi");
    const char *vs = vmbi_json_path_str(only_snapshot(&x), "metadata.name");
    assert_string_equal(vmbi_json_get_str(vmbi_json_path(d, "claimPatch.metadata.labels"),
                                          "velero.io/volume-snapshot-name"),
                        vs);
    assert_string_equal(vmbi_json_get_str(vmbi_json_path(d, "claimPatch.metadata.annotations"),
                                          "velero.io/volume-snapshot-name"),
                        vs);
    assert_string_equal(
        vmbi_json_get_str(vmbi_json_path(d, "claimPatch.metadata.labels"), "velero.io/backup-name"),
        "b1");
    vmbi_json_free(d);
    close_fixture(&x);
    assert_null(request_after(&x, 1073741824, &d)); /* equal */
    vmbi_json_free(d);
    close_fixture(&x);
    assert_null(request_after(&x, 0, &d)); /* absent */
    vmbi_json_free(d);
    close_fixture(&x);
    assert_string_equal(request_after(&x, 1073741825, &d), "1073741825");
    vmbi_json_free(d);
    close_fixture(&x);
}

/* ---- releasing
 * ----------------------------------------------------------------------------------- */

static vmb_code finish(fixture *x)
{
    return x->p.finish(x->p.user, &x->f.job, x->op, &x->err);
}

static vmb_code cancel(fixture *x)
{
    return x->p.cancel(x->p.user, &x->f.job, x->op, &x->err);
}

static void begin_ready(fixture *x)
{
    open_fixture(x);
    assert_int_equal(begin(x), VMB_OK);
    assert_int_equal(poll_to(x, VMB_SNAPSHOT_READY), VMB_OK);
}

static void finish_keeps_data_and_drops_objects(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    assert_int_equal(finish(&x), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 0);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshotcontents"), 0);
    assert_int_equal(x.f.storage.snapshots, 1);
    int calls = x.f.calls[FAKE_REMOVE];
    assert_int_equal(finish(&x), VMB_OK);
    assert_int_equal(x.f.calls[FAKE_REMOVE], calls);
    close_fixture(&x);
}

static void finish_failed_patch_leaves_both(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    fake_fail(&x.f, FAKE_PATCH, NULL, VMB_E_DENIED, 1);
    assert_int_equal(finish(&x), VMB_E_DENIED);
    assert_int_equal(x.f.calls[FAKE_REMOVE], 0);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 1);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshotcontents"), 1);
    vmb_error_free(x.err);
    x.err = NULL;
    assert_int_equal(finish(&x), VMB_OK); /* again: now it works */
    assert_int_equal(x.f.storage.snapshots, 1);
    close_fixture(&x);
}

static void finish_content_gone_still_drops_snapshot(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    fake_fail(&x.f, FAKE_PATCH, NULL, VMB_E_NOT_FOUND, 1);
    fake_fail(&x.f, FAKE_REMOVE, "volumesnapshotcontents", VMB_E_NOT_FOUND, 1);
    x.f.storage.controller = false;
    assert_int_equal(finish(&x), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 0);
    close_fixture(&x);
}

static void cancel_removes_everything(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    assert_int_equal(x.f.storage.snapshots, 1);
    assert_int_equal(cancel(&x), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 0);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshotcontents"), 0);
    assert_int_equal(x.f.storage.snapshots, 0);
    close_fixture(&x);
}

static void cancel_retain_class_removes_data_too(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.deletion_policy = "Retain";
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(poll_to(&x, VMB_SNAPSHOT_CUT), VMB_OK);
    assert_int_equal(cancel(&x), VMB_OK);
    assert_int_equal(x.f.storage.snapshots, 0);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshotcontents"), 0);
    close_fixture(&x);
}

static void cancel_retain_content_found_after_snapshot_is_removed(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    /* the snapshot object went away under a Retain policy: only the content is left */
    vmbi_json *vsc = fake_get(&x.f, SNAP, "volumesnapshotcontents", NULL, "snapcontent-uid-1");
    assert_true(vmbi_json_set_str(vmbi_json_get(vsc, "spec"), "deletionPolicy", "Retain"));
    const char *name = vmbi_json_path_str(only_snapshot(&x), "metadata.name");
    assert_int_equal(vmb_cluster_remove(&x.f.cluster, &x.f.job, SNAP, NULL, "volumesnapshots",
                                        "shop", name, NULL),
                     VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshotcontents"), 1);
    assert_int_equal(cancel(&x), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshotcontents"), 0);
    assert_int_equal(x.f.storage.snapshots, 0);
    close_fixture(&x);
}

static void cancel_lost_sidecar_reports_leftovers(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    x.f.storage.sidecar = false;
    assert_int_equal(begin(&x), VMB_OK);
    int32_t state = 0;
    assert_int_equal(poll_once(&x, 20 * VMBI_MS, &state), VMB_OK);
    int64_t start = vmbi_mono_ns();
    assert_int_equal(cancel(&x), VMB_E_TIMEOUT);
    assert_true(vmbi_mono_ns() - start < 20 * VMBI_SECOND);
    assert_error(&x, "left behind: VolumeSnapshot and VolumeSnapshotContent");
    assert_error(&x, "driver d.csi");
    close_fixture(&x);
}

static void cancel_lost_create_answer_removes_snapshot(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x);
    fake_fail(&x.f, FAKE_CREATE, NULL, VMB_E_NET, 1);
    x.f.fault[FAKE_CREATE].after = true;
    assert_int_equal(begin(&x), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 1);
    assert_int_equal(cancel(&x), VMB_OK);
    assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 0);
    close_fixture(&x);
}

static void cancel_twice_is_harmless(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    assert_int_equal(cancel(&x), VMB_OK);
    int calls = x.f.calls[FAKE_GET];
    assert_int_equal(cancel(&x), VMB_OK);
    assert_int_equal(x.f.calls[FAKE_GET], calls);
    close_fixture(&x);
}

/* ---- settings, memory
 * ---------------------------------------------------------------------------- */

static void settings_unknown_or_bad_are_refused(void **unused)
{
    static const char *const bad[] = {"{'poll':'1s'}", "{'pollInterval':'soon'}",
                                      "{'pollInterval':5}", "{'cleanupTimeout':'0s'}",
                                      "{'pollInterval':'-1s'}"};
    (void)unused;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        vmb_snapshot_provider p;
        vmb_error *err = NULL;
        vmbi_json *s = fake_json(bad[i]);
        assert_int_equal(vmbi_snapshot_csi_new(s, &p, &err), VMB_E_ARG);
        assert_non_null(err);
        vmb_error_free(err);
        vmbi_json_free(s);
    }
}

/* Fails every allocation of begin and of describe in turn. The fake's own allocations fail too
 * where it hands errors on; it asserts elsewhere, so the snapshot is ready before. */
static void memory_describe_survives_every_failure(void **unused)
{
    fixture x;
    (void)unused;
    begin_ready(&x);
    for (uint64_t n = 1;; n++) {
        vmbi_buf b = VMBI_BUF_INIT(1 << 20);
        vmbi_buf_reserve(&b, 65536);
        struct vmb_sink sink = vmbi_sink_to_buf(&b);
        vmbi_alloc_fail_from(n);
        vmb_code code = x.p.describe(x.p.user, &x.f.job, x.op, &sink, NULL);
        vmbi_alloc_fail_from(0);
        vmbi_buf_free(&b);
        if (code == VMB_OK) {
            assert_true(n > 3);
            break;
        }
        assert_int_equal(code, VMB_E_NOMEM);
    }
    close_fixture(&x);
}

/* begin under a failing allocator: nothing leaks, and whatever was created belongs to an operation
 * that cancel can clean up. The fake allocates too, so the failure may hit on either side. */
static void memory_begin_never_loses_a_snapshot(void **unused)
{
    (void)unused;
    for (uint64_t n = 1; n < 400; n++) {
        fixture x;
        open_with(&x, "{'cleanupTimeout':'40ms'}", "");
        fake_put(&x.f, SNAP, "volumesnapshotclasses", class_json);
        x.f.storage.controller = false;
        vmbi_alloc_fail_from(n);
        vmb_code code = begin(&x);
        vmbi_alloc_fail_from(0);
        if (code != VMB_OK) {
            assert_null(x.op);
            assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 0);
        } else {
            vmb_code gone = cancel(&x); /* on a busy machine its 40 ms may not suffice */
            for (int i = 0; i < 10 && gone == VMB_E_TIMEOUT; i++) {
                gone = cancel(&x);
            }
            assert_int_equal(gone, VMB_OK);
            assert_int_equal(fake_count(&x.f, SNAP, "volumesnapshots"), 0);
        }
        close_fixture(&x);
        if (code == VMB_OK && n > 100) {
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bid_csi_volume_is_generic),
        cmocka_unit_test(bid_other_volumes_is_zero),
        cmocka_unit_test(bid_cluster_without_snapshots_is_zero),
        cmocka_unit_test(begin_creates_velero_snapshot),
        cmocka_unit_test(begin_long_names_stay_label_safe),
        cmocka_unit_test(begin_unfit_claims_are_refused),
        cmocka_unit_test(class_label_value_is_ignored),
        cmocka_unit_test(class_two_labelled_first_name_wins),
        cmocka_unit_test(class_default_beats_plain),
        cmocka_unit_test(class_ambiguous_error_names_label),
        cmocka_unit_test(class_claim_annotation_wins_without_case),
        cmocka_unit_test(class_wish_for_other_driver_warns_and_falls_through),
        cmocka_unit_test(class_backup_annotation_is_by_driver),
        cmocka_unit_test(class_list_is_asked_once_per_run),
        cmocka_unit_test(poll_reports_cut_before_ready),
        cmocka_unit_test(poll_handle_and_ready_at_once_is_ready),
        cmocka_unit_test(poll_wait_is_bounded),
        cmocka_unit_test(poll_error_that_heals_is_no_failure),
        cmocka_unit_test(poll_error_that_cannot_heal_fails_after_grace),
        cmocka_unit_test(poll_short_config_error_is_forgiven),
        cmocka_unit_test(poll_error_without_message_times_out_with_text),
        cmocka_unit_test(poll_driver_without_sidecar_times_out_naming_it),
        cmocka_unit_test(poll_cancelled_run_ends_wait),
        cmocka_unit_test(poll_deleted_snapshot_fails),
        cmocka_unit_test(poll_vanished_content_fails_after_grace),
        cmocka_unit_test(poll_content_of_another_is_refused),
        cmocka_unit_test(poll_passing_server_errors_are_survived),
        cmocka_unit_test(poll_denied_fails_at_once),
        cmocka_unit_test(begin_lost_answer_is_recovered),
        cmocka_unit_test(begin_lost_request_fails_at_poll),
        cmocka_unit_test(begin_denied_leaves_nothing),
        cmocka_unit_test(describe_before_cut_is_refused),
        cmocka_unit_test(describe_ready_is_velero_record),
        cmocka_unit_test(describe_items_are_ordered_and_clean),
        cmocka_unit_test(describe_claim_request_is_raised_only_upwards),
        cmocka_unit_test(finish_keeps_data_and_drops_objects),
        cmocka_unit_test(finish_failed_patch_leaves_both),
        cmocka_unit_test(finish_content_gone_still_drops_snapshot),
        cmocka_unit_test(cancel_removes_everything),
        cmocka_unit_test(cancel_retain_class_removes_data_too),
        cmocka_unit_test(cancel_retain_content_found_after_snapshot_is_removed),
        cmocka_unit_test(cancel_lost_sidecar_reports_leftovers),
        cmocka_unit_test(cancel_lost_create_answer_removes_snapshot),
        cmocka_unit_test(cancel_twice_is_harmless),
        cmocka_unit_test(settings_unknown_or_bad_are_refused),
        cmocka_unit_test(memory_describe_survives_every_failure),
        cmocka_unit_test(memory_begin_never_loses_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
