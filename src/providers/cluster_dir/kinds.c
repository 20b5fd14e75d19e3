/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/cluster_dir/kinds.h"

#include "base/strs.h"

enum { CLUSTER = 0, NAMESPACED = 1, ADDON = 0, NATIVE = 1 };

/* Source: discovery of kube-apiserver 1.26, the CRDs of external-snapshotter 8.6, KubeVirt 1.9,
 * CDI 1.63, Multus and Velero 1.18. The first row of a group carries its preferred version. */
static const vmbi_dir_kind kinds[] = {
    {"", "v1", "namespaces", "Namespace", "ns", CLUSTER, NATIVE},
    {"", "v1", "nodes", "Node", "no", CLUSTER, NATIVE},
    {"", "v1", "persistentvolumes", "PersistentVolume", "pv", CLUSTER, NATIVE},
    {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", NAMESPACED, NATIVE},
    {"", "v1", "pods", "Pod", "po", NAMESPACED, NATIVE},
    {"", "v1", "podtemplates", "PodTemplate", "", NAMESPACED, NATIVE},
    {"", "v1", "configmaps", "ConfigMap", "cm", NAMESPACED, NATIVE},
    {"", "v1", "secrets", "Secret", "", NAMESPACED, NATIVE},
    {"", "v1", "serviceaccounts", "ServiceAccount", "sa", NAMESPACED, NATIVE},
    {"", "v1", "services", "Service", "svc", NAMESPACED, NATIVE},
    {"", "v1", "endpoints", "Endpoints", "ep", NAMESPACED, NATIVE},
    {"", "v1", "events", "Event", "ev", NAMESPACED, NATIVE},
    {"", "v1", "limitranges", "LimitRange", "limits", NAMESPACED, NATIVE},
    {"", "v1", "resourcequotas", "ResourceQuota", "quota", NAMESPACED, NATIVE},
    {"", "v1", "replicationcontrollers", "ReplicationController", "rc", NAMESPACED, NATIVE},
    {"apps", "v1", "deployments", "Deployment", "deploy", NAMESPACED, NATIVE},
    {"apps", "v1", "statefulsets", "StatefulSet", "sts", NAMESPACED, NATIVE},
    {"apps", "v1", "daemonsets", "DaemonSet", "ds", NAMESPACED, NATIVE},
    {"apps", "v1", "replicasets", "ReplicaSet", "rs", NAMESPACED, NATIVE},
    {"apps", "v1", "controllerrevisions", "ControllerRevision", "", NAMESPACED, NATIVE},
    {"events.k8s.io", "v1", "events", "Event", "ev", NAMESPACED, NATIVE},
    {"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", NAMESPACED,
     NATIVE},
    {"batch", "v1", "jobs", "Job", "", NAMESPACED, NATIVE},
    {"batch", "v1", "cronjobs", "CronJob", "cj", NAMESPACED, NATIVE},
    {"certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", "csr",
     CLUSTER, NATIVE},
    {"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", NAMESPACED, NATIVE},
    {"networking.k8s.io", "v1", "ingresses", "Ingress", "ing", NAMESPACED, NATIVE},
    {"networking.k8s.io", "v1", "ingressclasses", "IngressClass", "", CLUSTER, NATIVE},
    {"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", NAMESPACED, NATIVE},
    {"rbac.authorization.k8s.io", "v1", "roles", "Role", "", NAMESPACED, NATIVE},
    {"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "", NAMESPACED, NATIVE},
    {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", "", CLUSTER, NATIVE},
    {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "", CLUSTER,
     NATIVE},
    {"storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", CLUSTER, NATIVE},
    {"storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", "", CLUSTER, NATIVE},
    {"storage.k8s.io", "v1", "csidrivers", "CSIDriver", "", CLUSTER, NATIVE},
    {"storage.k8s.io", "v1", "csinodes", "CSINode", "", CLUSTER, NATIVE},
    {"storage.k8s.io", "v1", "csistoragecapacities", "CSIStorageCapacity", "", NAMESPACED, NATIVE},
    {"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations",
     "MutatingWebhookConfiguration", "", CLUSTER, NATIVE},
    {"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations",
     "ValidatingWebhookConfiguration", "", CLUSTER, NATIVE},
    {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
     "crd,crds", CLUSTER, NATIVE},
    {"apiregistration.k8s.io", "v1", "apiservices", "APIService", "", CLUSTER, NATIVE},
    {"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", CLUSTER, NATIVE},
    {"coordination.k8s.io", "v1", "leases", "Lease", "", NAMESPACED, NATIVE},
    {"node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", "", CLUSTER, NATIVE},
    {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "", NAMESPACED, NATIVE},
    {"snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass",
     "vsclass,vsclasses", CLUSTER, ADDON},
    {"snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", "vsc,vscs",
     CLUSTER, ADDON},
    {"snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot", "vs", NAMESPACED, ADDON},
    {"kubevirt.io", "v1", "virtualmachines", "VirtualMachine", "vm,vms", NAMESPACED, ADDON},
    {"kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", "vmi,vmis",
     NAMESPACED, ADDON},
    {"kubevirt.io", "v1", "virtualmachineinstancemigrations", "VirtualMachineInstanceMigration",
     "vmim,vmims", NAMESPACED, ADDON},
    {"kubevirt.io", "v1", "virtualmachineinstancereplicasets", "VirtualMachineInstanceReplicaSet",
     "vmirs,vmirss", NAMESPACED, ADDON},
    {"kubevirt.io", "v1", "virtualmachineinstancepresets", "VirtualMachineInstancePreset",
     "vmipreset,vmipresets", NAMESPACED, ADDON},
    {"kubevirt.io", "v1", "kubevirts", "KubeVirt", "kv,kvs", NAMESPACED, ADDON},
    {"cdi.kubevirt.io", "v1beta1", "datavolumes", "DataVolume", "dv,dvs", NAMESPACED, ADDON},
    {"cdi.kubevirt.io", "v1beta1", "datasources", "DataSource", "das", NAMESPACED, ADDON},
    {"cdi.kubevirt.io", "v1beta1", "dataimportcrons", "DataImportCron", "dic,dics", NAMESPACED,
     ADDON},
    {"cdi.kubevirt.io", "v1beta1", "volumeimportsources", "VolumeImportSource", "", NAMESPACED,
     ADDON},
    {"cdi.kubevirt.io", "v1beta1", "volumeclonesources", "VolumeCloneSource", "", NAMESPACED,
     ADDON},
    {"cdi.kubevirt.io", "v1beta1", "storageprofiles", "StorageProfile", "", CLUSTER, ADDON},
    {"cdi.kubevirt.io", "v1beta1", "cdiconfigs", "CDIConfig", "", CLUSTER, ADDON},
    {"cdi.kubevirt.io", "v1beta1", "cdis", "CDI", "cdi,cdis", CLUSTER, ADDON},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachineinstancetypes",
     "VirtualMachineInstancetype", "vminstancetype,vmf", NAMESPACED, ADDON},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterinstancetypes",
     "VirtualMachineClusterInstancetype", "vmclusterinstancetype,vmcf", CLUSTER, ADDON},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachinepreferences", "VirtualMachinePreference",
     "vmpref,vmp", NAMESPACED, ADDON},
    {"instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterpreferences",
     "VirtualMachineClusterPreference", "vmcp,vmcps", CLUSTER, ADDON},
    {"snapshot.kubevirt.io", "v1beta1", "virtualmachinesnapshots", "VirtualMachineSnapshot",
     "vmsnapshot", NAMESPACED, ADDON},
    {"snapshot.kubevirt.io", "v1beta1", "virtualmachinesnapshotcontents",
     "VirtualMachineSnapshotContent", "vmsnapshotcontent", NAMESPACED, ADDON},
    {"snapshot.kubevirt.io", "v1beta1", "virtualmachinerestores", "VirtualMachineRestore",
     "vmrestore", NAMESPACED, ADDON},
    {"clone.kubevirt.io", "v1beta1", "virtualmachineclones", "VirtualMachineClone", "vmclone",
     NAMESPACED, ADDON},
    {"export.kubevirt.io", "v1", "virtualmachineexports", "VirtualMachineExport", "vmexport",
     NAMESPACED, ADDON},
    {"backup.kubevirt.io", "v1alpha1", "virtualmachinebackups", "VirtualMachineBackup", "vmbackup",
     NAMESPACED, ADDON},
    {"backup.kubevirt.io", "v1alpha1", "virtualmachinebackuptrackers",
     "VirtualMachineBackupTracker", "vmbackuptracker", NAMESPACED, ADDON},
    {"k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition",
     "net-attach-def", NAMESPACED, ADDON},
    {"velero.io", "v1", "backups", "Backup", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "backupstoragelocations", "BackupStorageLocation", "bsl", NAMESPACED,
     ADDON},
    {"velero.io", "v1", "volumesnapshotlocations", "VolumeSnapshotLocation", "vsl", NAMESPACED,
     ADDON},
    {"velero.io", "v1", "schedules", "Schedule", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "restores", "Restore", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "deletebackuprequests", "DeleteBackupRequest", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "downloadrequests", "DownloadRequest", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "podvolumebackups", "PodVolumeBackup", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "podvolumerestores", "PodVolumeRestore", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "backuprepositories", "BackupRepository", "", NAMESPACED, ADDON},
    {"velero.io", "v1", "serverstatusrequests", "ServerStatusRequest", "ssr", NAMESPACED, ADDON},
    {"velero.io", "v2alpha1", "datauploads", "DataUpload", "", NAMESPACED, ADDON},
    {"velero.io", "v2alpha1", "datadownloads", "DataDownload", "", NAMESPACED, ADDON},
};

const vmbi_dir_kind *vmbi_dir_kinds(size_t *count)
{
    *count = VMBI_ARRAY_LEN(kinds);
    return kinds;
}

const vmbi_dir_kind *vmbi_dir_kind_find(const char *group, const char *kind)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(kinds); i++) {
        if (vmbi_streq(kinds[i].kind, kind) && vmbi_streq(kinds[i].group, group)) {
            return &kinds[i];
        }
    }
    return NULL;
}

const char *vmbi_dir_group_preferred(const char *group)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(kinds); i++) {
        if (vmbi_streq(kinds[i].group, group)) {
            return kinds[i].version;
        }
    }
    return NULL;
}
