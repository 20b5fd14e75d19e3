/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts of ciphers and compressors, kept for the next blob. */
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/restic/restic.h"

/* Blobs differ in size. Small rooms lie on the heap; a large one is mapped with more addresses than
 * are wanted now, of which only those that are used cost memory: it need not grow. */
enum { ROOM_HEAP = 256 << 10, ROOM_STEP = 16 << 10, ROOM_MAPPED = 9 << 20, ROOM_MAPPED_STEP = 8 << 20 };

/* Level 3 is what zstd itself and restic take for the usual trade; 19 of 512 KiB is restic's
 * window, which bounds what a reader must hold. */
enum { LEVEL_AUTO = 3, LEVEL_MAX = 12, WINDOW_LOG = 19, TABLE_LOG = 15, WINDOW_LOG_MAX = 23 };

static void room_free(vmbi_room *room)
{
    if (room->p != NULL && room->cap > (size_t)ROOM_HEAP) {
        (void)munmap(room->p, room->cap);
    } else {
        vmbi_free(room->p);
    }
    *room = (vmbi_room){NULL, 0};
}

static void lane_free(vmbi_lane *lane)
{
    if (lane != NULL) {
        vmbi_restic_box_free(lane->box);
        vmbi_zstd_enc_free(lane->enc);
        vmbi_zstd_dec_free(lane->dec);
        room_free(&lane->scratch);
        room_free(&lane->plain[0]);
        room_free(&lane->plain[1]);
        vmbi_free(lane);
    }
}

vmb_code vmbi_lane_get(vmbi_restic *r, vmbi_lane **out, vmb_error **err)
{
    vmbi_lane *lane = NULL;
    vmb_code code = VMB_OK;

    (void)pthread_mutex_lock(&r->lanes_mutex);
    lane = r->lanes;
    if (lane != NULL) {
        r->lanes = lane->next;
    }
    (void)pthread_mutex_unlock(&r->lanes_mutex);
    if (lane == NULL) {
        lane = vmbi_zalloc(sizeof(*lane));
        if (lane == NULL) {
            return vmbi_fail_nomem(err);
        }
        code = vmbi_restic_box_new(&r->keys, &lane->box, err);
        if (code != VMB_OK) {
            lane_free(lane);
            return code;
        }
    }
    *out = lane;
    return VMB_OK;
}

void vmbi_lane_put(vmbi_restic *r, vmbi_lane *lane)
{
    if (lane != NULL) {
        (void)pthread_mutex_lock(&r->lanes_mutex);
        lane->next = r->lanes;
        r->lanes = lane;
        (void)pthread_mutex_unlock(&r->lanes_mutex);
    }
}

void vmbi_lanes_free(vmbi_restic *r)
{
    while (r->lanes != NULL) {
        vmbi_lane *next = r->lanes->next;

        lane_free(r->lanes);
        r->lanes = next;
    }
}

vmb_code vmbi_room_reserve(vmbi_room *room, size_t size, vmb_error **err)
{
    const bool mapped = size > (size_t)ROOM_HEAP;
    const size_t step = mapped ? (size_t)ROOM_MAPPED_STEP : (size_t)ROOM_STEP;
    size_t cap = (size + step - 1) / step * step;
    uint8_t *p = NULL;

    if (size <= room->cap && room->p != NULL) {
        return VMB_OK;
    }
    room_free(room); /* what was in it is of no use: no realloc, which would copy */
    if (mapped) {
        cap = cap > (size_t)ROOM_MAPPED ? cap : (size_t)ROOM_MAPPED;
        p = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                 0);
        p = p != MAP_FAILED ? p : NULL;
    } else {
        cap = cap > 0 ? cap : step;
        p = vmbi_alloc(cap);
    }
    if (p == NULL) {
        return vmbi_fail_nomem(err);
    }
    *room = (vmbi_room){p, cap};
    return VMB_OK;
}

/* Tables that stay in a core's own cache take a fifth less time for one part in a hundred more
 * bytes, which still is not more than restic's. */
vmb_code vmbi_lane_encoder(vmbi_restic *r, vmbi_lane *lane, vmb_error **err)
{
    const bool max = r->compression == VMBI_REPO_MAX;
    vmb_code code = VMB_OK;

    if (lane->enc != NULL) {
        return VMB_OK;
    }
    code = vmbi_zstd_enc_new(max ? LEVEL_MAX : LEVEL_AUTO, max ? WINDOW_LOG_MAX : WINDOW_LOG,
                             &lane->enc, err);
    if (code == VMB_OK && !max) {
        code = vmbi_zstd_enc_tables(lane->enc, TABLE_LOG, TABLE_LOG, err);
    }
    return code;
}

vmb_code vmbi_lane_decoder(vmbi_lane *lane, vmb_error **err)
{
    return lane->dec != NULL ? VMB_OK : vmbi_zstd_dec_new(&lane->dec, err);
}
