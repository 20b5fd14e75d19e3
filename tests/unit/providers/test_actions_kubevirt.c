/* SPDX-License-Identifier: Apache-2.0 */
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
#include "providers/actions_kubevirt/graph.h"
#include "providers/builtin.h"
#include "providers/common/objects.h"

#define KV "kubevirt.io"
#define CDI "cdi.kubevirt.io"
#define TYPES "instancetype.kubevirt.io"
#define CLAIMS "persistentvolumeclaims"

typedef struct fixture {
    fake_cluster f;
    fake_actions a;
    vmb_action_result r;
    vmbi_json *item;
    vmb_error *err;
    char backup[1024];
} fixture;

static void set_backup(fixture *x, const char *labels, const char *spec)
{
    (void)snprintf(x->backup, sizeof x->backup,
                   "{'metadata':{'name':'b1','uid':'u1','labels':%s},'spec':%s}", labels, spec);
    for (char *p = x->backup; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    fake_backup(&x->f, "b1", x->backup);
}

static void open_fixture(fixture *x, const char *without)
{
    vmb_action_provider p;
    memset(x, 0, sizeof *x);
    fake_open(&x->f, without);
    set_backup(x, "{}", "{}");
    assert_int_equal(vmbi_vm_action(20 * VMBI_MS, &p, NULL), VMB_OK);
    assert_int_equal(fake_actions_add(&x->a, &p, NULL), VMB_OK);
    assert_int_equal(vmbi_vmi_action(&p, NULL), VMB_OK);
    assert_int_equal(fake_actions_add(&x->a, &p, NULL), VMB_OK);
    assert_int_equal(vmbi_disks_action(&p, NULL), VMB_OK);
    assert_int_equal(fake_actions_add(&x->a, &p, NULL), VMB_OK);
}

static void reset(fixture *x)
{
    vmbi_action_result_free(&x->r);
    vmbi_json_free(x->item);
    x->item = NULL;
    vmb_error_free(x->err);
    x->err = NULL;
}

static void close_fixture(fixture *x)
{
    reset(x);
    fake_actions_free(&x->a);
    fake_close(&x->f);
}

/* Runs the actions over an object of the cluster, as collection would. */
static vmb_code run(fixture *x, const char *group, const char *resource, const char *name)
{
    reset(x);
    x->item = vmbi_json_copy(fake_get(&x->f, group, resource, "shop", name));
    assert_non_null(x->item);
    return fake_actions_run(&x->a, &x->f, group, resource, &x->item, &x->r, &x->err);
}

static vmb_code run_vm(fixture *x)
{
    return run(x, KV, "virtualmachines", "db");
}

static int core_related(const fixture *x, const char *resource, const char *name)
{
    return fake_related(&x->r, "", resource, "shop", name);
}

static void assert_error(const fixture *x, const char *part)
{
    if (strstr(vmb_error_message(x->err), part) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", vmb_error_message(x->err), part);
    }
}

/* The machine of the fact sheet: instance type in the namespace, preference of the cluster, a disk
 * from a template, cloud-init, SSH key, a foreign network, a disk plugged into the instance. */
static void put_machine(fixture *x, const char *status)
{
    char vm[4096];
    (void)snprintf(
        vm, sizeof vm,
        "{'apiVersion':'kubevirt.io/v1','kind':'VirtualMachine','metadata':{'name':'db',"
        "'namespace':'shop','uid':'vm-uid'},'spec':{'runStrategy':'Always','instancetype':{'kind':"
        "'VirtualMachineInstancetype','name':'small'},'preference':{'kind':"
        "'VirtualMachineClusterPreference','name':'fedora'},'dataVolumeTemplates':[{'metadata':"
        "{'name':'db-root'}}],'template':{'spec':{'domain':{'devices':{}},'accessCredentials':"
        "[{'sshPublicKey':{'source':{'secret':{'secretName':'db-ssh'}}}}],'networks':[{'name':"
        "'default','pod':{}},{'name':'lan','multus':{'networkName':'infra/vlan42'}}],'volumes':"
        "[{'name':'root','dataVolume':{'name':'db-root'}},{'name':'ci','cloudInitNoCloud':"
        "{'secretRef':{'name':'db-ci'}}}]}}},'status':%s}",
        status);
    fake_put(&x->f, KV, "virtualmachines", vm);
}

#define RUNNING                                                                                    \
    "{'created':true,'printableStatus':'Running','instancetypeRef':{'name':'small',"               \
    "'controllerRevisionRef':{'name':'db-small-1'}},'preferenceRef':{'name':'fedora',"             \
    "'controllerRevisionRef':{'name':'db-fedora-1'}}}"

static void put_instance(fixture *x, const char *labels, const char *conditions)
{
    char vmi[2048];
    (void)snprintf(
        vmi, sizeof vmi,
        "{'apiVersion':'kubevirt.io/v1','kind':'VirtualMachineInstance','metadata':{'name':'db',"
        "'namespace':'shop','uid':'vmi-uid','labels':%s,'ownerReferences':[{'apiVersion':"
        "'kubevirt.io/v1','kind':'VirtualMachine','name':'db','uid':'vm-uid'}]},'spec':{'volumes':"
        "[{'name':'root','dataVolume':{'name':'db-root'}},{'name':'hot','persistentVolumeClaim':"
        "{'claimName':'db-hot','hotpluggable':true}}],'utilityVolumes':[{'name':'u','claimName':"
        "'scratch'}]},'status':{'phase':'Running','nodeName':'w1','conditions':%s}}",
        labels, conditions);
    fake_put(&x->f, KV, "virtualmachineinstances", vmi);
}

static void put_launcher(fixture *x, const char *name, const char *labels, const char *node,
                         const char *phase)
{
    char pod[2048];
    (void)snprintf(pod, sizeof pod,
                   "{'metadata':{'name':'%s','namespace':'shop','labels':{'kubevirt.io':"
                   "'virt-launcher'%s},'annotations':{'kubevirt.io/domain':'db'}},'spec':"
                   "{'nodeName':'%s'},'status':{'phase':'%s'}}",
                   name, labels, node, phase);
    fake_put(&x->f, "", "pods", pod);
}

#define BY_UID ",'kubevirt.io/created-by':'vmi-uid'"

static void open_running(fixture *x)
{
    open_fixture(x, "");
    put_machine(x, RUNNING);
    put_instance(x, "{}", "[]");
    put_launcher(x, "launcher", BY_UID, "w1", "Running");
}

/* ---- the graph
 * ----------------------------------------------------------------------------------- */

static void machine_running_brings_whole_graph(void **unused)
{
    fixture x;
    (void)unused;
    open_running(&x);
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(fake_related(&x.r, KV, "virtualmachineinstances", "shop", "db"), 0);
    assert_int_equal(core_related(&x, "pods", "launcher"), 0);
    assert_int_equal(fake_related(&x.r, "apps", "controllerrevisions", "shop", "db-small-1"), 0);
    assert_int_equal(fake_related(&x.r, "apps", "controllerrevisions", "shop", "db-fedora-1"), 0);
    assert_int_equal(fake_related(&x.r, TYPES, "virtualmachineinstancetypes", "shop", "small"),
                     VMB_RELATED_OPTIONAL);
    assert_int_equal(fake_related(&x.r, TYPES, "virtualmachineclusterpreferences", NULL, "fedora"),
                     VMB_RELATED_OPTIONAL);
    assert_int_equal(fake_related(&x.r, CDI, "datavolumes", "shop", "db-root"),
                     VMB_RELATED_OPTIONAL);
    assert_int_equal(core_related(&x, CLAIMS, "db-root"), 0);
    assert_int_equal(core_related(&x, CLAIMS, "db-hot"), 0); /* from the instance only */
    assert_int_equal(core_related(&x, "secrets", "db-ci"), 0);
    assert_int_equal(core_related(&x, "secrets", "db-ssh"), 0);
    assert_int_equal(
        fake_related(&x.r, "k8s.cni.cncf.io", "network-attachment-definitions", "infra", "vlan42"),
        0);
    assert_int_equal(core_related(&x, CLAIMS, "scratch"), -1);
    assert_int_equal(x.r.n_related, 13); /* each once; + the DataVolume name of db-hot */
    assert_string_equal(vmbi_json_path_str(x.item, "spec.instancetype.revisionName"), "db-small-1");
    assert_string_equal(vmbi_json_path_str(x.item, "spec.preference.revisionName"), "db-fedora-1");
    close_fixture(&x);
}

static void machine_stopped_brings_disks_without_pod(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_machine(&x, "{'printableStatus':'Stopped'}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(core_related(&x, CLAIMS, "db-root"), 0);
    assert_int_equal(fake_related(&x.r, KV, "virtualmachineinstances", "shop", "db"), -1);
    assert_null(x.r.item); /* no revision to pin */
    close_fixture(&x);
}

static void machine_without_operators_names_core_objects_only(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, CDI "," TYPES ",k8s.cni.cncf.io");
    put_machine(&x, "{'printableStatus':'Stopped'}");
    assert_int_equal(run_vm(&x), VMB_OK);
    for (size_t i = 0; i < x.r.n_related; i++) {
        assert_string_equal(x.r.related[i].group, "");
    }
    assert_int_equal(core_related(&x, CLAIMS, "db-root"), 0);
    close_fixture(&x);
}

typedef struct ref_case {
    const char *volume; /* of the spec */
    const char *resource;
    const char *name;
    int flags;
} ref_case;

static void machine_every_kind_of_reference_is_found(void **unused)
{
    static const ref_case cases[] = {
        {"'volumes':[{'persistentVolumeClaim':{'claimName':'x'}}]", CLAIMS, "x", 0},
        {"'volumes':[{'ephemeral':{'persistentVolumeClaim':{'claimName':'x'}}}]", CLAIMS, "x", 0},
        {"'volumes':[{'memoryDump':{'claimName':'x'}}]", CLAIMS, "x", VMB_RELATED_OPTIONAL},
        {"'volumes':[{'configMap':{'name':'x'}}]", "configmaps", "x", 0},
        {"'volumes':[{'configMap':{'name':'x','optional':true}}]", "configmaps", "x",
         VMB_RELATED_OPTIONAL},
        {"'volumes':[{'secret':{'secretName':'x'}}]", "secrets", "x", 0},
        {"'volumes':[{'serviceAccount':{'serviceAccountName':'x'}}]", "serviceaccounts", "x", 0},
        {"'volumes':[{'cloudInitNoCloud':{'networkDataSecretRef':{'name':'x'}}}]", "secrets", "x",
         0},
        {"'volumes':[{'cloudInitConfigDrive':{'secretRef':{'name':'x'}}}]", "secrets", "x", 0},
        {"'volumes':[{'cloudInitConfigDrive':{'networkDataSecretRef':{'name':'x'}}}]", "secrets",
         "x", 0},
        {"'volumes':[{'sysprep':{'secret':{'name':'x'}}}]", "secrets", "x", 0},
        {"'volumes':[{'sysprep':{'configMap':{'name':'x'}}}]", "configmaps", "x", 0},
        {"'volumes':[{'containerDisk':{'image':'i','imagePullSecret':'x'}}]", "secrets", "x", 0},
        {"'domain':{'firmware':{'kernelBoot':{'container':{'imagePullSecret':'x'}}}}", "secrets",
         "x", 0},
        {"'accessCredentials':[{'userPassword':{'source':{'secret':{'secretName':'x'}}}}]",
         "secrets", "x", 0},
    };
    (void)unused;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        fixture x;
        char vm[1024];
        open_fixture(&x, "");
        (void)snprintf(vm, sizeof vm,
                       "{'metadata':{'name':'db','namespace':'shop'},'spec':{'template':{'spec':"
                       "{%s}}}}",
                       cases[i].volume);
        fake_put(&x.f, KV, "virtualmachines", vm);
        assert_int_equal(run_vm(&x), VMB_OK);
        if (core_related(&x, cases[i].resource, cases[i].name) != cases[i].flags) {
            fail_msg("%s", cases[i].volume);
        }
        close_fixture(&x);
    }
}

static void machine_local_network_and_host_disk(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    fake_put(&x.f, KV, "virtualmachines",
             "{'metadata':{'name':'db','namespace':'shop'},'spec':{'template':{'spec':{'networks':"
             "[{'multus':{'networkName':'lan'}}],'volumes':[{'name':'h','hostDisk':{'path':'/d'}}]"
             "}}}}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(
        fake_related(&x.r, "k8s.cni.cncf.io", "network-attachment-definitions", "shop", "lan"), 0);
    assert_non_null(strstr(x.f.log.data, "W:volume h in namespace shop is a disk on its node"));
    close_fixture(&x);
}

static void put_type_machine(fixture *x, const char *matcher)
{
    char vm[1024];
    (void)snprintf(vm, sizeof vm,
                   "{'metadata':{'name':'db','namespace':'shop'},'spec':{'instancetype':%s,"
                   "'template':{'spec':{}}}}",
                   matcher);
    fake_put(&x->f, KV, "virtualmachines", vm);
}

static void machine_type_kind_is_written_in_many_ways(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_type_machine(&x, "{'name':'t','kind':'virtualmachineInstanceTypes','revisionName':'rev'}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(fake_related(&x.r, TYPES, "virtualmachineinstancetypes", "shop", "t"),
                     VMB_RELATED_OPTIONAL);
    assert_int_equal(fake_related(&x.r, "apps", "controllerrevisions", "shop", "rev"), 0);
    put_type_machine(&x, "{'name':'t'}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(fake_related(&x.r, TYPES, "virtualmachineclusterinstancetypes", NULL, "t"),
                     VMB_RELATED_OPTIONAL);
    close_fixture(&x);
}

/* ---- persistent state
 * ---------------------------------------------------------------------------- */

static void put_state_machine(fixture *x)
{
    fake_put(&x->f, KV, "virtualmachines",
             "{'metadata':{'name':'db','namespace':'shop'},'spec':{'template':{'spec':{'domain':"
             "{'devices':{'tpm':{'persistent':true}}}}}}}");
}

static void machine_state_claim_is_newest_alive(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_state_machine(&x);
    fake_put(&x.f, "", CLAIMS,
             "{'metadata':{'name':'st-old','namespace':'shop','creationTimestamp':"
             "'2026-01-01T00:00:00Z','labels':{'persistent-state-for':'db'}}}");
    fake_put(&x.f, "", CLAIMS,
             "{'metadata':{'name':'st-new','namespace':'shop','creationTimestamp':"
             "'2026-03-01T00:00:00Z','labels':{'persistent-state-for':'db'}}}");
    fake_put(&x.f, "", CLAIMS,
             "{'metadata':{'name':'st-dying','namespace':'shop','creationTimestamp':"
             "'2026-09-01T00:00:00Z','deletionTimestamp':'2026-09-02T00:00:00Z','labels':"
             "{'persistent-state-for':'db'}}}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(x.r.n_related, 1);
    assert_int_equal(core_related(&x, CLAIMS, "st-new"), 0);
    close_fixture(&x);
}

static void machine_state_claim_of_old_name_is_tried(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_state_machine(&x);
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(core_related(&x, CLAIMS, "persistent-state-for-db"), VMB_RELATED_OPTIONAL);
    close_fixture(&x);
}

/* ---- checks of machines
 * -------------------------------------------------------------------------- */

static void machine_checks_running(const char *spec, vmb_code code, const char *part)
{
    fixture x;
    open_running(&x);
    set_backup(&x, "{}", spec);
    vmb_code got = run_vm(&x);
    if (got != code) {
        fail_msg("%s: %d %s", spec, (int)got, vmb_error_message(x.err));
    }
    if (part != NULL) {
        assert_error(&x, part);
        assert_error(&x, "shop/db");
    }
    close_fixture(&x);
}

static void machine_running_needs_instance_and_pods(void **unused)
{
    (void)unused;
    machine_checks_running("{'excludedResources':['pods']}", VMB_E_INVALID,
                           "cannot be safely backed up");
    machine_checks_running("{'excludedResources':['Pod']}", VMB_E_INVALID, "pods are not");
    machine_checks_running("{'excludedResources':['po']}", VMB_E_INVALID, "pods are not");
    machine_checks_running("{'excludedNamespaceScopedResources':['pods']}", VMB_E_INVALID,
                           "pods are not");
    machine_checks_running("{'excludedResources':['virtualmachineinstances.kubevirt.io']}",
                           VMB_E_INVALID, "virtualmachineinstances are not");
    machine_checks_running("{'includedResources':['vm','vmi','pvc']}", VMB_E_INVALID,
                           "pods are not");
    machine_checks_running("{'includedResources':['vm','vmi','pvc','dv','pods']}", VMB_OK, NULL);
    machine_checks_running("{'includedResources':['*']}", VMB_OK, NULL);
    machine_checks_running("{'excludedResources':['secrets']}", VMB_OK, NULL);
    machine_checks_running("{'excludedResources':['pods','pvc','dv']}", VMB_OK, NULL);
}

static void machine_paused_needs_no_pods(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_machine(&x, "{'created':true,'printableStatus':'Paused'}");
    put_instance(&x, "{}", "[{'type':'Paused','status':'True'}]");
    put_launcher(&x, "launcher", BY_UID, "w1", "Running");
    set_backup(&x, "{}", "{'excludedResources':['pods']}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(run(&x, KV, "virtualmachineinstances", "db"), VMB_OK);
    close_fixture(&x);
}

static void machine_opted_out_parts_are_refused(void **unused)
{
    fixture x;
    (void)unused;
    open_running(&x);
    put_instance(&x, "{'velero.io/exclude-from-backup':'true'}", "[]");
    assert_int_equal(run_vm(&x), VMB_E_INVALID);
    assert_error(&x, "its instance is excluded");
    put_instance(&x, "{}", "[]");
    put_launcher(&x, "launcher", BY_UID ",'velero.io/exclude-from-backup':'true'", "w1", "Running");
    assert_int_equal(run_vm(&x), VMB_E_INVALID);
    assert_error(&x, "launcher pod is excluded");
    put_launcher(&x, "launcher", BY_UID ",'velero.io/exclude-from-backup':'True'", "w1", "Running");
    assert_int_equal(run_vm(&x), VMB_OK);
    close_fixture(&x);
}

static void put_claim_machine(fixture *x, const char *value)
{
    char claim[512];
    fake_put(&x->f, KV, "virtualmachines",
             "{'metadata':{'name':'db','namespace':'shop'},'spec':{'template':{'spec':{'volumes':"
             "[{'persistentVolumeClaim':{'claimName':'data'}}]}}}}");
    (void)snprintf(claim, sizeof claim,
                   "{'metadata':{'name':'data','namespace':'shop','labels':{'velero.io/"
                   "exclude-from-backup':'%s'}}}",
                   value);
    fake_put(&x->f, "", CLAIMS, claim);
}

static void machine_excluded_claim_is_refused(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_claim_machine(&x, "true");
    assert_int_equal(run_vm(&x), VMB_E_INVALID);
    assert_error(&x, "would not be restored correctly: claim data is excluded by its label");
    set_backup(&x, "{'velero.kubevirt.io/metadataBackup':''}", "{}");
    assert_int_equal(run_vm(&x), VMB_OK);
    set_backup(&x, "{}", "{}");
    put_claim_machine(&x, "True");
    assert_int_equal(run_vm(&x), VMB_OK);
    set_backup(&x, "{}", "{'excludedResources':['persistentvolumeclaims']}");
    assert_int_equal(run_vm(&x), VMB_E_INVALID);
    assert_error(&x, "not among the resources");
    close_fixture(&x);
}

static void put_dv_machine(fixture *x)
{
    fake_put(&x->f, KV, "virtualmachines",
             "{'metadata':{'name':'db','namespace':'shop'},'spec':{'template':{'spec':{'volumes':"
             "[{'dataVolume':{'name':'disk'}}]}}}}");
}

static void machine_foreign_data_volume_is_checked(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_dv_machine(&x);
    fake_put(&x.f, CDI, "datavolumes", "{'metadata':{'name':'disk','namespace':'shop'}}");
    assert_int_equal(run_vm(&x), VMB_OK);
    set_backup(&x, "{}", "{'excludedResources':['datavolumes']}");
    assert_int_equal(run_vm(&x), VMB_E_INVALID);
    assert_error(&x, "DataVolume disk");
    fake_put(&x.f, CDI, "datavolumes",
             "{'metadata':{'name':'disk','namespace':'shop','labels':{'velero.io/"
             "exclude-from-backup':'true'}}}");
    set_backup(&x, "{}", "{}");
    assert_int_equal(run_vm(&x), VMB_E_INVALID);
    close_fixture(&x);
}

static void machine_collected_data_volume_claim_stands_in(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_dv_machine(&x);
    fake_put(&x.f, "", CLAIMS, "{'metadata':{'name':'disk','namespace':'shop'}}");
    set_backup(&x, "{}", "{'excludedResources':['datavolumes']}");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(core_related(&x, CLAIMS, "disk"), 0);
    close_fixture(&x);
}

static void machine_starting_without_instance_counts_as_stopped(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_machine(&x, "{'printableStatus':'Starting'}");
    set_backup(&x, "{}", "{'excludedResources':['pods']}");
    int64_t start = vmbi_mono_ns();
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_true(vmbi_mono_ns() - start >= 20 * VMBI_MS);
    assert_non_null(strstr(x.f.log.data, "backed up as stopped"));
    assert_int_equal(core_related(&x, CLAIMS, "db-root"), 0);
    close_fixture(&x);
}

/* ---- launcher pods
 * ------------------------------------------------------------------------------- */

static void launcher_of_a_migration_is_on_the_instances_node(void **unused)
{
    fixture x;
    (void)unused;
    open_running(&x);
    put_launcher(&x, "a-target", BY_UID, "w2", "Running");
    put_launcher(&x, "a-old", BY_UID, "w1", "Succeeded");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(core_related(&x, "pods", "launcher"), 0);
    assert_int_equal(core_related(&x, "pods", "a-target"), -1);
    assert_int_equal(core_related(&x, "pods", "a-old"), -1);
    assert_string_equal(x.f.last_selector,
                        "kubevirt.io=virt-launcher,kubevirt.io/created-by=vmi-uid");
    close_fixture(&x);
}

static void launcher_without_uid_label_is_found_by_annotation(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_machine(&x, RUNNING);
    put_instance(&x, "{}", "[]");
    put_launcher(&x, "stranger", ",'kubevirt.io/created-by':'another'", "w1", "Running");
    put_launcher(&x, "plain", "", "w1", "Running");
    assert_int_equal(run_vm(&x), VMB_OK);
    assert_int_equal(core_related(&x, "pods", "plain"), 0);
    assert_int_equal(core_related(&x, "pods", "stranger"), -1);
    close_fixture(&x);
}

/* ---- instances
 * ----------------------------------------------------------------------------------- */

static vmb_code run_vmi(fixture *x)
{
    return run(x, KV, "virtualmachineinstances", "db");
}

static void instance_owned_is_marked_and_brings_pod(void **unused)
{
    fixture x;
    (void)unused;
    open_running(&x);
    assert_int_equal(run_vmi(&x), VMB_OK);
    assert_string_equal(vmbi_annotation_of(x.item, "cdi.kubevirt.io/velero.isOwned"), "true");
    assert_int_equal(core_related(&x, "pods", "launcher"), 0);
    assert_int_equal(core_related(&x, CLAIMS, "db-hot"), 0);
    assert_false(x.r.skip);
    close_fixture(&x);
}

static void instance_without_its_machine_is_dropped(void **unused)
{
    fixture x;
    (void)unused;
    open_running(&x);
    set_backup(&x, "{}", "{'excludedResources':['virtualmachines']}");
    assert_int_equal(run_vmi(&x), VMB_OK);
    assert_true(x.r.skip);
    assert_int_equal(x.r.n_related, 0);
    set_backup(&x, "{}", "{}");
    fake_put(&x.f, KV, "virtualmachines",
             "{'metadata':{'name':'db','namespace':'shop','labels':{'velero.io/"
             "exclude-from-backup':'true'}}}");
    assert_int_equal(run_vmi(&x), VMB_OK);
    assert_true(x.r.skip);
    close_fixture(&x);
}

static void instance_running_needs_its_pod(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_machine(&x, RUNNING);
    put_instance(&x, "{}", "[]");
    assert_int_equal(run_vmi(&x), VMB_E_INVALID);
    assert_error(&x, "launcher pod was not found");
    put_launcher(&x, "launcher", BY_UID, "w1", "Running");
    assert_int_equal(run_vmi(&x), VMB_OK);
    set_backup(&x, "{}", "{'excludedResources':['pods']}");
    assert_int_equal(run_vmi(&x), VMB_E_INVALID);
    close_fixture(&x);
}

static void instance_of_a_replica_set_stands_alone(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    fake_put(&x.f, KV, "virtualmachineinstances",
             "{'metadata':{'name':'db','namespace':'shop','uid':'vmi-uid','ownerReferences':"
             "[{'apiVersion':'kubevirt.io/v1','kind':'VirtualMachineInstanceReplicaSet','name':"
             "'set'}]},'spec':{},'status':{'phase':'Running'}}");
    put_launcher(&x, "launcher", BY_UID, "w1", "Running");
    assert_int_equal(run_vmi(&x), VMB_OK);
    assert_false(x.r.skip);
    assert_null(vmbi_annotation_of(x.item, "cdi.kubevirt.io/velero.isOwned"));
    close_fixture(&x);
}

/* ---- disks
 * --------------------------------------------------------------------------------------- */

static void put_disk(fixture *x, const char *phase, const char *labels)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{'metadata':{'name':'disk','namespace':'shop'},'status':{'phase':'%s',"
                   "'claimName':'disk'}}",
                   phase);
    fake_put(&x->f, CDI, "datavolumes", text);
    (void)snprintf(text, sizeof text,
                   "{'metadata':{'name':'disk','namespace':'shop','uid':'c-uid','labels':%s,"
                   "'ownerReferences':[{'apiVersion':'cdi.kubevirt.io/v1beta1','kind':"
                   "'DataVolume','name':'disk'}]}}",
                   labels);
    fake_put(&x->f, "", CLAIMS, text);
}

static void data_volume_filled_is_marked_and_brings_claim(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_disk(&x, "Succeeded", "{}");
    assert_int_equal(run(&x, CDI, "datavolumes", "disk"), VMB_OK);
    assert_string_equal(vmbi_annotation_of(x.item, "cdi.kubevirt.io/storage.prePopulated"), "disk");
    assert_int_equal(core_related(&x, CLAIMS, "disk"), 0);
    put_disk(&x, "ImportInProgress", "{}");
    assert_int_equal(run(&x, CDI, "datavolumes", "disk"), VMB_OK);
    assert_int_equal(x.r.n_related, 0);
    assert_null(x.r.item);
    close_fixture(&x);
}

static void claim_of_data_volume_says_how_far_it_is(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    put_disk(&x, "Succeeded", "null");
    assert_int_equal(run(&x, "", CLAIMS, "disk"), VMB_OK);
    assert_string_equal(vmbi_annotation_of(x.item, "cdi.kubevirt.io/storage.populatedFor"), "disk");
    assert_string_equal(vmbi_label_of(x.item, "velero.kubevirt.io/pvc-uid"), "c-uid");
    assert_null(vmbi_annotation_of(x.item, "velero.kubevirt.io/original-pvc-uid"));
    put_disk(&x, "ImportInProgress", "{'velero.kubevirt.io/pvc-uid':'mine'}");
    assert_int_equal(run(&x, "", CLAIMS, "disk"), VMB_OK);
    assert_string_equal(vmbi_annotation_of(x.item, "kvp.kubevirt.io/storage.inprogress"), "disk");
    assert_null(vmbi_annotation_of(x.item, "cdi.kubevirt.io/storage.populatedFor"));
    assert_string_equal(vmbi_annotation_of(x.item, "velero.kubevirt.io/original-pvc-uid"), "mine");
    close_fixture(&x);
}

static void claim_of_collected_data_volume_is_taken(void **unused)
{
    fixture x;
    (void)unused;
    open_fixture(&x, "");
    fake_put(&x.f, "", CLAIMS,
             "{'metadata':{'name':'disk','namespace':'shop','uid':'c-uid','ownerReferences':"
             "[{'apiVersion':'cdi.kubevirt.io/v1beta1','kind':'DataVolume','name':'disk'}]}}");
    assert_int_equal(run(&x, "", CLAIMS, "disk"), VMB_OK);
    assert_null(vmbi_json_path(x.item, "metadata.annotations"));
    close_fixture(&x);
}

/* ---- the example
 * --------------------------------------------------------------------------------- */

/* Lets the demo folder answer in place of the fake. */
static void demo_machine_brings_everything(void **unused)
{
    static const char *const want[][4] = {
        {KV, "virtualmachineinstances", "shop", "web"},
        {"", "pods", "shop", "virt-launcher-web-x7k2p"},
        {CDI, "datavolumes", "shop", "web-root"},
        {"", CLAIMS, "shop", "web-root"},
        {"", CLAIMS, "shop", "web-data"},
        {"", "secrets", "shop", "web-cloudinit"},
        {"", "secrets", "shop", "web-ssh"},
        {"", "configmaps", "shop", "web-settings"},
        {"", "serviceaccounts", "shop", "web"},
        {"k8s.cni.cncf.io", "network-attachment-definitions", "shop", "backnet"},
        {"scheduling.k8s.io", "priorityclasses", NULL, "vm-high"},
        {TYPES, "virtualmachineclusterinstancetypes", NULL, "u1.small"},
        {TYPES, "virtualmachineclusterpreferences", NULL, "fedora"},
        {"apps", "controllerrevisions", "shop",
         "web-u1.small-v1beta1-a1c0ffee-0001-4d6e-9b2a-3f4e5d6c7b01-1"},
        {"apps", "controllerrevisions", "shop",
         "web-fedora-v1beta1-a1c0ffee-0002-4d6e-9b2a-3f4e5d6c7b01-1"},
    };
    fixture x;
    vmb_cluster_provider dir;
    vmb_cluster cluster;
    char *text = NULL;
    (void)unused;
    open_fixture(&x, "");
    vmbi_json *s = vmbi_json_object();
    assert_true(vmbi_json_set_str(s, "path", DEMO_CLUSTER));
    assert_int_equal(vmbi_cluster_dir_new(s, &dir, &x.err), VMB_OK);
    vmbi_json_free(s);
    assert_int_equal(vmbi_cluster_open(&cluster, &dir, VMBI_SECOND, &x.f.job, NULL), VMB_OK);
    x.f.job.cluster = &cluster;
    assert_int_equal(vmb_cluster_get(&cluster, &x.f.job, KV, NULL, "virtualmachines", "shop", "web",
                                     &text, NULL, NULL),
                     VMB_OK);
    x.item = fake_json("{}");
    vmbi_json_free(x.item);
    assert_int_equal(vmbi_json_parse(text, strlen(text), "vm", &x.item, NULL), VMB_OK);
    vmb_free(text);
    assert_int_equal(fake_actions_run(&x.a, &x.f, KV, "virtualmachines", &x.item, &x.r, &x.err),
                     VMB_OK);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(want); i++) {
        if (fake_related(&x.r, want[i][0], want[i][1], want[i][2], want[i][3]) < 0) {
            fail_msg("%s %s is missing", want[i][1], want[i][3]);
        }
        /* and each of them is in the folder */
        assert_int_equal(vmb_cluster_get(&cluster, &x.f.job, want[i][0], NULL, want[i][1],
                                         want[i][2], want[i][3], NULL, NULL, NULL),
                         VMB_OK);
    }
    vmbi_cluster_close(&cluster);
    dir.destroy(dir.user);
    close_fixture(&x);
}

/* Every allocation of the machine's action fails once; nothing leaks, nothing crashes. The fake
 * prints its answers with the same allocator, so most failures reach the action as NOMEM. */
static void memory_machine_survives_every_failure(void **unused)
{
    fixture x;
    char *text = NULL;
    size_t len = 0;
    (void)unused;
    open_running(&x);
    assert_int_equal(
        vmbi_json_to_text(fake_get(&x.f, KV, "virtualmachines", "shop", "db"), &text, &len, NULL),
        VMB_OK);
    for (uint64_t n = 1;; n++) {
        reset(&x);
        vmbi_alloc_fail_from(n);
        vmb_code code =
            x.a.v[0].backup(x.a.v[0].user, &x.f.job, KV, "virtualmachines", text, len, &x.r, NULL);
        vmbi_alloc_fail_from(0);
        if (code == VMB_OK) {
            assert_true(n > 50);
            break;
        }
        if (code != VMB_E_NOMEM) {
            fail_msg("allocation %d: %d", (int)n, (int)code);
        }
    }
    vmbi_free(text);
    close_fixture(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machine_running_brings_whole_graph),
        cmocka_unit_test(machine_stopped_brings_disks_without_pod),
        cmocka_unit_test(machine_without_operators_names_core_objects_only),
        cmocka_unit_test(machine_every_kind_of_reference_is_found),
        cmocka_unit_test(machine_local_network_and_host_disk),
        cmocka_unit_test(machine_type_kind_is_written_in_many_ways),
        cmocka_unit_test(machine_state_claim_is_newest_alive),
        cmocka_unit_test(machine_state_claim_of_old_name_is_tried),
        cmocka_unit_test(machine_running_needs_instance_and_pods),
        cmocka_unit_test(machine_paused_needs_no_pods),
        cmocka_unit_test(machine_opted_out_parts_are_refused),
        cmocka_unit_test(machine_excluded_claim_is_refused),
        cmocka_unit_test(machine_foreign_data_volume_is_checked),
        cmocka_unit_test(machine_collected_data_volume_claim_stands_in),
        cmocka_unit_test(machine_starting_without_instance_counts_as_stopped),
        cmocka_unit_test(launcher_of_a_migration_is_on_the_instances_node),
        cmocka_unit_test(launcher_without_uid_label_is_found_by_annotation),
        cmocka_unit_test(instance_owned_is_marked_and_brings_pod),
        cmocka_unit_test(instance_without_its_machine_is_dropped),
        cmocka_unit_test(instance_running_needs_its_pod),
        cmocka_unit_test(instance_of_a_replica_set_stands_alone),
        cmocka_unit_test(data_volume_filled_is_marked_and_brings_claim),
        cmocka_unit_test(claim_of_data_volume_says_how_far_it_is),
        cmocka_unit_test(claim_of_collected_data_volume_is_taken),
        cmocka_unit_test(demo_machine_brings_everything),
        cmocka_unit_test(memory_machine_survives_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
