/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file spec.h
 * @brief A Backup or Restore resource (velero.io/v1): parse, inspect, change, validate, print.
 *
 * `kind` tells which of the two a spec is, and with that which fields it knows. Fields are addressed
 * by their path in the resource as Velero 1.18 names it: "metadata.name",
 * "spec.includedNamespaces", "spec.hooks.resources[0].pre[0].exec.command". Velero's and OADP's
 * older names (defaultVolumesToRestic) are accepted on input. A spec is not thread-safe.
 */
#ifndef VMBACKUP_SPEC_H
#define VMBACKUP_SPEC_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Creates an empty Backup with apiVersion, kind and the given name.
 * @param name metadata.name; NULL leaves it unset
 */
VMB_API vmb_code vmb_spec_new(const char *name, vmb_spec **out, vmb_error **err);
/**
 * Creates an empty Restore with apiVersion, kind and the given names.
 * @param name   metadata.name; NULL leaves it unset
 * @param backup spec.backupName; NULL leaves it unset (use spec.scheduleName then)
 */
VMB_API vmb_code vmb_spec_new_restore(const char *name, const char *backup, vmb_spec **out,
                                      vmb_error **err);
/** "Backup" or "Restore", by the field kind; any other kind counts as a Backup; "" for NULL. Static. */
VMB_API const char *vmb_spec_kind(const vmb_spec *spec);
/**
 * Parses a Backup or Restore from YAML or JSON (one document). Only the syntax is checked here;
 * use vmb_spec_validate() for the content.
 * @param doc     the text; at most 4 MiB, nesting at most 64
 * @param len     its length in bytes
 * @param source  what to call the document in messages (a file name); NULL = "backup"
 * @return VMB_OK, VMB_E_ARG, VMB_E_PARSE (message has line, column and, for known mistakes, the
 *         right form), VMB_E_LIMIT, VMB_E_NOMEM
 */
VMB_API vmb_code vmb_spec_parse(const char *doc, size_t len, const char *source, vmb_spec **out,
                                vmb_error **err);
/** Deep copy, owned; VMB_OK or VMB_E_ARG. */
VMB_API vmb_code vmb_spec_clone(const vmb_spec *spec, vmb_spec **out, vmb_error **err);
/** Releases a spec; NULL is allowed. */
VMB_API void vmb_spec_free(vmb_spec *spec);

/**
 * Checks everything that can be checked without a cluster and reports all problems at once. What
 * Velero refuses is an error. A field below spec that Velero 1.18 does not know is an error, too:
 * Kubernetes drops such fields, so that a misspelt filter would be ignored; below metadata it is a
 * warning, and status is not looked at. A name or pattern that would match nothing or switch off
 * its list ("apps/deployments", "[x") and a negative duration of spec are errors.
 * @param report receives, if not NULL, an owned JSON document, also on success:
 *        {"problems":[{"severity":"error|warning","line":12,"column":5,"field":"spec.ttl",
 *        "message":"…","remedy":"…"}]}; line and column are 0 when the field was not parsed
 *        from text
 * @param report_len receives its length; may be NULL
 * @return VMB_OK (warnings allowed), VMB_E_INVALID (at least one error; the vmb_error's message is
 *         the first, with their number), VMB_E_NOMEM
 */
VMB_API vmb_code vmb_spec_validate(const vmb_spec *spec, char **report, size_t *report_len,
                                   vmb_error **err);
/** Compact JSON with sorted keys; owned, vmb_free(). VMB_OK or VMB_E_ARG. */
VMB_API vmb_code vmb_spec_to_json(const vmb_spec *spec, char **out, size_t *out_len,
                                  vmb_error **err);

/**
 * Reads a string (or duration, as text).
 * @return VMB_OK with *out borrowed until the spec changes; VMB_E_NOT_FOUND when unset;
 *         VMB_E_ARG for an unknown path; VMB_E_INVALID when the value is no string
 */
VMB_API vmb_code vmb_spec_get_string(const vmb_spec *spec, const char *path, const char **out,
                                     vmb_error **err);
/** Reads a boolean; codes as vmb_spec_get_string(). */
VMB_API vmb_code vmb_spec_get_bool(const vmb_spec *spec, const char *path, int32_t *out,
                                   vmb_error **err);
/** Reads an integer; codes as vmb_spec_get_string(). */
VMB_API vmb_code vmb_spec_get_int(const vmb_spec *spec, const char *path, int64_t *out,
                                  vmb_error **err);
/** Reads a duration field (spec.ttl …) in nanoseconds; codes as vmb_spec_get_string(). */
VMB_API vmb_code vmb_spec_get_duration_ns(const vmb_spec *spec, const char *path, int64_t *out,
                                          vmb_error **err);
/** Number of elements of a list or map; 0 when unset. Other codes as vmb_spec_get_string(). */
VMB_API vmb_code vmb_spec_get_count(const vmb_spec *spec, const char *path, size_t *out,
                                    vmb_error **err);
/** Any value as owned JSON text; codes as vmb_spec_get_string(). */
VMB_API vmb_code vmb_spec_get_json(const vmb_spec *spec, const char *path, char **out,
                                   size_t *out_len, vmb_error **err);

/**
 * Sets a string; missing parents are created. Values are checked by vmb_spec_validate().
 * @return VMB_OK, VMB_E_ARG (unknown path: the message names the nearest known field; a field of
 *         another type; an index beyond the end of a list; no UTF-8), VMB_E_INVALID (a parent is
 *         of the wrong type), VMB_E_NOMEM; the setters below return the same
 */
VMB_API vmb_code vmb_spec_set_string(vmb_spec *spec, const char *path, const char *value,
                                     vmb_error **err);
/** Sets a boolean. */
VMB_API vmb_code vmb_spec_set_bool(vmb_spec *spec, const char *path, int32_t value,
                                   vmb_error **err);
/** Sets an integer. */
VMB_API vmb_code vmb_spec_set_int(vmb_spec *spec, const char *path, int64_t value,
                                  vmb_error **err);
/** Sets a duration, stored in Go's form ("720h0m0s"); range 0 to 2^63-1 ns. */
VMB_API vmb_code vmb_spec_set_duration_ns(vmb_spec *spec, const char *path, int64_t value,
                                          vmb_error **err);
/** Appends a string to a list field such as "spec.includedNamespaces". */
VMB_API vmb_code vmb_spec_add_string(vmb_spec *spec, const char *path, const char *value,
                                     vmb_error **err);
/** Sets one entry of a map field such as "metadata.labels" or "spec.labelSelector.matchLabels". */
VMB_API vmb_code vmb_spec_set_entry(vmb_spec *spec, const char *path, const char *key,
                                    const char *value, vmb_error **err);
/** Sets any field from JSON or YAML text (a hook, a selector); at most 1 MiB. */
VMB_API vmb_code vmb_spec_set_json(vmb_spec *spec, const char *path, const char *doc, size_t len,
                                   vmb_error **err);
/** Removes a field; success when it was unset. */
VMB_API vmb_code vmb_spec_unset(vmb_spec *spec, const char *path, vmb_error **err);

#ifdef __cplusplus
}
#endif
#endif
