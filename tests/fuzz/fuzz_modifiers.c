/* SPDX-License-Identifier: Apache-2.0 */
/* Resource modifiers: a document of rules, applied to a pod; then the input as a strategic patch. What
 * is left is a tree that prints, also when rules failed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/modifiers.h"
#include "model/strategic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pod[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\","
    "\"labels\":{\"app\":\"web\"},\"finalizers\":[\"a\"]},\"spec\":{\"containers\":[{\"name\":\"c\","
    "\"image\":\"i\",\"env\":[{\"name\":\"A\",\"value\":\"b\"}]},{\"name\":\"d\"}],\"volumes\":[{"
    "\"name\":\"v\",\"emptyDir\":{}}],\"tolerations\":[{\"key\":\"k\"}]}}";

static vmbi_json *make_pod(void)
{
    vmbi_json *obj = NULL;

    if (vmbi_json_parse(pod, sizeof(pod) - 1, "pod", &obj, NULL) != VMB_OK) {
        abort();
    }
    return obj;
}

static void check_prints(vmbi_json *obj)
{
    char *text = NULL;

    if (vmbi_json_to_text(obj, &text, NULL, NULL) == VMB_E_NOMEM) {
        abort();
    }
    vmbi_free(text);
    vmbi_json_free(obj);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vmbi_modifiers *m = NULL;
    vmbi_json *patch = NULL;
    vmbi_json *obj = make_pod();

    if (vmbi_modifiers_parse((const char *)data, size, "fuzz", &m, NULL) == VMB_OK) {
        vmbi_strs problems = {0};

        if (vmbi_modifiers_apply(m, "pods", &obj, &problems, NULL) != VMB_OK) {
            abort();
        }
        vmbi_strs_free(&problems);
    }
    check_prints(obj);
    vmbi_modifiers_free(m);
    obj = make_pod();
    if (vmbi_json_parse((const char *)data, size, "patch", &patch, NULL) == VMB_OK) {
        (void)vmbi_strategic_merge(obj, patch, NULL); /* any outcome is fine */
    }
    check_prints(obj);
    vmbi_json_free(patch);
    return 0;
}
