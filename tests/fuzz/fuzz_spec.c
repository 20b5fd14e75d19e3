/* SPDX-License-Identifier: Apache-2.0 */
/* Backup documents. What validation accepts must make a filter and hooks; what is printed must be
 * accepted again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/backup.h"
#include "model/filter.h"
#include "model/hooks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char discovery_text[] =
    "{\"groups\":[{\"group\":\"\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\","
    "\"resources\":[{\"name\":\"pods\",\"singularName\":\"pod\",\"kind\":\"Pod\",\"namespaced\":"
    "true,\"shortNames\":[\"po\"],\"verbs\":[\"list\",\"create\",\"get\",\"delete\"]}]}]}]}";

static void check_accepted(const vmb_spec *spec, const vmbi_discovery *d)
{
    const vmbi_json *content = vmbi_json_get(vmbi_spec_root(spec), "spec");
    vmbi_strs namespaces = {0};
    vmbi_filter_input in = {.spec = content, .discovery = d, .namespaces = &namespaces};
    vmbi_filter *f = NULL;
    vmbi_hooks *h = NULL;
    vmbi_json *defaulted = NULL;

    if (vmbi_strs_split(&namespaces, "a,b,shop", ',', NULL) != VMB_OK ||
        vmbi_filter_new(&in, &f, NULL, NULL) != VMB_OK ||
        vmbi_hooks_compile(vmbi_json_get(content, "hooks"), d, &h, NULL) != VMB_OK ||
        vmbi_backup_defaulted(vmbi_spec_root(spec), "default", &defaulted, NULL) != VMB_OK) {
        abort();
    }
    for (size_t i = 0; i < vmbi_discovery_count(d); i++) {
        (void)vmbi_filter_wants_resource(f, vmbi_discovery_at(d, i));
    }
    vmbi_json_free(defaulted);
    vmbi_hooks_free(h);
    vmbi_filter_free(f);
    vmbi_strs_free(&namespaces);
}

static void check_print(const vmb_spec *spec)
{
    vmb_spec *again = NULL;
    char *text = NULL;
    size_t len = 0;

    if (vmbi_json_to_text(vmbi_spec_root(spec), &text, &len, NULL) == VMB_OK &&
        len <= VMBI_DOC_MAX_BYTES && vmbi_spec_parse(text, len, NULL, &again, NULL) != VMB_OK) {
        abort();
    }
    vmbi_spec_free(again);
    vmbi_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vmbi_problems problems = {0};
    vmbi_discovery *d = NULL;
    vmb_spec *spec = NULL;
    char *report = NULL;

    if (vmbi_spec_parse((const char *)data, size, "fuzz", &spec, NULL) != VMB_OK) {
        return 0;
    }
    if (vmbi_discovery_parse(discovery_text, sizeof(discovery_text) - 1, &d, NULL) != VMB_OK ||
        vmbi_spec_validate(spec, &problems, NULL) != VMB_OK ||
        vmbi_problems_to_json(&problems, &report, NULL, NULL) != VMB_OK) {
        abort();
    }
    if (problems.errors == 0 && !vmbi_spec_is_restore(spec)) {
        check_accepted(spec, d);
    }
    check_print(spec);
    vmbi_free(report);
    vmbi_problems_free(&problems);
    vmbi_discovery_free(d);
    vmbi_spec_free(spec);
    return 0;
}
