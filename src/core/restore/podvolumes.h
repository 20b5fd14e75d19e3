/* SPDX-License-Identifier: Apache-2.0 */
/* Content of volumes that was saved by filesystem backup: pods wait for it in an init container,
 * volume providers bring it back. */
#ifndef VMBI_CORE_RESTORE_PODVOLUMES_H
#define VMBI_CORE_RESTORE_PODVOLUMES_H

#include "core/restore/restore.h"

/* The volume of a pod in which only the file lies that ends its wait: for disks, which have no
 * place for such a file. */
#define VMBI_WAIT_VOLUME "vmbackup-restore-wait"
#define VMBI_WAIT_CONTAINER "restore-wait"

/* Annotation of a claim whose content is still to come. */
#define VMBI_CONTENT_NOTE "vmbackup.io/content"

/* ---- podvolumes.c: which volumes ------------------------------------------------------------- */

/* Does the restore bring content back at all? */
bool vmbi_restore_fills(const vmbi_restore *r);
/* The i-th record (PodVolumeBackup) if it is of this pod, has content, and no later one of the same
 * volume is in the list; else NULL. */
const vmbi_json *vmbi_restore_record_of(const vmbi_restore *r, size_t i, const char *ns,
                                        const char *pod);
/* The record that has the content of a claim; NULL: none. */
const vmbi_json *vmbi_restore_record_of_claim(const vmbi_restore *r, const char *ns,
                                              const char *claim);
/* Before pods are looked at: how long filling may take. */
void vmbi_restore_begin_volumes(vmbi_restore *r);
/* A pod was created: remembers it when volumes of it were saved. waiter: whose end it waits for. */
vmb_code vmbi_restore_note_volumes(vmbi_restore *r, const vmbi_ritem *item, const char *waiter,
                                   vmb_error **err);
/* A pod that is there: does it wait for content of a restore that did not end? Then it is
 * remembered, and true is returned. */
bool vmbi_restore_note_waiting(vmbi_restore *r, const vmbi_ritem *item);
/* Claims ("namespace/name" in the cluster) that were tried to fill outside of a restored pod. */
vmb_code vmbi_restore_note_tried(vmbi_restore *r, const char *ns, const char *claim,
                                 vmb_error **err);
bool vmbi_restore_has_tried(vmbi_restore *r, const char *ns, const char *claim);
/* Brings the content back; failures are errors of the restore. */
void vmbi_restore_pod_volumes(vmbi_restore *r);

/* ---- wait.c: the container that waits ---------------------------------------------------------- */

/* Reads what configures it. */
vmb_code vmbi_restore_read_wait(vmbi_restore *r, vmb_error **err);
/* Puts it into a pod whose volumes were saved. */
vmb_code vmbi_restore_add_wait(vmbi_restore *r, vmbi_ritem *item, vmb_error **err);
/* The container for a pod with that spec; the caller adds mounts. NULL when memory is out. */
vmbi_json *vmbi_restore_wait_container(const vmbi_restore *r, const vmbi_json *spec);
bool vmbi_restore_mount(vmbi_json *container, const char *volume, const char *prefix);
/* {"name":VMBI_WAIT_VOLUME,"emptyDir":{}} behind the volumes of a pod. */
bool vmbi_restore_add_wait_volume(vmbi_json *spec);
/* Is the volume a disk to one of the pod's containers? */
bool vmbi_restore_is_disk(const vmbi_json *spec, const char *volume);

/* ---- fill.c: the volumes of one pod ------------------------------------------------------------ */

typedef struct vmbi_fill_volume {
    char *name;              /* of the volume in the pod */
    const vmbi_json *record; /* PodVolumeBackup; borrowed */
    bool is_disk;
    char object[300];        /* its PodVolumeRestore; "": none */
} vmbi_fill_volume;

typedef struct vmbi_fill_pod {
    char *ns;
    char *name;
    char *waiter; /* name of the file that ends its wait */
    vmbi_fill_volume *v;
    size_t n;
    size_t next; /* volumes before it are done with */
    size_t failed;
    bool marks;  /* it has VMBI_WAIT_VOLUME */
    bool clean;  /* its other volumes get no file that ends a wait */
    int64_t first_ns; /* of the first try; 0: none yet */
    int64_t due_ns;   /* not before that */
} vmbi_fill_pod;

vmb_code vmbi_fill_pod_init(vmbi_fill_pod *p, const char *ns, const char *name, const char *waiter,
                            vmb_error **err);
vmb_code vmbi_fill_pod_add(vmbi_fill_pod *p, const char *volume, const vmbi_json *record,
                           bool is_disk, vmb_error **err);
void vmbi_fill_pod_done(vmbi_fill_pod *p);
/* Fills what can be filled now; failures are errors of the restore. True: nothing is left to do;
 * false: it is to be called again after due_ns. */
bool vmbi_fill_pod_step(vmbi_restore *r, vmbi_fill_pod *p);
/* Is there a provider that can fill volumes? */
bool vmbi_restore_has_filler(const vmbi_restore *r);

/* ---- records.c: PodVolumeRestores --------------------------------------------------------------- */

/* Where the run keeps them: one for each volume, in progress from the start. Failures are logged. */
void vmbi_restore_record_begin(vmbi_restore *r, const vmbi_json *pod, const vmbi_json *claim,
                               vmbi_fill_volume *v);
void vmbi_restore_record_end(vmbi_restore *r, const vmbi_fill_volume *v, const vmb_error *why);

/* ---- machine.c: disks of machines -------------------------------------------------------------- */

/* Fills the disks of a machine before it is made, by a pod that holds them meanwhile: its own pod
 * is KubeVirt's to make, and would start on empty disks. False: a disk has not its content, and the
 * errors are noted; with item->skip: the machine is not to be touched, since it runs or may run, or
 * since the restore ends and the run that continues it fills the disks. */
bool vmbi_restore_fill_machine(vmbi_restore *r, vmbi_ritem *item,
                               const vmbi_json *instance_spec);

#endif
