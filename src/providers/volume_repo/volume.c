/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's volume and its place on the node. Source: Velero 1.18 pkg/exposer/host_path.go,
 * pkg/util/kube/utils.go (GetVolumeDirectory). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "providers/volume_repo/volume_repo.h"

static const char *text_of(const vmbi_json *obj, const char *path)
{
    const char *s = vmbi_json_path_str(obj, path);
    return s != NULL ? s : "";
}

vmb_code vmbi_volrepo_read(const char *text, size_t len, vmbi_volrepo_volume *out, vmb_error **err)
{
    vmbi_volrepo_volume v = {0};
    vmb_code code = vmbi_json_parse(text, len, "volume", &v.doc, err);
    if (code != VMB_OK) {
        return code;
    }
    v.ns = text_of(v.doc, "pod.metadata.namespace");
    v.pod = text_of(v.doc, "pod.metadata.name");
    v.pod_uid = text_of(v.doc, "pod.metadata.uid");
    v.node = text_of(v.doc, "pod.spec.nodeName");
    v.name = text_of(v.doc, "volume.name");
    v.claim_uid = text_of(v.doc, "pvc.metadata.uid");
    v.waiter = text_of(v.doc, "waiter");
    v.block = strcmp(text_of(v.doc, "mode"), "Block") == 0;
    if (v.ns[0] == '\0' || v.pod[0] == '\0' || v.name[0] == '\0') {
        vmbi_volrepo_done(&v);
        return vmbi_fail(err, VMB_E_ARG,
                         "volume: the pod's namespace or name, or the volume's name is missing");
    }
    *out = v;
    return VMB_OK;
}

void vmbi_volrepo_done(vmbi_volrepo_volume *v)
{
    vmbi_json_free(v->doc);
    *v = (vmbi_volrepo_volume){0};
}

/* ---- the path ------------------------------------------------------------------------------------ */

/* Can this stand in a path as one component? */
static bool is_component(const char *s)
{
    return s[0] != '\0' && strchr(s, '/') == NULL && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* The kubelet calls the folder after the persistent volume, or after the pod's volume when there is
 * none. A CSI driver's files are one level further down. */
static const char *folder_name(const vmbi_volrepo_volume *v, bool *is_csi)
{
    const vmbi_json *pv = vmbi_json_get(v->doc, "pv");
    const char *pv_name = vmbi_json_path_str(pv, "metadata.name");
    const vmbi_json *csi = pv_name != NULL ? vmbi_json_path(pv, "spec.csi")
                                           : vmbi_json_path(v->doc, "volume.csi");
    *is_csi = !vmbi_json_is_null(csi) && !v->block;
    return pv_name != NULL ? pv_name : v->name;
}

static int open_folder(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Looks for <plugin>/<name> below a folder; plugin receives the one that has it. */
static vmb_code find_plugin(int fd, const char *name, const char *where, bool block,
                            vmbi_buf *plugin, vmb_error **err)
{
    DIR *d = fdopendir(fd); /* takes fd over, also for failure's sake below */
    size_t found = 0;
    vmb_code code = VMB_OK;
    if (d == NULL) {
        code = vmbi_fail_errno(err, errno, "list %s", where);
        (void)close(fd);
        return code;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct stat st;
        if (!is_component(e->d_name)) {
            continue;
        }
        int sub = open_folder(dirfd(d), e->d_name);
        bool has = sub >= 0 && fstatat(sub, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                   (block || S_ISDIR(st.st_mode));
        if (sub >= 0) {
            (void)close(sub);
        }
        if (has) {
            found++;
            vmbi_buf_reset(plugin);
            vmbi_buf_adds(plugin, e->d_name);
        }
    }
    (void)closedir(d);
    if (found == 0) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "there is no %s/*/%s on this node", where, name);
    }
    return found == 1 ? vmbi_buf_check(plugin, err, "path")
                      : vmbi_fail(err, VMB_E_CONFLICT, "%zu places are called %s/*/%s", found,
                                  where, name);
}

/* A disk is a regular file, a device, or the kubelet's link to a device. */
static vmb_code check_disk(const char *path, vmb_error **err)
{
    struct stat st;
    struct stat link;
    if (lstat(path, &link) != 0 || stat(path, &st) != 0) {
        return vmbi_fail_errno(err, errno, "look at %s", path);
    }
    if (S_ISBLK(st.st_mode) || S_ISREG(link.st_mode)) {
        return VMB_OK;
    }
    return vmbi_fail(err, VMB_E_INVALID, "%s is no disk: neither a block device nor a file", path);
}

/* The folder `mount` of a CSI volume must be one, and no link to another. */
static vmb_code check_folder(const char *path, vmb_error **err)
{
    int fd = open_folder(AT_FDCWD, path);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open %s", path);
    }
    (void)close(fd);
    return VMB_OK;
}

vmb_code vmbi_volrepo_path(const vmbi_volrepo *p, const vmbi_volrepo_volume *v, vmbi_buf *out,
                           vmb_error **err)
{
    bool is_csi = false;
    const char *name = folder_name(v, &is_csi);
    const char *kind = v->block ? "volumeDevices" : "volumes";
    vmbi_buf plugin = VMBI_BUF_INIT(512);
    if (!is_component(v->pod_uid) || !is_component(name)) {
        return vmbi_fail(err, VMB_E_ARG, "volume %s: the pod's uid or the volume's name is no name",
                         v->name);
    }
    vmbi_buf_reset(out);
    vmbi_buf_addf(out, "%s/%s/%s", p->host_pods, v->pod_uid, kind);
    vmb_code code = vmbi_buf_check(out, err, "path");
    if (code != VMB_OK) {
        return code;
    }
    int pod = -1;
    int pods = open(p->host_pods, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    if (pods >= 0) {
        pod = open_folder(pods, v->pod_uid);
        fd = pod >= 0 ? open_folder(pod, kind) : -1;
    }
    if (fd < 0) {
        code = vmbi_fail_errno(err, errno,
                               "open %s (does pod %s run on this node, and is hostPods right?)",
                               out->data, v->pod);
    } else {
        code = find_plugin(fd, name, out->data, v->block, &plugin, err);
    }
    if (pods >= 0) {
        (void)close(pods);
    }
    if (pod >= 0) {
        (void)close(pod);
    }
    if (code == VMB_OK) {
        vmbi_buf_addf(out, "/%s/%s%s", plugin.data, name, is_csi ? "/mount" : "");
        code = vmbi_buf_check(out, err, "path");
    }
    if (code == VMB_OK) {
        code = v->block ? check_disk(out->data, err) : check_folder(out->data, err);
    }
    vmbi_buf_free(&plugin);
    return code;
}
