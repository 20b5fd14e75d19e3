/* SPDX-License-Identifier: Apache-2.0 */
/* The digest that names a pack is computed while the pack fills: beside the digest of a new blob,
 * which costs little more than the blob's alone. The packer's threads do what is left over. */
#include "codec/digest.h"
#include "repo/restic/restic.h"

enum {
    PIECE = 256 << 10, /* between two looks for work */
    WORTH = 8 << 10    /* less is not worth two turns of the lock */
};

/* Bytes at the start of the pack that nobody writes any more. mutex held. */
static size_t sealed_prefix(const vmbi_open_pack *p)
{
    const vmbi_pack_writer *w = NULL;
    size_t end = p->fill;

    for (w = p->sealing; w != NULL; w = w->next) {
        end = w->offset < end ? w->offset : end;
    }
    return end;
}

/* A pack that has bytes to hash, and no other thread doing so; it stays open meanwhile. */
static vmbi_open_pack *claim(vmbi_restic *r, size_t max, size_t *n)
{
    vmbi_packer *k = &r->packer;
    vmbi_open_pack *found = NULL;
    size_t i = 0;

    (void)pthread_mutex_lock(&r->mutex);
    for (i = 0; i <= VMBI_ARRAY_LEN(k->open) && found == NULL; i++) {
        vmbi_open_pack *p = i == 0 ? k->closing : k->open[i - 1];
        const size_t ready = p != NULL && !p->hashing ? sealed_prefix(p) - p->hashed : 0;

        if (ready >= WORTH) {
            found = p;
            found->hashing = true;
            found->writers++;
            *n = ready < max ? ready : max;
        }
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return found;
}

static void give_back(vmbi_restic *r, vmbi_open_pack *p, size_t n)
{
    (void)pthread_mutex_lock(&r->mutex);
    p->hashed += n;
    p->hashing = false;
    vmbi_packer_leave(r, p);
    if (p == r->packer.closing && p->fill - p->hashed < WORTH) {
        vmbi_packer_let_go(r);
    }
    (void)pthread_mutex_unlock(&r->mutex);
}

void vmbi_restic_hash_blob(vmbi_restic *r, const void *data, size_t len, vmbi_repo_id *out)
{
    const uint8_t *at = data;
    vmbi_sha256_state s;

    if (len < 2 * WORTH) {
        vmbi_sha256(data, len, out->b);
        return;
    }
    vmbi_sha256_begin(&s);
    while (len > 0) {
        const size_t n = len < PIECE ? len : PIECE;
        size_t m = 0;
        vmbi_open_pack *p = claim(r, n, &m);

        if (p != NULL) {
            vmbi_sha256_add_pair(&s, at, n, &p->hash, p->data + p->hashed, m);
            give_back(r, p, m);
        } else {
            vmbi_sha256_add(&s, at, n);
        }
        at += n;
        len -= n;
    }
    vmbi_sha256_end(&s, out->b);
}

void vmbi_restic_hash_pack(vmbi_open_pack *p, vmbi_repo_id *out)
{
    vmbi_sha256_add(&p->hash, p->data + p->hashed, p->fill - p->hashed);
    p->hashed = p->fill;
    vmbi_sha256_end(&p->hash, out->b);
}
