/* SPDX-License-Identifier: Apache-2.0 */
/* What several calls on repositories have in common. */
#include "api/repo_handle.h"
#include "base/clock.h"
#include "base/error.h"

vmbi_snapshot_filter vmbi_repoapi_filter_of(const vmbi_repoapi_filter *f)
{
    return (vmbi_snapshot_filter){
        .ids = f->snapshots.v,
        .n_ids = f->snapshots.n,
        .hosts = f->hosts.v,
        .n_hosts = f->hosts.n,
        .tags = f->tags.v,
        .n_tags = f->tags.n,
        .paths = f->paths.v,
        .n_paths = f->paths.n,
    };
}

vmb_code vmbi_repoapi_find(vmb_repo *repo, const char *snapshot, const vmbi_repoapi_filter *f,
                           vmbi_snapshot *out, vmb_error **err)
{
    const vmbi_snapshot_filter filter = vmbi_repoapi_filter_of(f);

    return vmbi_snapshot_find(repo->repo, snapshot, &filter, out, err);
}

const char *vmbi_repoapi_host(vmb_repo *repo, const char *given)
{
    return given != NULL ? given : repo->hostname;
}

void vmbi_repoapi_tally_begin(vmbi_repoapi_tally *t, vmb_repo *repo)
{
    t->repo = repo;
    t->start_ns = vmbi_mono_ns();
    vmbi_repo_get_stats(repo->repo, &t->before);
}

vmbi_json *vmbi_repoapi_summary(const vmbi_repoapi_tally *t)
{
    const vmbi_repo_stats *b = &t->before;
    vmbi_repo_stats now;
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    vmbi_repo_get_stats(t->repo->repo, &now);
    ok = ok && vmbi_json_set_str(v, "message_type", "summary");
    ok = ok && vmbi_json_set_int(v, "blobs_added", (int64_t)(now.blobs_new - b->blobs_new));
    ok = ok && vmbi_json_set_int(v, "data_added", (int64_t)(now.bytes_new - b->bytes_new));
    ok = ok &&
         vmbi_json_set_int(v, "data_added_packed", (int64_t)(now.bytes_stored - b->bytes_stored));
    ok = ok && vmbi_json_set_int(v, "packs_added", (int64_t)(now.packs_written - b->packs_written));
    ok = ok && vmbi_json_set(v, "total_duration",
                             vmbi_json_from_double((double)(vmbi_mono_ns() - t->start_ns) / 1e9));
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}
