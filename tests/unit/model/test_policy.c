/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/policy.h"

static vmbi_json *parse(const char *text)
{
    vmbi_json *v = NULL;

    if (text != NULL && vmbi_json_parse(text, strlen(text), "test", &v, NULL) != VMB_OK) {
        fail_msg("%s", text);
    }
    return v;
}

#define PV(spec) "{\"spec\":{\"capacity\":{\"storage\":\"10Gi\"}," spec "}}"
#define CSI_PV                                                                                     \
    PV("\"storageClassName\":\"fast\",\"csi\":{\"driver\":\"rbd.csi\",\"volumeAttributes\":{"      \
       "\"pool\":\"a\",\"fs\":\"ext4\"}}")
#define NFS_PV PV("\"nfs\":{\"server\":\"s1\",\"path\":\"/x\"}")
#define PVC                                                                                        \
    "{\"metadata\":{\"labels\":{\"app\":\"db\",\"x\":\"y\"}},\"status\":{\"phase\":\"Bound\"}}"

static const struct {
    const char *conditions; /* flow YAML */
    const char *pv;
    const char *pvc;
    const char *volume;
    bool holds;
} match_cases[] = {
    {"{}", CSI_PV, NULL, NULL, true},
    {"null", NULL, PVC, NULL, true},
    {"{capacity: \"5Gi,20Gi\"}", CSI_PV, NULL, NULL, true},
    {"{capacity: \"10Gi,10Gi\"}", CSI_PV, NULL, NULL, true}, /* inclusive */
    {"{capacity: \" 11Gi , \"}", CSI_PV, NULL, NULL, false},
    {"{capacity: \",9Gi\"}", CSI_PV, NULL, NULL, false},
    {"{capacity: \",\"}", CSI_PV, NULL, NULL, true},
    {"{capacity: \"1Gi,\"}", NULL, PVC, NULL, false}, /* no size known: 0 */
    {"{storageClass: [slow, fast]}", CSI_PV, NULL, NULL, true},
    {"{storageClass: [slow]}", CSI_PV, NULL, NULL, false},
    {"{storageClass: [\"\"]}", NFS_PV, NULL, NULL, false}, /* without class: never */
    {"{nfs: {}}", NFS_PV, NULL, NULL, true},
    {"{nfs: {}}", CSI_PV, NULL, NULL, false},
    {"{nfs: {server: s1}}", NFS_PV, NULL, NULL, true},
    {"{nfs: {server: s1, path: /y}}", NFS_PV, NULL, NULL, false},
    {"{csi: {}}", CSI_PV, NULL, NULL, true},
    {"{csi: {}}", NFS_PV, NULL, NULL, false},
    {"{csi: {driver: rbd.csi}}", CSI_PV, NULL, NULL, true},
    {"{csi: {driver: other}}", CSI_PV, NULL, NULL, false},
    {"{csi: {driver: rbd.csi, volumeAttributes: {pool: a}}}", CSI_PV, NULL, NULL, true},
    {"{csi: {driver: rbd.csi, volumeAttributes: {pool: a, z: b}}}", CSI_PV, NULL, NULL, false},
    {"{volumeTypes: [nfs, csi]}", CSI_PV, NULL, NULL, true},
    {"{volumeTypes: [emptyDir]}", NULL, NULL, "{\"name\":\"v\",\"emptyDir\":{}}", true},
    {"{volumeTypes: [emptyDir]}", CSI_PV, NULL, "{\"name\":\"v\",\"emptyDir\":{}}", false},
    {"{volumeTypes: [hostPath]}", NULL, PVC, NULL, false},
    {"{pvcLabels: {app: db}}", CSI_PV, PVC, NULL, true},
    {"{pvcLabels: {app: db, x: z}}", CSI_PV, PVC, NULL, false},
    {"{pvcLabels: {app: db}}", CSI_PV, NULL, NULL, false},
    {"{pvcPhase: [Pending, Bound]}", NULL, PVC, NULL, true},
    {"{pvcPhase: [Pending]}", CSI_PV, PVC, NULL, false},
    {"{pvcPhase: [Bound], storageClass: [slow]}", CSI_PV, PVC, NULL, false},
};

static void policy_conditions_match_as_velero_does(void **state)
{
    char text[512];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(match_cases); i++) {
        vmbi_policy *p = NULL;
        vmb_error *err = NULL;
        vmbi_json *pv = parse(match_cases[i].pv);
        vmbi_json *pvc = parse(match_cases[i].pvc);
        vmbi_json *volume = parse(match_cases[i].volume);
        vmbi_policy_volume v = {pv, pvc, volume};

        (void)snprintf(text, sizeof(text),
                       "version: v1\nvolumePolicies:\n- conditions: %s\n  action: {type: skip}\n",
                       match_cases[i].conditions);
        if (vmbi_policy_parse(text, strlen(text), "p", &p, NULL, &err) != VMB_OK) {
            fail_msg("case %zu: %s", i, vmb_error_message(err));
        }
        if (vmbi_policy_match(p, &v) !=
            (match_cases[i].holds ? VMBI_POLICY_SKIP : VMBI_POLICY_NONE)) {
            fail_msg("case %zu: %s", i, match_cases[i].conditions);
        }
        vmbi_policy_free(p);
        vmbi_json_free(pv);
        vmbi_json_free(pvc);
        vmbi_json_free(volume);
    }
}

static void policy_of_a_configmap_takes_the_first_rule(void **state)
{
    vmbi_json *cm =
        parse("{\"metadata\":{\"name\":\"p\"},\"data\":{\"any\":\"version: v1\\nvolumePolicies:\\n"
              "- conditions: {volumeTypes: [nfs]}\\n  action: {type: custom, parameters: {a: 1}}\\n"
              "- conditions: {csi: {}}\\n  action: {type: snapshot}\\n"
              "- action: {type: fs-backup}\\nincludeExcludePolicy:\\n"
              "  excludedNamespaceScopedResources: [events]\\n\"}}");
    vmbi_json *csi = parse(CSI_PV);
    vmbi_json *nfs = parse(NFS_PV);
    vmbi_policy *p = NULL;

    (void)state;
    assert_int_equal(vmbi_policy_from_configmap(cm, &p, NULL, NULL), VMB_OK);
    assert_int_equal(vmbi_policy_match(p, &(vmbi_policy_volume){.pv = nfs}), VMBI_POLICY_CUSTOM);
    assert_int_equal(vmbi_policy_match(p, &(vmbi_policy_volume){.pv = csi}), VMBI_POLICY_SNAPSHOT);
    assert_int_equal(vmbi_policy_match(p, &(vmbi_policy_volume){0}), VMBI_POLICY_FS_BACKUP);
    assert_non_null(vmbi_policy_include_exclude(p));
    vmbi_policy_free(p);
    vmbi_json_free(cm);
    p = NULL;
    cm = parse("{\"data\":{\"a\":\"version: v1\",\"b\":\"version: v1\"}}");
    assert_int_equal(vmbi_policy_from_configmap(cm, &p, NULL, NULL), VMB_E_INVALID);
    vmbi_json_free(cm);
    cm = parse("{\"data\":{}}");
    assert_int_equal(vmbi_policy_from_configmap(cm, &p, NULL, NULL), VMB_E_INVALID);
    assert_null(p);
    vmbi_json_free(cm);
    vmbi_json_free(csi);
    vmbi_json_free(nfs);
}

#define RULE(conditions, action)                                                                   \
    "version: v1\nvolumePolicies:\n- conditions: {" conditions "}\n  action: {type: " action "}\n"

static const struct {
    const char *text;
    const char *field;
    int line;
} bad_cases[] = {
    {"volumePolicies: []\n", "version", 1},
    {"version: v2\n", "version", 1},
    {"version: v1\nvolumePolicys: []\n", "volumePolicys", 2},
    {RULE("", "drop"), "volumePolicies[0].action.type", 4},
    {RULE("size: 1", "skip"), "volumePolicies[0].conditions.size", 3},
    {RULE("capacity: 10Gi", "skip"), "volumePolicies[0].conditions.capacity", 3},
    {RULE("capacity: \"1,2,3\"", "skip"), "volumePolicies[0].conditions.capacity", 3},
    {RULE("capacity: \"x,2\"", "skip"), "volumePolicies[0].conditions.capacity", 3},
    {RULE("capacity: \"2Gi,1Gi\"", "skip"), "volumePolicies[0].conditions.capacity", 3},
    {RULE("storageClass: fast", "skip"), "volumePolicies[0].conditions.storageClass", 3},
    {RULE("csi: {volumeAttributes: {a: b}}", "skip"), "volumePolicies[0].conditions.csi", 3},
    {RULE("pvcLabels: [a]", "skip"), "volumePolicies[0].conditions.pvcLabels", 3},
    {"version: v1\nvolumePolicies:\n- conditions: {}\n", "volumePolicies[0].action", 0},
    {"version: v1\nincludeExcludePolicy:\n  includedClusterScopedResources: [\"*\"]\n",
     "includeExcludePolicy.includedClusterScopedResources", 3},
    {"version: v1\nincludeExcludePolicy: {includedClusterScopedResources: [a],\n"
     "  excludedClusterScopedResources: [a]}\n",
     "includeExcludePolicy.excludedClusterScopedResources[0]", 3},
};

static void policy_malformed_is_refused_with_its_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad_cases); i++) {
        vmbi_policy *p = NULL;
        vmbi_problems problems = {0};
        vmb_code code = vmbi_policy_parse(bad_cases[i].text, strlen(bad_cases[i].text), "p", &p,
                                          &problems, NULL);

        if (code != VMB_E_INVALID || problems.n != 1 ||
            strcmp(problems.v[0].field, bad_cases[i].field) != 0 ||
            (bad_cases[i].line != 0 && problems.v[0].line != bad_cases[i].line)) {
            fail_msg("case %zu: %d, %zu problems: %s line %d", i, (int)code, problems.n,
                     problems.n > 0 ? problems.v[0].field : "",
                     problems.n > 0 ? problems.v[0].line : 0);
        }
        assert_null(p);
        vmbi_problems_free(&problems);
    }
}

static void policy_out_of_memory_leaves_nothing(void **state)
{
    static const char text[] = RULE("capacity: \"1Gi,\", csi: {driver: d}", "skip");

    (void)state;
    for (uint64_t n = 1; n < 2000; n++) {
        vmbi_policy *p = NULL;
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_policy_parse(text, sizeof(text) - 1, "p", &p, NULL, NULL);
        vmbi_alloc_fail_from(0);
        vmbi_policy_free(p);
        if (code == VMB_OK) {
            return;
        }
        assert_int_equal(code, VMB_E_NOMEM);
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_conditions_match_as_velero_does),
        cmocka_unit_test(policy_of_a_configmap_takes_the_first_rule),
        cmocka_unit_test(policy_malformed_is_refused_with_its_field),
        cmocka_unit_test(policy_out_of_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
