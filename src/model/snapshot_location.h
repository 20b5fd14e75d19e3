/* SPDX-License-Identifier: Apache-2.0 */
/* Which VolumeSnapshotLocations (velero.io/v1) a backup has: one of each provider. */
#ifndef VMBI_MODEL_SNAPSHOT_LOCATION_H
#define VMBI_MODEL_SNAPSHOT_LOCATION_H

#include "codec/json.h"
#include "model/problems.h"

/* Velero's rules: a name must exist; of each provider one location is named at most, and one that has
 * none named gives its only location, or the one that `defaults` names.
 * all: array of the resources that there are
 * wanted: spec.volumeSnapshotLocations, NULL for none
 * defaults: "provider:location,…", "" for none
 * *out: array of the chosen ones, in the order of their names; what is wrong goes to problems. */
vmb_code vmbi_snapshot_locations_choose(const vmbi_json *all, const vmbi_json *wanted,
                                        const char *defaults, vmbi_json **out,
                                        vmbi_problems *problems, vmb_error **err);
/* Is this the text of such defaults? */
bool vmbi_snapshot_defaults_ok(const char *defaults);
/* The first of the chosen locations whose plugin would take the volume; NULL: none. Volumes of CSI
 * drivers are CSI's, whatever locations there are. */
const vmbi_json *vmbi_snapshot_location_of(const vmbi_json *chosen, const vmbi_json *pv);

#endif
