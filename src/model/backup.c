/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a vmb_spec, and the Backup with defaults that a run works with. */
#include "model/backup.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/duration.h"
#include "model/doc_hint.h"
#include "model/fields.h"

struct vmbi_spec_text {
    atomic_uint refs;
    vmbi_positions *places;
    vmbi_problems notes;
};

static void text_unref(vmbi_spec_text *t)
{
    /* acq_rel: the last one must see what the others did */
    if (t != NULL && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        vmbi_positions_free(t->places);
        vmbi_problems_free(&t->notes);
        vmbi_free(t);
    }
}

void vmbi_spec_free(vmb_spec *spec)
{
    if (spec == NULL) {
        return;
    }
    vmbi_json_free(spec->root);
    text_unref(spec->text);
    vmbi_free(spec->source);
    vmbi_free(spec);
}

static vmb_code spec_alloc(const char *source, vmb_spec **out, vmb_error **err)
{
    vmb_spec *spec = vmbi_zalloc(sizeof(*spec));

    if (spec == NULL) {
        return vmbi_fail_nomem(err);
    }
    spec->source = vmbi_strdup(source != NULL ? source : "backup");
    if (spec->source == NULL) {
        vmbi_free(spec);
        return vmbi_fail_nomem(err);
    }
    *out = spec;
    return VMB_OK;
}

vmb_code vmbi_spec_new(const char *name, vmb_spec **out, vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_code code = spec_alloc(NULL, &spec, err);
    bool ok;

    if (code != VMB_OK) {
        return code;
    }
    spec->root = vmbi_json_object();
    ok = vmbi_json_set_str(spec->root, "apiVersion", "velero.io/v1");
    ok &= vmbi_json_set_str(spec->root, "kind", "Backup");
    ok &= vmbi_json_set(spec->root, "metadata", vmbi_json_object());
    ok &= vmbi_json_set(spec->root, "spec", vmbi_json_object());
    if (ok && name != NULL) {
        ok = vmbi_json_set_str(vmbi_json_get(spec->root, "metadata"), "name", name);
    }
    if (!ok) {
        vmbi_spec_free(spec);
        return vmbi_fail_nomem(err);
    }
    *out = spec;
    return VMB_OK;
}

static vmb_code text_new(vmb_spec *spec, vmb_error **err)
{
    spec->text = vmbi_zalloc(sizeof(*spec->text));
    if (spec->text == NULL) {
        return vmbi_fail_nomem(err);
    }
    atomic_init(&spec->text->refs, 1);
    return VMB_OK;
}

static vmb_code parse_into(vmb_spec *spec, const char *doc, size_t len, vmb_error **err)
{
    vmb_code code = text_new(spec, err);

    if (code == VMB_OK) {
        code = vmbi_doc_parse(doc, len, spec->source, vmbi_backup_doc_hint, &spec->root,
                              &spec->text->places, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_json_is_object(spec->root)) {
        return vmbi_fail(err, VMB_E_PARSE, "%s: a resource is an object, this is %s", spec->source,
                         vmbi_json_type_name(spec->root));
    }
    spec->places = spec->text->places;
    vmbi_backup_doc_notes(doc, len, &spec->text->notes);
    return spec->text->notes.status != VMB_OK ? vmbi_fail_nomem(err) : VMB_OK;
}

vmb_code vmbi_spec_parse(const char *doc, size_t len, const char *source, vmb_spec **out,
                         vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_code code = spec_alloc(source, &spec, err);

    if (code == VMB_OK) {
        code = parse_into(spec, doc, len, err);
    }
    if (code != VMB_OK) {
        vmbi_spec_free(spec);
        return code;
    }
    *out = spec;
    return VMB_OK;
}

vmb_code vmbi_spec_from_tree(const vmbi_json *backup, vmb_spec **out, vmb_error **err)
{
    vmb_spec *spec = NULL;
    vmb_code code;

    if (!vmbi_json_is_object(backup)) {
        return vmbi_fail(err, VMB_E_INVALID, "backup: must be an object, not %s",
                         vmbi_json_type_name(backup));
    }
    code = spec_alloc(NULL, &spec, err);
    if (code != VMB_OK) {
        return code;
    }
    spec->root = vmbi_json_copy(backup);
    if (spec->root == NULL) {
        vmbi_spec_free(spec);
        return vmbi_fail_nomem(err);
    }
    *out = spec;
    return VMB_OK;
}

vmb_code vmbi_spec_clone(const vmb_spec *spec, vmb_spec **out, vmb_error **err)
{
    vmb_spec *copy = NULL;
    vmb_code code = vmbi_spec_from_tree(spec->root, &copy, err);
    char *source;

    if (code != VMB_OK) {
        return code;
    }
    source = vmbi_strdup(spec->source);
    if (source == NULL) {
        vmbi_spec_free(copy);
        return vmbi_fail_nomem(err);
    }
    vmbi_free(copy->source);
    copy->source = source;
    copy->text = spec->text;
    copy->places = spec->places;
    if (copy->text != NULL) {
        atomic_fetch_add_explicit(&copy->text->refs, 1, memory_order_relaxed);
    }
    *out = copy;
    return VMB_OK;
}

const vmbi_json *vmbi_spec_root(const vmb_spec *spec)
{
    return spec->root;
}

bool vmbi_spec_is_restore(const vmb_spec *spec)
{
    const char *kind = vmbi_json_get_str(spec->root, "kind");

    return kind != NULL && strcmp(kind, "Restore") == 0;
}

const char *vmbi_spec_kind(const vmb_spec *spec)
{
    return vmbi_spec_is_restore(spec) ? "Restore" : "Backup";
}

const vmbi_field *vmbi_spec_fields(const vmb_spec *spec)
{
    return vmbi_spec_is_restore(spec) ? &vmbi_restore_fields : &vmbi_backup_fields;
}

const vmbi_problems *vmbi_spec_notes(const vmb_spec *spec)
{
    return spec->text != NULL ? &spec->text->notes : NULL;
}

/* ---- defaults ------------------------------------------------------------------------------ */

int64_t vmbi_backup_duration_ns(const vmbi_json *spec, const char *field, int64_t dflt)
{
    const char *text = vmbi_json_get_str(spec, field);
    int64_t ns = 0;

    return text != NULL && vmbi_duration_parse(text, &ns) && ns != 0 ? ns : dflt;
}

static bool default_duration(vmbi_json *spec, const char *field, int64_t dflt)
{
    char text[VMBI_DURATION_SIZE];

    /* also rewrites "24h" as Go prints it, as Velero's own decoding does */
    vmbi_duration_format(vmbi_backup_duration_ns(spec, field, dflt), text);
    return vmbi_json_set_str(spec, field, text);
}

static bool default_namespaces(vmbi_json *spec)
{
    vmbi_json *list;

    if (vmbi_json_len(vmbi_json_get(spec, "includedNamespaces")) > 0) {
        return true;
    }
    list = vmbi_json_array();
    if (!vmbi_json_append_str(list, "*")) {
        vmbi_json_free(list);
        return false;
    }
    return vmbi_json_set(spec, "includedNamespaces", list);
}

static bool default_location(vmbi_json *spec, const char *location)
{
    const char *set = vmbi_json_get_str(spec, "storageLocation");

    if (location == NULL || (set != NULL && set[0] != '\0')) {
        return true;
    }
    return vmbi_json_set_str(spec, "storageLocation", location);
}

static bool default_all(vmbi_json *root, const char *location)
{
    vmbi_json *spec = vmbi_json_ensure_object(root, "spec");
    bool ok = spec != NULL && vmbi_json_ensure_object(root, "metadata") != NULL;

    ok = ok && vmbi_json_set_str(root, "apiVersion", "velero.io/v1");
    ok = ok && vmbi_json_set_str(root, "kind", "Backup");
    ok = ok && default_duration(spec, "ttl", VMBI_BACKUP_TTL_NS);
    ok = ok && default_duration(spec, "csiSnapshotTimeout", VMBI_BACKUP_CSI_TIMEOUT_NS);
    ok = ok && default_duration(spec, "itemOperationTimeout", VMBI_BACKUP_OPERATION_TIMEOUT_NS);
    ok = ok && default_namespaces(spec) && default_location(spec, location);
    /* OADP 1.1's name counts only when it is true, and then wins */
    if (ok && vmbi_json_bool(vmbi_json_get(spec, "defaultVolumesToRestic"), false)) {
        ok = vmbi_json_set_bool(spec, "defaultVolumesToFsBackup", true);
    }
    ok = ok && vmbi_json_ensure_object(spec, "hooks") != NULL;
    return ok && vmbi_json_ensure_object(spec, "metadata") != NULL;
}

vmb_code vmbi_backup_defaulted(const vmbi_json *backup, const char *default_storage_location,
                               vmbi_json **out, vmb_error **err)
{
    vmbi_json *copy = vmbi_json_copy(backup);

    if (copy == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmbi_json_del(copy, "status");
    if (!default_all(copy, default_storage_location)) {
        vmbi_json_free(copy);
        return vmbi_fail_nomem(err);
    }
    *out = copy;
    return VMB_OK;
}
