/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "model/backup.h"

#define HEAD "apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: b1\n" /* 4 lines */
#define SPEC HEAD "spec:\n"                                                    /* 5 lines */

/* Validates a document that parses. */
static void validate(const char *doc, vmbi_problems *p)
{
    vmb_spec *spec = NULL;
    vmb_error *err = NULL;

    if (vmbi_spec_parse(doc, strlen(doc), "test", &spec, &err) != VMB_OK) {
        fail_msg("%s\n%s", vmb_error_message(err), doc);
    }
    *p = (vmbi_problems){0};
    assert_int_equal(vmbi_backup_validate(spec, p, NULL), VMB_OK);
    vmbi_spec_free(spec);
}

static const vmbi_problem *find(const vmbi_problems *p, const char *field)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].field, field) == 0) {
            return &p->v[i];
        }
    }
    return NULL;
}

static void show(const vmbi_problems *p)
{
    for (size_t i = 0; i < p->n; i++) {
        print_message("  %s %d:%d %s: %s [%s]\n", p->v[i].is_error ? "error" : "warning",
                      p->v[i].line, p->v[i].column, p->v[i].field, p->v[i].message, p->v[i].remedy);
    }
}

typedef struct problem_case {
    const char *doc;
    const char *field;
    int line; /* 0: not checked */
    bool is_error;
    const char *message; /* part of it; NULL: not checked */
    const char *remedy;  /* part of it; NULL: not checked */
} problem_case;

#define SEL SPEC "  labelSelector:\n"
#define HOOK SPEC "  hooks:\n    resources:\n    - name: h\n" /* 8 lines */
#define EXEC HOOK "      pre:\n      - exec:\n"               /* 10 lines */
#define RUN "          command: [a]\n"

static const problem_case problem_cases[] = {
    /* the head */
    {"kind: Backup\nmetadata: {name: a}\n", "apiVersion", 1, true, "missing", NULL},
    {"apiVersion: velero.io/v2\nkind: Backup\nmetadata: {name: a}\n", "apiVersion", 1, true, NULL,
     "velero.io/v1"},
    {"apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: a}\n", "kind", 2, true, "Schedule",
     NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\n", "metadata", 0, true, "missing", NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata: {}\n", "metadata.name", 3, true, "missing",
     NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: <backup>\n", "metadata.name", 4,
     true, NULL, "placeholder"},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: My_Backup\n", "metadata.name", 4,
     true, "lower-case", NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: a\n  namespace: a.b\n",
     "metadata.namespace", 5, true, NULL, NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: a\n  labels:\n    x: true\n",
     "metadata.labels.x", 6, true, "string", "quotes"},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: a\n  labels:\n    a b: c\n",
     "metadata.labels.a b", 6, true, "label key", NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: a\n  annotations:\n    a/b/c: c\n",
     "metadata.annotations.a/b/c", 6, true, "annotation key", NULL},
    {"apiVersion: velero.io/v1\nkind: Backup\nmetadata:\n  name: a\n  labelz: {}\n",
     "metadata.labelz", 5, false, NULL, "labels"},
    {HEAD "metadata.labels.velero.io/storage-location: \"true\"\n",
     "[\"metadata.labels.velero.io/storage-location\"]", 5, true, NULL,
     "metadata: labels: velero.io/storage-location:"},
    {HEAD "includedNamespaces: [a]\n", "includedNamespaces", 5, true, NULL, "below spec"},
    /* unknown and misspelt fields */
    {SPEC "  includedNamespace: [a]\n", "spec.includedNamespace", 6, true, "no field",
     "includedNamespaces"},
    {SPEC "  TTL: 1h\n", "spec.TTL", 6, true, NULL, "ttl"},
    {SPEC "  whatever: 1\n", "spec.whatever", 6, true, "no field", NULL},
    {SEL "    matchlabels: {a: b}\n", "spec.labelSelector.matchlabels", 7, true, NULL,
     "matchLabels"},
    {EXEC RUN "          onerror: Fail\n", "spec.hooks.resources[0].pre[0].exec.onerror", 12, true,
     NULL, "onError"},
    /* the broken shapes of the OpenShift manual */
    {SEL "    matchLabels:\n      app=<label_1>\n      app=<label_2>\n      app=<label_3>\n",
     "spec.labelSelector.matchLabels", 0, true, "app=<label_1> app=<label_2>", "key: value"},
    {SPEC "  includedNamespaces:\n  - <namespace>\n", "spec.includedNamespaces[0]", 7, true, NULL,
     "placeholder"},
    {SPEC "  includedNamespaces:\n  - <namespace> 1\n", "spec.includedNamespaces[0]", 7, true, NULL,
     "placeholder"},
    {SPEC "  includedNamespaces:\n  - shop 1\n", "spec.includedNamespaces[0]", 7, true, NULL,
     "callout"},
    {SPEC "  defaultVolumesToFsBackup: true 1\n", "spec.defaultVolumesToFsBackup", 6, true,
     "true 1", "callout"},
    {EXEC RUN "          onError: Fail 9\n", "spec.hooks.resources[0].pre[0].exec.onError", 12,
     true, "Fail 9", "callout"},
    {EXEC RUN "          timeout: 30s 10\n", "spec.hooks.resources[0].pre[0].exec.timeout", 12,
     true, "30s 10", "callout"},
    {EXEC "          command:\n          - /bin/uname 8\n",
     "spec.hooks.resources[0].pre[0].exec.command[0]", 12, false, "no shell", "callout"},
    {HOOK "      post: 11\n", "spec.hooks.resources[0].post", 9, true, "list", "callout"},
    {HOOK "      post:\n", "spec.hooks.resources[0].post", 9, true, "no value", "[]"},
    {SPEC "  labelSelector: 5\n", "spec.labelSelector", 6, true, "object", "callout"},
    {SPEC "  includedResources: 2\n", "spec.includedResources", 6, true, "list", "callout"},
    {SPEC "  storageLocation: <velero-sample-1>\n", "spec.storageLocation", 6, true, NULL,
     "placeholder"},
    {SEL "    matchLabels: {}\n  orLabelSelectors: []\n", "spec.orLabelSelectors", 8, true,
     "together with labelSelector", "delete one"},
    /* wrong types */
    {HEAD "spec: text\n", "spec", 5, true, "object", NULL},
    {SPEC "  includedNamespaces: shop\n", "spec.includedNamespaces", 6, true, "list", "- "},
    {SPEC "  includedNamespaces: {a: b}\n", "spec.includedNamespaces", 6, true, NULL, "- "},
    {SPEC "  includedNamespaces: [1]\n", "spec.includedNamespaces[0]", 6, true, "string", "quotes"},
    {SPEC "  snapshotVolumes: \"true\"\n", "spec.snapshotVolumes", 6, true, NULL, "without quotes"},
    {SPEC "  snapshotVolumes: maybe\n", "spec.snapshotVolumes", 6, true, NULL, "true or false"},
    {SPEC "  ttl: 720\n", "spec.ttl", 6, true, "duration", "unit"},
    {SPEC "  ttl: \"720\"\n", "spec.ttl", 6, true, "duration", "unit"},
    {SPEC "  ttl: 30d\n", "spec.ttl", 6, true, "duration", "720h"},
    {SPEC "  ttl: -5m\n", "spec.ttl", 6, true, "negative", NULL},
    {SPEC "  ttl:\n", "spec.ttl", 6, true, "no value", NULL},
    {SPEC "  csiSnapshotTimeout: soon\n", "spec.csiSnapshotTimeout", 6, true, NULL, NULL},
    {SPEC "  itemOperationTimeout: 4 h\n", "spec.itemOperationTimeout", 6, true, NULL, NULL},
    {SPEC "  uploaderConfig: {parallelFilesUpload: \"4\"}\n",
     "spec.uploaderConfig.parallelFilesUpload", 6, true, "integer", "without quotes"},
    {SPEC "  uploaderConfig: {parallelFilesUpload: -1}\n",
     "spec.uploaderConfig.parallelFilesUpload", 6, true, "negative", NULL},
    {SEL "    matchLabels:\n    - app: web\n", "spec.labelSelector.matchLabels", 0, true, "map",
     "without \"- \""},
    {SEL "    matchLabels: {app: true}\n", "spec.labelSelector.matchLabels.app", 7, true, "string",
     "quotes"},
    {SEL "    matchLabels: {app: }\n", "spec.labelSelector.matchLabels.app", 7, true, "no value",
     "\"\""},
    {SEL "  - matchLabels: {app: a}\n", "spec.labelSelector", 0, true, "object", "without \"- \""},
    {SPEC "  orLabelSelectors:\n    matchLabels: {a: b}\n", "spec.orLabelSelectors", 0, true,
     "list", "- "},
    {SPEC "  orLabelSelectors: [null]\n", "spec.orLabelSelectors[0]", 6, true, "object", NULL},
    /* lists */
    {SPEC "  includedNamespaces: [a, \"*\"]\n", "spec.includedNamespaces[1]", 6, true, "only",
     NULL},
    {SPEC "  excludedNamespaces: [\"*\"]\n", "spec.excludedNamespaces[0]", 6, true, "not allowed",
     NULL},
    {SPEC "  includedNamespaces: [a]\n  excludedNamespaces: [b, a]\n", "spec.excludedNamespaces[1]",
     7, true, "also in includedNamespaces", NULL},
    {SPEC "  includedNamespaces: [\"a**\"]\n", "spec.includedNamespaces[0]", 6, true, "**", NULL},
    {SPEC "  includedNamespaces: [\"{a,b}\"]\n", "spec.includedNamespaces[0]", 6, true, NULL, NULL},
    {SPEC "  includedNamespaces: [A]\n", "spec.includedNamespaces[0]", 6, true, NULL, NULL},
    {SPEC "  excludedResources: [\"*\"]\n", "spec.excludedResources[0]", 6, true, "not allowed",
     NULL},
    {SPEC "  includedResources: [apps/deployments]\n", "spec.includedResources[0]", 6, true,
     "match nothing", "deployments.apps"},
    {SPEC "  includedResources: [\"pods 3\"]\n", "spec.includedResources[0]", 6, true, NULL,
     "callout"},
    {SPEC "  includedResources: [\"[x\"]\n", "spec.includedResources[0]", 6, true, "pattern", NULL},
    {SPEC "  includedResources: [\"\"]\n", "spec.includedResources[0]", 6, true, NULL, NULL},
    {SPEC "  includeClusterResources: false\n  includedClusterScopedResources: [pv]\n",
     "spec.includedClusterScopedResources", 7, true, "includeClusterResources", "four lists"},
    {SPEC "  includedClusterScopedResources: [pv]\n  excludedClusterScopedResources: [\"*\"]\n",
     "spec.excludedClusterScopedResources[0]", 7, true, "excludes everything", NULL},
    {SPEC "  excludedNamespaceScopedResources: [\"*\", pods]\n",
     "spec.excludedNamespaceScopedResources[0]", 6, true, "only", NULL},
    /* selectors */
    {SEL "    matchLabels: {\"a b\": c}\n", "spec.labelSelector.matchLabels.a b", 7, true,
     "label key", NULL},
    {SEL "    matchLabels: {app: <name>}\n", "spec.labelSelector.matchLabels.app", 7, true,
     "label value", "placeholder"},
    {SEL "    matchExpressions: [{key: a, operator: in, values: [b]}]\n",
     "spec.labelSelector.matchExpressions[0].operator", 7, true, "none of In", NULL},
    {SEL "    matchExpressions: [{key: a, operator: In}]\n",
     "spec.labelSelector.matchExpressions[0].values", 7, true, "at least one", NULL},
    {SEL "    matchExpressions: [{key: a, operator: Exists, values: [b]}]\n",
     "spec.labelSelector.matchExpressions[0].values", 7, true, "takes no values", NULL},
    {SEL "    matchExpressions: [{operator: Exists}]\n",
     "spec.labelSelector.matchExpressions[0].key", 7, true, "missing", NULL},
    {SEL "    matchExpressions: [{key: a, operator: In, values: [\"-x\"]}]\n",
     "spec.labelSelector.matchExpressions[0].values[0]", 7, true, "label value", NULL},
    {SPEC "  labelSelector: {}\n", "spec.labelSelector", 6, false, "everything", NULL},
    /* hooks */
    {SPEC "  hooks:\n    resources:\n    - pre: []\n", "spec.hooks.resources[0].name", 8, true,
     "missing", NULL},
    {HOOK, "spec.hooks.resources[0]", 0, false, "neither pre nor post", NULL},
    {HOOK "      pre: [{}]\n", "spec.hooks.resources[0].pre[0].exec", 9, true, "missing", NULL},
    {EXEC "          container: c\n", "spec.hooks.resources[0].pre[0].exec.command", 0, true,
     "missing", NULL},
    {EXEC "          command: []\n", "spec.hooks.resources[0].pre[0].exec.command", 11, true,
     "needs a command", NULL},
    {EXEC "          command: ls -l\n", "spec.hooks.resources[0].pre[0].exec.command", 11, true,
     "list", NULL},
    {EXEC "          command: [\"ls -l\"]\n", "spec.hooks.resources[0].pre[0].exec.command[0]", 11,
     false, "no shell", "element of its own"},
    {EXEC RUN "          onError: fail\n", "spec.hooks.resources[0].pre[0].exec.onError", 12, true,
     "neither Continue nor Fail", NULL},
    {HOOK "      includedResources: [deployments]\n      pre: []\n",
     "spec.hooks.resources[0].includedResources", 9, false, "only pods", NULL},
    {HOOK "      includedNamespaces: [\"[x\"]\n      pre: []\n",
     "spec.hooks.resources[0].includedNamespaces[0]", 9, true, "pattern", NULL},
    {HOOK "      labelSelector: {matchLabels: {a: -}}\n      pre: []\n",
     "spec.hooks.resources[0].labelSelector.matchLabels.a", 9, true, "label value", NULL},
    /* the rest */
    {SPEC "  resourcePolicy: {name: p}\n", "spec.resourcePolicy.kind", 6, true, "missing", NULL},
    {SPEC "  resourcePolicy: {kind: secret, name: p}\n", "spec.resourcePolicy.kind", 6, true, NULL,
     "configmap"},
    {SPEC "  resourcePolicy: {kind: ConfigMap}\n", "spec.resourcePolicy.name", 6, true, "missing",
     NULL},
    {SPEC "  orderedResources: {pods: \"a/b, a/c\"}\n", "spec.orderedResources.pods", 6, false,
     "blanks", NULL},
    {SPEC "  defaultVolumesToRestic: true\n  defaultVolumesToFsBackup: false\n",
     "spec.defaultVolumesToRestic", 6, false, "wins", "defaultVolumesToFsBackup"},
    {SPEC "  defaultVolumesToRestic: false\n", "spec.defaultVolumesToRestic", 6, false, "old name",
     NULL},
    {SPEC "  snapshotMoveData: true\n  snapshotVolumes: false\n", "spec.snapshotMoveData", 6, false,
     NULL, NULL},
    {SPEC "  volumeGroupSnapshotLabelKey: a b\n", "spec.volumeGroupSnapshotLabelKey", 6, true, NULL,
     NULL},
    {SPEC "  metadata: {labels: {a: \"b c\"}}\n", "spec.metadata.labels.a", 6, true, "label value",
     NULL},
    /* look-alike characters */
    {SPEC "  ttl:\xC2\xA0 1h\n", "", 6, false, "no-break space", NULL},
    {HEAD "# \xEF\xBC\x9A\nspec: {}\n", "", 5, false, "colon", NULL},
};

static bool holds(const char *text, const char *part)
{
    return part == NULL || strstr(text, part) != NULL;
}

static void problem_cases_are_reported_with_place_and_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(problem_cases); i++) {
        const problem_case *c = &problem_cases[i];
        vmbi_problems p;
        const vmbi_problem *found;

        validate(c->doc, &p);
        found = find(&p, c->field);
        if (found == NULL || found->is_error != c->is_error ||
            (c->line != 0 && found->line != c->line) || !holds(found->message, c->message) ||
            !holds(found->remedy, c->remedy)) {
            show(&p);
            fail_msg("case %zu: %s line %d in\n%s", i, c->field, c->line, c->doc);
        }
        vmbi_problems_free(&p);
    }
}

static void backup_of_every_field_has_no_problem(void **state)
{
    static const char doc[] =
        HEAD "  namespace: velero\n"
             "  labels: {velero.io/storage-location: default, app: \"true\"}\n"
             "  annotations: {any/thing: \"<free text> 1\"}\n"
             "spec:\n"
             "  metadata: {labels: {a: b}}\n"
             "  includedNamespaces: [shop, \"vm-*\", \"ns-[ab]\"]\n"
             "  excludedNamespaces: [vm-test]\n"
             "  includedResources: [\"*\"]\n"
             "  excludedResources: [events, \"*.velero.io\"]\n"
             "  includeClusterResources: null\n"
             "  labelSelector:\n"
             "    matchLabels: {app: db, empty: \"\"}\n"
             "    matchExpressions:\n"
             "    - {key: velero.io/x, operator: NotIn, values: [a, \"\"]}\n"
             "    - {key: z, operator: DoesNotExist}\n"
             "  snapshotVolumes: true\n"
             "  ttl: 720h0m0s\n"
             "  volumeGroupSnapshotLabelKey: velero.io/volume-group\n"
             "  storageLocation: default\n"
             "  volumeSnapshotLocations: [default]\n"
             "  defaultVolumesToFsBackup: false\n"
             "  orderedResources: {pods: \"a/b,a/c\"}\n"
             "  csiSnapshotTimeout: 0s\n"
             "  itemOperationTimeout: 4h\n"
             "  resourcePolicy: {kind: ConfigMap, name: policy}\n"
             "  snapshotMoveData: false\n"
             "  datamover: velero\n"
             "  uploaderConfig: {parallelFilesUpload: 4}\n"
             "  hooks:\n"
             "    resources:\n"
             "    - name: freeze\n"
             "      includedNamespaces: [\"*\"]\n"
             "      excludedNamespaces: null\n"
             "      includedResources: [pods]\n"
             "      excludedResources: []\n"
             "      labelSelector: null\n"
             "      pre:\n"
             "      - exec: {container: compute, command: [/bin/sh, -c, \"sync; sleep 1\"],\n"
             "                onError: Fail, timeout: 60s}\n"
             "      post:\n"
             "      - exec: {command: [/bin/true]}\n"
             "status: {phase: New, anything: 1}\n";
    vmbi_problems p;

    (void)state;
    validate(doc, &p);
    show(&p);
    assert_int_equal(p.n, 0);
    vmbi_problems_free(&p);
}

static void all_problems_are_reported_errors_first(void **state)
{
    vmbi_problems p;

    (void)state;
    validate(SPEC "  defaultVolumesToRestic: true\n"
                  "  ttl: x\n"
                  "  includedNamespaces: [A, \"*\"]\n"
                  "  bogus: 1\n"
                  "  snapshotVolumes: 1\n",
             &p);
    assert_int_equal(p.n, 6);
    assert_int_equal(p.errors, 5);
    for (size_t i = 0; i + 1 < 5; i++) {
        assert_true(p.v[i].is_error);
        assert_true(p.v[i].line <= p.v[i + 1].line);
    }
    assert_false(p.v[5].is_error);
    vmbi_problems_free(&p);
}

/* ---- documents that do not parse ------------------------------------------------------------ */

static const struct {
    const char *doc;
    const char *remedy;
} syntax_cases[] = {
    {SPEC "  includedResources: []\n  - pods\n  - pvc\n", "delete the '[]'"},
    {SPEC "  includedResources: []\n\n    # more\n  - pods\n", "delete the '[]'"},
    {SPEC "  includedResources: [] 2\n  ttl: 1h\n", "callout"},
    {SPEC "  orLabelSelectors: 6\n  - matchLabels: {a: b}\n", "callout"},
    {SPEC "  labelSelector: 5\n    matchLabels:\n      app: a\n", "callout"},
    {HOOK "      pre: 6\n        - exec:\n            command: [a]\n", "callout"},
    {SPEC "\tttl: 1h\n", "tabs"},
    {SPEC "  ttl: 1h\n  ...\n  storageLocation: default\n", "left out"},
};

static void syntax_errors_of_the_manual_show_the_right_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(syntax_cases); i++) {
        vmb_spec *spec = NULL;
        vmb_error *err = NULL;
        vmb_code code = vmbi_spec_parse(syntax_cases[i].doc, strlen(syntax_cases[i].doc), "b.yaml",
                                        &spec, &err);

        if (code != VMB_E_PARSE || strstr(vmb_error_message(err), "b.yaml") == NULL ||
            strstr(vmb_error_message(err), "line ") == NULL ||
            strstr(vmb_error_message(err), syntax_cases[i].remedy) == NULL) {
            fail_msg("case %zu: %d %s\n%s", i, (int)code, vmb_error_message(err),
                     syntax_cases[i].doc);
        }
        vmb_error_free(err);
    }
}

static void backup_that_is_no_object_is_refused(void **state)
{
    static const char *const docs[] = {"- a\n", "text\n", "", "5", "null"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(docs); i++) {
        vmb_spec *spec = NULL;

        assert_int_equal(vmbi_spec_parse(docs[i], strlen(docs[i]), NULL, &spec, NULL), VMB_E_PARSE);
        assert_null(spec);
    }
}

static void backup_of_json_is_validated_with_places(void **state)
{
    static const char doc[] = "{\"apiVersion\":\"velero.io/v1\",\"kind\":\"Backup\",\n"
                              "\"metadata\":{\"name\":\"a\"},\n\"spec\":{\"ttl\":\"x\"}}";
    vmbi_problems p;

    (void)state;
    validate(doc, &p);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.v[0].line, 3);
    vmbi_problems_free(&p);
}

/* Processor time: what is bounded is work, and others may keep the processors busy. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * VMBI_SECOND + t.tv_nsec;
}

/* 40,000 entries in each of two lists: time grows with their number, not with its square. */
static void validation_of_long_lists_is_fast(void **state)
{
    vmbi_buf b = VMBI_BUF_INIT(VMBI_DOC_MAX_BYTES);
    vmbi_problems p;
    int64_t start;

    (void)state;
    vmbi_buf_adds(&b, SPEC "  includedNamespaces:\n");
    for (int i = 0; i < 40000; i++) {
        vmbi_buf_addf(&b, "  - ns-%d\n", i);
    }
    vmbi_buf_adds(&b, "  excludedNamespaces:\n");
    for (int i = 39999; i < 80000; i++) {
        vmbi_buf_addf(&b, "  - ns-%d\n", i);
    }
    start = cpu_ns();
    validate(b.data, &p);
    assert_true(cpu_ns() - start < 20 * VMBI_SECOND);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.v[0].field, "spec.excludedNamespaces[0]");
    vmbi_problems_free(&p);
    vmbi_buf_free(&b);
}

static void validation_out_of_memory_says_so(void **state)
{
    static const char doc[] = SPEC "  ttl: x\n  bogus: 1\n  includedResources: [\"a*\"]\n";
    vmb_spec *spec = NULL;

    (void)state;
    assert_int_equal(vmbi_spec_parse(doc, strlen(doc), NULL, &spec, NULL), VMB_OK);
    for (uint64_t n = 1; n < 1000; n++) {
        vmbi_problems p = {0};
        vmb_code code;

        vmbi_alloc_fail_from(n);
        code = vmbi_backup_validate(spec, &p, NULL);
        vmbi_alloc_fail_from(0);
        vmbi_problems_free(&p);
        if (code == VMB_OK && n > 8) {
            vmbi_spec_free(spec);
            return;
        }
    }
    fail_msg("never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problem_cases_are_reported_with_place_and_remedy),
        cmocka_unit_test(backup_of_every_field_has_no_problem),
        cmocka_unit_test(all_problems_are_reported_errors_first),
        cmocka_unit_test(syntax_errors_of_the_manual_show_the_right_form),
        cmocka_unit_test(backup_that_is_no_object_is_refused),
        cmocka_unit_test(backup_of_json_is_validated_with_places),
        cmocka_unit_test(validation_of_long_lists_is_fast),
        cmocka_unit_test(validation_out_of_memory_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
