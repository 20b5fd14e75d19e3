/* SPDX-License-Identifier: Apache-2.0 */
/* What a Restore brings back, and in which order: resources, namespaces, labels, scopes, status and
 * namespace mapping of its spec. Pure; immutable after creation, usable from any thread. */
#ifndef VMBI_MODEL_RESTORE_FILTER_H
#define VMBI_MODEL_RESTORE_FILTER_H

#include "codec/jscan.h"
#include "model/discovery.h"
#include "model/incexc.h"
#include "model/selector.h"

typedef struct vmbi_restore_filter vmbi_restore_filter;

/* spec: "spec" of a Restore with defaults; kept, must outlive the filter. Names of resources are
 * resolved by discovery; what it does not know is looked up in `present` ("plural.group" of what
 * the backup holds) by its plural name. */
vmb_code vmbi_restore_filter_new(const vmbi_json *spec, const vmbi_discovery *discovery,
                                 const vmbi_strs *present, vmbi_restore_filter **out,
                                 vmb_error **err);
void vmbi_restore_filter_free(vmbi_restore_filter *f);

/* Resources that ignore resource, namespace and label filters: what restores of volumes need. */
bool vmbi_restore_must_have(const char *group_resource);
bool vmbi_restore_wants_resource(const vmbi_restore_filter *f, const char *group_resource);
bool vmbi_restore_wants_namespace(const vmbi_restore_filter *f, const char *ns);
/* Are objects without namespace restored for their own sake? */
bool vmbi_restore_wants_cluster_scope(const vmbi_restore_filter *f);
/* Are they never restored, not even when another object names them? */
bool vmbi_restore_refuses_cluster_scope(const vmbi_restore_filter *f);
bool vmbi_restore_wants_labels(const vmbi_restore_filter *f, vmbi_slice labels);
/* Does restoreStatus name the resource? */
bool vmbi_restore_wants_status(const vmbi_restore_filter *f, const char *group_resource);
/* Where a namespace's objects go; ns itself when it is not mapped. Borrowed. */
const char *vmbi_restore_target(const vmbi_restore_filter *f, const char *ns);

/* The order in which resources are restored, Velero's: its priorities, the rest alphabetically,
 * what must come last; each of `present` once. */
vmb_code vmbi_restore_order(const vmbi_strs *present, vmbi_strs *out, vmb_error **err);

#endif
