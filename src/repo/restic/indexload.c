/* SPDX-License-Identifier: Apache-2.0 */
/* Reading all index files into memory, by a few threads: one waits for the store or decrypts while
 * another decodes. */
#include <string.h>

#include "base/error.h"
#include "codec/digest.h"
#include "repo/restic/indexfile.h"
#include "repo/restic/restic.h"

enum { THREADS = 2 }; /* each holds a whole file and its text: some 12 MiB */

typedef struct loading {
    vmbi_restic *r;
    const vmbi_id_list *files;
    pthread_mutex_t mutex; /* of next, code, err and, beside r->mutex, of nothing else */
    size_t next;
    vmb_code code;
    vmb_error *err;
} loading;

static vmb_code add_pack(void *user, const vmbi_repo_id *pack, vmbi_pack_blob *v, size_t n,
                         vmb_error **err)
{
    vmbi_restic *r = user;
    vmbi_index_added how = VMBI_INDEX_NEW;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->mutex);
    code = vmbi_restic_index_add(r->index, pack, v, n, &how, err);
    (void)pthread_mutex_unlock(&r->mutex);
    if (code == VMB_OK && how == VMBI_INDEX_DIFFERS) {
        char hex[VMBI_REPO_HEX_SIZE];

        vmbi_repo_id_hex(pack, hex);
        vmbi_restic_log(r, VMB_LOG_WARNING, "pack %s: two index files describe it differently", hex);
    }
    return code;
}

static vmb_code load_one(vmbi_restic *r, const vmbi_repo_id *id, vmbi_buf *text, vmb_error **err)
{
    char path[VMBI_RESTIC_PATH];
    vmb_code code = VMB_OK;

    vmbi_buf_reset(text);
    code = vmbi_restic_load_file(r, "index/", id, text, err);
    if (code == VMB_OK && text->len > 0) {
        code = vmbi_indexfile_parse(text->data, text->len, add_pack, NULL, r, err);
        if (code != VMB_OK) {
            vmbi_restic_path(path, "index/", id);
            code = vmbi_wrap(err, code, "%s", path);
        }
    }
    return code;
}

static void *load_thread(void *arg)
{
    loading *l = arg;
    vmbi_buf text = VMBI_BUF_INIT(VMBI_RESTIC_META_MAX);

    for (;;) {
        vmb_error *why = NULL;
        size_t i = 0;
        vmb_code code = VMB_OK;

        (void)pthread_mutex_lock(&l->mutex);
        i = l->next++;
        code = l->code;
        (void)pthread_mutex_unlock(&l->mutex);
        if (code != VMB_OK || i >= l->files->n) {
            break;
        }
        code = load_one(l->r, &l->files->v[i], &text, &why);
        if (code != VMB_OK) {
            (void)pthread_mutex_lock(&l->mutex);
            if (l->code == VMB_OK) {
                l->code = code;
                vmbi_error_move(&l->err, &why);
            }
            (void)pthread_mutex_unlock(&l->mutex);
            vmb_error_free(why);
        }
    }
    vmbi_buf_free(&text);
    return NULL;
}

static void digest_of(const vmbi_id_list *files, uint8_t out[32])
{
    vmbi_sha256(files->v != NULL ? (const void *)files->v : "", files->n * sizeof(*files->v), out);
}

vmb_code vmbi_restic_load_index(vmbi_repo *base, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_id_list files = {NULL, NULL, 0, 0};
    loading l = {.r = r, .files = &files};
    pthread_t threads[THREADS];
    size_t started = 0, i = 0;
    const bool empty = vmbi_restic_index_packs(r->index) == 0;
    vmb_code code = vmbi_restic_list(r, "index/", &files, err);

    if (code == VMB_OK && pthread_mutex_init(&l.mutex, NULL) != 0) {
        code = vmbi_fail_nomem(err);
    }
    if (code == VMB_OK) {
        while (started < THREADS - 1 && started + 1 < files.n &&
               pthread_create(&threads[started], NULL, load_thread, &l) == 0) {
            started++;
        }
        (void)load_thread(&l); /* this thread helps, and does it all when no other could start */
        for (i = 0; i < started; i++) {
            (void)pthread_join(threads[i], NULL);
        }
        (void)pthread_mutex_destroy(&l.mutex);
        code = l.code;
        vmbi_error_move(err, &l.err);
    }
    if (code == VMB_OK) {
        (void)pthread_mutex_lock(&r->mutex);
        r->index_loaded = true;
        r->index_exact = empty;
        r->index_saved = r->stats.blobs_new;
        digest_of(&files, r->index_files);
        (void)pthread_mutex_unlock(&r->mutex);
    }
    vmbi_id_list_free(&files);
    return code;
}

/* Files are named by their content: the same names are the same index, unless something was saved
 * that they do not name yet. */
static bool is_current(vmbi_restic *r, const vmbi_id_list *files)
{
    uint8_t now[32];
    bool current = false;

    digest_of(files, now);
    (void)pthread_mutex_lock(&r->mutex);
    current = r->index_loaded && r->index_exact && r->index_saved == r->stats.blobs_new &&
              r->pending.n == 0 && r->packer.failure_code == VMB_OK &&
              memcmp(now, r->index_files, sizeof(now)) == 0;
    (void)pthread_mutex_unlock(&r->mutex);
    return current;
}

vmb_code vmbi_restic_renew_index(vmbi_repo *base, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_id_list files = {NULL, NULL, 0, 0};
    bool current = false;
    vmb_code code = vmbi_restic_list(r, "index/", &files, err);

    if (code == VMB_OK) {
        current = is_current(r, &files);
    }
    vmbi_id_list_free(&files);
    if (code == VMB_OK && !current) {
        code = base->format->reset(base, err);
        if (code == VMB_OK) {
            code = vmbi_restic_load_index(base, err);
        }
    }
    return code;
}
