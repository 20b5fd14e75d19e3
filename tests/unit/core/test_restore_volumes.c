/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes of restores: disks of machines are filled before these come, and content that cannot be
 * brought back is told with the volume's name. */
#include "restore_support.h"

#include <stdio.h>
#include <string.h>

#define CLAIM(notes)                                                                               \
    "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"disk\","  \
    "\"namespace\":\"shop\",\"annotations\":{" notes "}},\"spec\":{\"volumeMode\":\"Block\"}}"

static const item machine[] = {
    {"persistentvolumeclaims/namespaces/shop/disk.json", CLAIM("\"own\":\"note\"")},
    {"virtualmachines.kubevirt.io/namespaces/shop/vm.json",
     "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"vm\","
     "\"namespace\":\"shop\"},\"spec\":{\"runStrategy\":\"Always\",\"template\":{\"spec\":{"
     "\"nodeSelector\":{\"zone\":\"a\"},\"volumes\":[{\"name\":\"d\",\"persistentVolumeClaim\":{"
     "\"claimName\":\"disk\"}}]}}}}"}};

static const char record[] =
    "[{\"metadata\":{\"annotations\":{\"velero.io/pvc-name\":\"disk\"}},\"spec\":{\"pod\":{"
    "\"namespace\":\"shop\",\"name\":\"virt-launcher-vm\"},\"volume\":\"d\",\"uploaderType\":"
    "\"restic\"},\"status\":{\"phase\":\"Completed\",\"snapshotID\":\"abc\"}}]";

static const char into_new[] =
    "{\"backupName\":\"b1\",\"namespaceMapping\":{\"shop\":\"new\"}}";

static int64_t count_of(const vmbi_json *report, const char *key)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "restore.status.%s", key);
    return vmbi_json_int(vmbi_json_path(report, path), 0);
}

/* The only error of a namespace, or of what has none. */
static const char *error_of(const vmbi_json *report, const char *ns)
{
    const vmbi_json *part = ns != NULL
                                ? vmbi_json_get(vmbi_json_path(report, "errors.namespaces"), ns)
                                : vmbi_json_path(report, "errors.cluster");
    assert_int_equal(vmbi_json_len(part), 1);
    const char *text = vmbi_json_str(vmbi_json_at(part, 0));
    assert_non_null(text);
    return text;
}

static bool is_pending(fake *f)
{
    vmbi_json *claim = created(f, "persistentvolumeclaims/new/disk");
    const vmbi_json *notes = vmbi_json_path(claim, "metadata.annotations");
    bool yes = vmbi_json_get(notes, "vmbackup.io/content") != NULL;
    assert_non_null(vmbi_json_get(notes, "own"));
    vmbi_json_free(claim);
    return yes;
}

static void assert_strategy(fake *f, const char *wanted)
{
    vmbi_json *vm = created(f, "virtualmachines.kubevirt.io/new/vm");
    assert_string_equal(vmbi_json_path_str(vm, "spec.runStrategy"), wanted);
    vmbi_json_free(vm);
}

static void disks_of_a_machine_are_filled_before_it_comes(void **state)
{
    fake *f = *state;
    make_backup(f, machine, 2);
    write_gz(f, "b1-podvolumebackups.json.gz", record);
    vmbi_json *report = restore(f, into_new, "Completed");
    assert_int_equal(f->fills, 3); /* not yet there; the disk; the end of the wait */
    assert_non_null(strstr(f->hooks, "new/vmbackup-restore-"));
    assert_non_null(strstr(f->hooks, "/vmbackup-restore-wait=(null)"));
    assert_false(is_pending(f));
    assert_strategy(f, "Always");
    vmbi_json_free(report);
    vmbi_json *pod = created(f, f->holder);
    assert_string_equal(vmbi_json_path_str(pod, "spec.nodeSelector.zone"), "a");
    /* 4 hours for volumes, 10 minutes more */
    int64_t seconds = vmbi_json_int(vmbi_json_path(pod, "spec.activeDeadlineSeconds"), 0);
    assert_in_range(seconds, 14000, 15000);
    const vmbi_json *c = vmbi_json_at(vmbi_json_path(pod, "spec.containers"), 0);
    assert_string_equal(vmbi_json_get_str(vmbi_json_at(vmbi_json_get(c, "volumeDevices"), 0),
                                          "devicePath"),
                        "/dev/disk-0");
    vmbi_json_free(pod);
    assert_true(place(f, f->holder) < place(f, "virtualmachines.kubevirt.io/new/vm"));
}

static void machine_with_a_disk_that_fails_is_halted(void **state)
{
    fake *f = *state;
    make_backup(f, machine, 2);
    write_gz(f, "b1-podvolumebackups.json.gz", record);
    f->fill_fails = 1;
    vmbi_json *report = restore(f, into_new, "PartiallyFailed");
    assert_non_null(strstr(error_of(report, "new"), "pod volume restore failed: volume disk-0"));
    assert_strategy(f, "Halted");
    assert_true(is_pending(f));
    vmbi_json_free(report);
    f->fill_fails = 0; /* another run does the rest */
    vmbi_json_free(restore(f, into_new, "Completed"));
    assert_false(is_pending(f));
}

static void machine_that_runs_is_not_written_to(void **state)
{
    fake *f = *state;
    make_backup(f, machine, 2);
    write_gz(f, "b1-podvolumebackups.json.gz", record);
    add(f, "virtualmachineinstances.kubevirt.io/new/vm", "{\"metadata\":{\"name\":\"vm\"}}");
    vmbi_json *report = restore(f, into_new, "PartiallyFailed");
    assert_non_null(strstr(error_of(report, "new"), "its disks are in use"));
    assert_int_equal(f->fills, 0);
    assert_null(find(f, "virtualmachines.kubevirt.io/new/vm")); /* nor halted, nor made */
    vmbi_json_free(report);
}

static void claim_whose_pod_is_not_restored_warns(void **state)
{
    fake *f = *state;
    make_backup(f, machine, 1);
    write_gz(f, "b1-podvolumebackups.json.gz", record);
    vmbi_json *report = restore(f, into_new, "Completed");
    assert_int_equal(count_of(report, "warnings"), 1);
    assert_true(is_pending(f));
    vmbi_json_free(report);
}

static void moved_data_is_an_error_that_names_the_claim(void **state)
{
    fake *f = *state;
    static const char meta[] =
        "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\",\"metadata\":{\"name\":\"b1\"},"
        "\"spec\":{\"snapshotMoveData\":true},\"status\":{\"phase\":\"Completed\"}}";
    static const item claim[] = {{"persistentvolumeclaims/namespaces/shop/disk.json",
                                  CLAIM("\"velero.io/data-upload-name\":\"b1-x\"")}};
    make_backup(f, claim, 1);
    write_file(f, "velero-backup.json", meta, sizeof(meta) - 1);
    vmbi_json *report = restore(f, into_new, "PartiallyFailed");
    const char *text = error_of(report, "new");
    assert_non_null(strstr(text, "persistentvolumeclaims/new/disk"));
    assert_non_null(strstr(text, "data mover"));
    assert_null(find(f, "persistentvolumeclaims/new/disk"));
    vmbi_json_free(report);
}

static void native_snapshot_is_an_error_that_names_the_volume(void **state)
{
    fake *f = *state;
    static const item volume[] = {
        {"persistentvolumes/cluster/pv1.json",
         "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":\"pv1\"},"
         "\"spec\":{}}"}};
    make_backup(f, volume, 1);
    write_gz(f, "b1-volumeinfo.json.gz",
             "[{\"pvName\":\"pv1\",\"backupMethod\":\"NativeSnapshot\"}]");
    vmbi_json *report = restore(f, "{\"backupName\":\"b1\"}", "PartiallyFailed");
    const char *text = error_of(report, NULL);
    assert_non_null(strstr(text, "persistentvolumes/pv1"));
    assert_non_null(strstr(text, "only those of CSI"));
    vmbi_json_free(report);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(disks_of_a_machine_are_filled_before_it_comes),
        TEST(machine_with_a_disk_that_fails_is_halted),
        TEST(machine_that_runs_is_not_written_to),
        TEST(claim_whose_pod_is_not_restored_warns),
        TEST(moved_data_is_an_error_that_names_the_claim),
        TEST(native_snapshot_is_an_error_that_names_the_volume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
