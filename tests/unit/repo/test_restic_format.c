/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders and encoders of the restic format against vectors that restic itself accepts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/digest.h"
#include "repo/restic/config.h"
#include "repo/restic/crypto.h"
#include "repo/restic/index.h"
#include "repo/restic/indexfile.h"
#include "repo/restic/keyfile.h"
#include "repo/restic/pack.h"

/* A key file that restic 0.14 made. */
static const char real_key[] =
    "{\"created\":\"2026-11-24T01:02:40.241163035Z\",\"username\":\"root\",\"hostname\":\"vm\","
    "\"kdf\":\"scrypt\",\"N\":32768,\"r\":8,\"p\":9,\"salt\":\"VwjmbzidulqodWeNlAtdNPFm1gg8cT35r7aMby"
    "rPjSiRo6BiT2sPjTLiAPkx43USoftptZIem0FUsLgSo31Gsg==\",\"data\":\"pbfRUVC+xd4tcIZRtBnqoBhSxwhjCjt"
    "Bv3sU4roEKSAFNQBXFyxu5l7cLFisG7q4UEcB207VIXJhotFJT8s8XrlwcUwlCETeHHPVF42vMVQyrVprT5RU+GhC5qSBJ4"
    "MKltutAk8hFPPXhRi8d4ZODM2C2dRkbDTWUzwF/bK9p1qW3lyG6AFJMsE9XVoyoU9gHx3syiCECyZJPjTTmiiU0A==\"}";
/* One with a MAC key that is not clamped, as restic has made since 0.17. */
static const char raw_r_key[] =
    "{\"created\":\"2024-01-01T00:00:00Z\",\"username\":\"u\",\"hostname\":\"h\",\"kdf\":\"scrypt\","
    "\"N\":1024,\"r\":8,\"p\":1,\"salt\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKiss"
    "LS4vMDEyMzQ1Njc4OTo7PD0+Pw==\",\"data\":\"AQEBAQEBAQEBAQEBAQEBAUAKFfphalQ5x2k7eCJ2qpc5n426ew6P6YF"
    "t5SkMC/v7N5D1oyImM8g4vo69WavnZJ1aLBy+Quk9sPiJr4vqnpNQM3LVye9OJn0sJEA7WQXaQwDf0hNbw2kMo5I+ydKYXhC"
    "incRQNK5tKi2jSoPrXrJfENFJlTU6TgGdeBkgTSAn83r1XwLSOcPAGLr4EcY21w==\"}";

static void unhex(const char *hex, uint8_t *out)
{
    assert_true(vmbi_unhex(hex, strlen(hex), out));
}

static void assert_hex(const uint8_t *d, size_t len, const char *want)
{
    char text[1025];

    vmbi_hex(d, len, text);
    assert_string_equal(text, want);
}

static vmbi_restic_keys vector_keys(void)
{
    vmbi_restic_keys k;
    size_t i = 0;

    for (i = 0; i < 32; i++) {
        k.encrypt[i] = (uint8_t)i;
    }
    for (i = 0; i < 16; i++) {
        k.mac_k[i] = (uint8_t)(0x20 + i);
        k.mac_r[i] = (uint8_t)(0xf0 + i);
    }
    return k;
}

static vmbi_restic_box *vector_box(void)
{
    const vmbi_restic_keys k = vector_keys();
    vmbi_restic_box *b = NULL;

    assert_int_equal(vmbi_restic_box_new(&k, &b, NULL), VMB_OK);
    return b;
}

static void seal_known_messages_match(void **state)
{
    vmbi_restic_box *b = vector_box();
    uint8_t nonce[16], plain[33], out[256];
    size_t i = 0;

    (void)state;
    for (i = 0; i < sizeof(plain); i++) {
        plain[i] = (uint8_t)i;
    }
    memset(nonce, 3, 16);
    assert_int_equal(vmbi_restic_seal_nonce(b, nonce, "", 0, out, NULL), VMB_OK);
    assert_hex(out, 32, "03030303030303030303030303030303cbaab1d3cbd1ed5ac78ab2b35458ebc5");
    memset(nonce, 0xff, 16); /* the counter wraps */
    assert_int_equal(vmbi_restic_seal_nonce(b, nonce, plain, 33, out, NULL), VMB_OK);
    assert_hex(out, 65, "ffffffffffffffffffffffffffffffffe998e61e48a276dd5b8e1b70518259e1e28112a53e5c89c7"
                        "b1ea8071c133699fd0184598c467ff33b421c57d12752bd156");
    vmbi_restic_box_free(b);
}

static void open_sealed_gives_the_plaintext_back(void **state)
{
    enum { LEN = 100001 };
    vmbi_restic_box *b = vector_box();
    uint8_t *plain = malloc(LEN), *sealed = malloc(LEN + 32);
    size_t i = 0;

    (void)state;
    for (i = 0; i < LEN; i++) {
        plain[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(vmbi_restic_seal(b, plain, LEN, sealed, NULL), VMB_OK);
    assert_memory_not_equal(sealed + 16, plain, LEN);
    assert_int_equal(vmbi_restic_open(b, sealed, LEN + 32, sealed + 16, NULL), VMB_OK); /* in place */
    assert_memory_equal(sealed + 16, plain, LEN);
    memcpy(sealed + 16, plain, LEN);
    assert_int_equal(vmbi_restic_seal(b, sealed + 16, LEN, sealed, NULL), VMB_OK); /* in place */
    memset(plain, 0, LEN);
    assert_int_equal(vmbi_restic_open(b, sealed, LEN + 32, plain, NULL), VMB_OK);
    assert_int_equal(plain[1000], (uint8_t)7000);
    vmbi_restic_box_free(b);
    free(plain);
    free(sealed);
}

static void open_any_flipped_bit_is_denied(void **state)
{
    vmbi_restic_box *b = vector_box();
    uint8_t sealed[64], out[32];
    size_t bit = 0;

    (void)state;
    assert_int_equal(vmbi_restic_seal(b, "0123456789abcdef0123456789abcde", 32, sealed, NULL), VMB_OK);
    for (bit = 0; bit < sizeof(sealed) * 8; bit++) {
        sealed[bit / 8] = (uint8_t)(sealed[bit / 8] ^ 1u << (bit % 8));
        assert_int_equal(vmbi_restic_open(b, sealed, 64, out, NULL), VMB_E_DENIED);
        sealed[bit / 8] = (uint8_t)(sealed[bit / 8] ^ 1u << (bit % 8));
    }
    assert_int_equal(vmbi_restic_open(b, sealed, 64, out, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_open(b, sealed, 63, out, NULL), VMB_E_DENIED);
    assert_int_equal(vmbi_restic_open(b, sealed, 31, out, NULL), VMB_E_INVALID);
    vmbi_restic_box_free(b);
}

static void open_zero_nonce_is_refused(void **state)
{
    vmbi_restic_box *b = vector_box();
    uint8_t nonce[16] = {0}, sealed[48], out[16];

    (void)state;
    assert_int_equal(vmbi_restic_seal_nonce(b, nonce, "0123456789abcdef", 16, sealed, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_open(b, sealed, 48, out, NULL), VMB_E_INVALID);
    vmbi_restic_box_free(b);
}

static void keys_all_zero_are_refused(void **state)
{
    vmbi_restic_keys k = vector_keys();
    vmbi_restic_box *b = NULL;

    (void)state;
    memset(k.mac_r, 0, 16);
    assert_int_equal(vmbi_restic_box_new(&k, &b, NULL), VMB_E_INVALID);
    assert_null(b);
}

static void key_of_restic_opens(void **state)
{
    vmbi_restic_keyfile k;
    vmbi_restic_keys master;
    char text[64];

    (void)state;
    assert_int_equal(vmbi_restic_keyfile_parse(real_key, strlen(real_key), &k, NULL), VMB_OK);
    assert_string_equal(k.hostname, "vm");
    assert_int_equal(vmbi_restic_keyfile_unlock(&k, "correct horse battery staple", 28, &master,
                                                NULL), VMB_OK);
    vmbi_base64(master.encrypt, 32, text);
    assert_string_equal(text, "pd0wPzY1lYxrc6+ZV780x/T3DwJGZM119PtUudbBIDc=");
    vmbi_base64(master.mac_r, 16, text);
    assert_string_equal(text, "Svi5Cfi5qwZksUEDbKI4CA==");
}

static void key_with_raw_r_opens_and_prints_the_same(void **state)
{
    const vmbi_restic_keys want = vector_keys();
    vmbi_restic_keyfile k;
    vmbi_restic_keys master;
    vmbi_buf out = VMBI_BUF_INIT(4096);

    (void)state;
    assert_int_equal(vmbi_restic_keyfile_parse(raw_r_key, strlen(raw_r_key), &k, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_keyfile_unlock(&k, "test-password", 13, &master, NULL), VMB_OK);
    assert_memory_equal(&master, &want, sizeof(master));
    assert_int_equal(vmbi_restic_keyfile_print(&k, &out, NULL), VMB_OK);
    assert_string_equal(out.data, raw_r_key);
    vmbi_buf_free(&out);
}

static void key_wrong_password_is_denied(void **state)
{
    vmbi_restic_keyfile k;
    vmbi_restic_keys master;
    vmb_error *err = NULL;

    (void)state;
    assert_int_equal(vmbi_restic_keyfile_parse(raw_r_key, strlen(raw_r_key), &k, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_keyfile_unlock(&k, "test-password\n", 14, &master, &err),
                     VMB_E_DENIED);
    assert_null(strstr(vmb_error_message(err), "test-password"));
    vmb_error_free(err);
}

static void key_sealed_here_opens(void **state)
{
    const vmbi_restic_keys want = vector_keys();
    vmbi_restic_keyfile k, again;
    vmbi_restic_keys master;
    vmbi_buf out = VMBI_BUF_INIT(4096);

    (void)state;
    memset(&k, 0, sizeof(k));
    k.n = 16;
    k.r = 8;
    k.p = 1;
    assert_int_equal(vmbi_restic_keyfile_seal(&k, "", 0, &want, NULL), VMB_OK);
    assert_int_equal(k.data_len, 160);
    assert_int_equal(vmbi_restic_keyfile_print(&k, &out, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_keyfile_parse(out.data, out.len, &again, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_keyfile_unlock(&again, "", 0, &master, NULL), VMB_OK);
    assert_memory_equal(&master, &want, sizeof(master));
    vmbi_buf_free(&out);
}

/* Replaces the first `from` of the key file. */
static vmb_code parse_changed(const char *from, const char *to)
{
    const char *at = strstr(raw_r_key, from);
    char text[1024];
    vmbi_restic_keyfile k;

    assert_non_null(at);
    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - raw_r_key), raw_r_key, to,
                   at + strlen(from));
    return vmbi_restic_keyfile_parse(text, strlen(text), &k, NULL);
}

static void key_bad_fields_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_changed("\"u\"", "\"v\""), VMB_OK);
    assert_int_equal(parse_changed("scrypt", "argon2"), VMB_E_UNSUPPORTED);
    assert_int_equal(parse_changed("1024", "1000"), VMB_E_INVALID);
    assert_int_equal(parse_changed("1024", "1"), VMB_E_INVALID);
    assert_int_equal(parse_changed("1024", "-1024"), VMB_E_INVALID);
    assert_int_equal(parse_changed("1024", "4611686018427387904"), VMB_E_INVALID);
    assert_int_equal(parse_changed("\"p\":1", "\"p\":1000000"), VMB_E_LIMIT);
    assert_int_equal(parse_changed("\"r\":8", "\"r\":0"), VMB_E_INVALID);
    assert_int_equal(parse_changed("AAEC", ""), VMB_E_INVALID);
    assert_int_equal(parse_changed("\"data\"", "\"date\""), VMB_E_INVALID);
    assert_int_equal(parse_changed("{", "["), VMB_E_PARSE);
}

/* ---- config ---- */

static void config_known_file_opens(void **state)
{
    vmbi_restic_box *b = vector_box();
    uint8_t file[155], plain[155];
    vmbi_restic_config c;
    vmbi_buf out = VMBI_BUF_INIT(1000);

    (void)state;
    unhex("020202020202020202020202020202021c34721534519ae734d5f32f4dfe8e7582d740a2e2044863707e9cf1155fb7"
          "cb3eeb8c98ca69ac42097f893c13086c088dbddef3ba056d1a6dcc3d49f1bc1d5d450302aaf85f33d0c19facc5078a"
          "7602ae3a21e779f9eaa2cc835c2b2475848f0344307b53c2c7722e02f872b2cb596c0ff09111668c6add2ab15eb174"
          "51308b29d3e1662670f4089a5e65", file);
    assert_int_equal(vmbi_restic_open(b, file, 155, plain, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_config_parse((char *)plain, 123, &c, NULL), VMB_OK);
    assert_int_equal(c.version, 2);
    assert_true(c.polynomial == UINT64_C(0x3da3358b4dc173));
    vmbi_restic_config_print(&c, &out);
    assert_int_equal(out.len, 123);
    assert_memory_equal(out.data, plain, 123);
    vmbi_buf_free(&out);
    vmbi_restic_box_free(b);
}

static vmb_code parse_config(const char *version, const char *id, const char *polynomial)
{
    char text[256];
    vmbi_restic_config c;

    (void)snprintf(text, sizeof(text), "{\"version\":%s,\"id\":\"%s\",\"chunker_polynomial\":\"%s\","
                   "\"append_only\":true}", version, id, polynomial);
    return vmbi_restic_config_parse(text, strlen(text), &c, NULL);
}

static void config_bad_fields_are_refused(void **state)
{
    static const char id[] = "0000000000000000000000000000000000000000000000000000000000000001";

    (void)state;
    assert_int_equal(parse_config("1", id, "31242a6d9f1f67"), VMB_OK);
    assert_int_equal(parse_config("3", id, "31242a6d9f1f67"), VMB_E_UNSUPPORTED);
    assert_int_equal(parse_config("0", id, "31242a6d9f1f67"), VMB_E_UNSUPPORTED);
    assert_int_equal(parse_config("2", id, "31242a6d9f1f65"), VMB_E_INVALID);
    assert_int_equal(parse_config("2", id, ""), VMB_E_INVALID);
    assert_int_equal(parse_config("2", id, "xyz"), VMB_E_INVALID);
    assert_int_equal(parse_config("2", id, "b"), VMB_E_INVALID);
    assert_int_equal(parse_config("2", id, "11242a6d9f1f67242a6d"), VMB_E_INVALID);
    assert_int_equal(parse_config("2", "ab", "31242a6d9f1f67"), VMB_E_INVALID);
}

static void polynomials_known_ones_are_judged(void **state)
{
    static const uint64_t good[] = {0x31242a6d9f1f67, 0x3da3358b4dc173, 0x25b468838dcb75, 0x11b, 0xb};
    static const uint64_t bad[] = {0x31242a6d9f1f65, 0x209ff7a6b4f31d, 0x11a, 0x5, 0, 1, 2};
    size_t i = 0;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(vmbi_gf2_irreducible(good[i]));
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(vmbi_gf2_irreducible(bad[i]));
    }
    for (i = 0; i < 5; i++) {
        const uint64_t f = vmbi_gf2_random();

        assert_int_equal(vmbi_gf2_degree(f), 53);
        assert_true(vmbi_gf2_irreducible(f));
    }
}

/* ---- packs ---- */

static const char header_hex[] =
    "002d000000fbbd69198637d5360353c39796181175de6311c2a61abe2fe6392c938018660f02480000001f000000b3effa6a5c"
    "9aa16496d1d64dbe186f804cbd057ac7d9f8ea486dd153e844a768";

static void pack_header_known_one_is_read_and_written(void **state)
{
    uint8_t raw[78], again[78];
    vmbi_pack_blobs l = {NULL, 0, 0};

    (void)state;
    unhex(header_hex, raw);
    assert_int_equal(vmbi_pack_header_parse(raw, 78, 117, true, &l, NULL), VMB_OK);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.v[0].length, 45);
    assert_int_equal(l.v[0].size, 0);
    assert_int_equal(l.v[1].offset, 45);
    assert_int_equal(l.v[1].length, 72);
    assert_int_equal(l.v[1].size, 31);
    assert_int_equal(l.v[1].type, VMBI_BLOB_DATA);
    assert_int_equal(vmbi_pack_header_size(l.v, 2), 78);
    assert_int_equal(vmbi_pack_file_size(l.v, 2), 231);
    vmbi_pack_header_write(l.v, 2, again);
    assert_memory_equal(raw, again, 78);
    vmbi_pack_blobs_free(&l);
}

static vmb_code parse_header(const uint8_t *p, size_t len, uint64_t bytes, bool compressed)
{
    vmbi_pack_blobs l = {NULL, 0, 0};
    vmb_code code = vmbi_pack_header_parse(p, len, bytes, compressed, &l, NULL);

    vmbi_pack_blobs_free(&l);
    return code;
}

static void pack_header_bad_ones_are_refused(void **state)
{
    uint8_t raw[78];
    size_t cut = 0;

    (void)state;
    unhex(header_hex, raw);
    for (cut = 1; cut < 78; cut++) {
        assert_int_equal(parse_header(raw, cut, 117, true), VMB_E_INVALID);
    }
    assert_int_equal(parse_header(raw, 78, 116, true), VMB_E_INVALID);
    assert_int_equal(parse_header(raw, 78, 118, true), VMB_E_INVALID);
    assert_int_equal(parse_header(raw, 78, 117, false), VMB_E_INVALID); /* compressed in version 1 */
    raw[0] = 4;
    assert_int_equal(parse_header(raw, 78, 117, true), VMB_E_INVALID);
    raw[0] = 0;
    raw[1] = 31; /* shorter than its seal */
    assert_int_equal(parse_header(raw, 78, 103, true), VMB_E_INVALID);
    memset(raw + 1, 0xff, 4);
    assert_int_equal(parse_header(raw, 78, 117, true), VMB_E_INVALID);
}

/* ---- index ---- */

static vmbi_repo_id id_of(uint64_t n)
{
    vmbi_repo_id id;

    vmbi_sha256(&n, sizeof(n), id.b);
    return id;
}

static vmbi_index_added add(vmbi_restic_index *x, uint64_t pack, vmbi_pack_blob *v, size_t n)
{
    const vmbi_repo_id id = id_of(pack);
    vmbi_index_added how = VMBI_INDEX_NEW;

    assert_int_equal(vmbi_restic_index_add(x, &id, v, n, &how, NULL), VMB_OK);
    return how;
}

static void index_many_blobs_are_found_in_bounded_memory(void **state)
{
    enum { PACKS = 84000, PER_PACK = 12 }; /* a million blobs */
    vmbi_restic_index *x = NULL;
    vmbi_pack_blob v[PER_PACK];
    uint64_t n = 0;
    uint32_t i = 0, k = 0;

    (void)state;
    assert_int_equal(vmbi_restic_index_new(&x, NULL), VMB_OK);
    for (i = 0; i < PACKS; i++) {
        uint32_t at = 0;

        for (k = 0; k < PER_PACK; k++) {
            v[k] = (vmbi_pack_blob){id_of(n), at, 32 + (uint32_t)(n % 3000000), (uint32_t)(n % 7), n % 2};
            at += v[k].length;
            n++;
        }
        add(x, UINT64_MAX - i, v, PER_PACK);
        if (i % 1000 == 999) { /* at every stage of growth */
            /* 48 bytes a blob, and a started piece of 16384 records */
            assert_true(vmbi_restic_index_bytes(x) <=
                        48 * vmbi_restic_index_blobs(x) + (16384 * 38) + 8192);
        }
    }
    assert_int_equal(vmbi_restic_index_blobs(x), n);
    for (n = 0; n < (uint64_t)PACKS * PER_PACK; n += 101) {
        const vmbi_repo_id id = id_of(n);
        const vmbi_repo_id pack_id = id_of(UINT64_MAX - n / PER_PACK);
        uint64_t cursor = 0, before = 0, m = 0;
        uint32_t pack = 0;
        vmbi_pack_blob b;

        for (m = n - n % PER_PACK; m < n; m++) {
            before += 32 + m % 3000000;
        }
        assert_true(vmbi_restic_index_find(x, n % 2, &id, &cursor, &pack, &b));
        assert_memory_equal(vmbi_restic_index_pack_id(x, pack), &pack_id, 32);
        assert_int_equal(b.offset, before);
        assert_int_equal(b.length, 32 + n % 3000000);
        assert_int_equal(b.size, n % 7);
        assert_false(vmbi_restic_index_find(x, n % 2, &id, &cursor, &pack, &b));
        assert_false(vmbi_restic_index_has(x, !(n % 2), &id));
    }
    vmbi_restic_index_free(x);
}

/* Offsets are sums of lengths from the last known one on, across pieces of the index, too. */
static void index_packs_of_thousands_keep_their_places(void **state)
{
    enum { PACKS = 40, PER_PACK = 1237 };
    vmbi_restic_index *x = NULL;
    vmbi_pack_blob *v = calloc(PER_PACK, sizeof(*v));
    uint32_t i = 0, k = 0;

    (void)state;
    assert_int_equal(vmbi_restic_index_new(&x, NULL), VMB_OK);
    for (i = 0; i < PACKS; i++) {
        uint32_t at = 0;

        for (k = 0; k < PER_PACK; k++) {
            at += k % 17 == 3 ? i + 1 : 0; /* a gap */
            v[k] = (vmbi_pack_blob){id_of(i * PER_PACK + k), at, 32 + k % 1000, 0, VMBI_BLOB_DATA};
            at += v[k].length;
        }
        add(x, UINT64_MAX - i, v, PER_PACK);
    }
    for (i = 0; i < PACKS; i++) {
        uint32_t at = 0;

        for (k = 0; k < PER_PACK; k++) {
            const vmbi_repo_id id = id_of(i * PER_PACK + k);
            uint64_t cursor = 0;
            uint32_t pack = 0;
            vmbi_pack_blob b;

            at += k % 17 == 3 ? i + 1 : 0;
            assert_true(vmbi_restic_index_find(x, VMBI_BLOB_DATA, &id, &cursor, &pack, &b));
            assert_int_equal(pack, i);
            assert_int_equal(b.offset, at);
            at += b.length;
        }
    }
    vmbi_restic_index_free(x);
    free(v);
}

static void index_large_blobs_and_gaps_keep_their_places(void **state)
{
    vmbi_restic_index *x = NULL;
    vmbi_pack_blobs l = {NULL, 0, 0};
    vmbi_pack_blob v[4] = {
        {id_of(3), 200000100, 40, 0, VMBI_BLOB_DATA}, /* not in order, behind a gap */
        {id_of(1), 0, 9000000, 8388608, VMBI_BLOB_DATA},
        {id_of(2), 9000000, 8388607, 100000000, VMBI_BLOB_DATA},
        {id_of(4), 4000000000, 294967295, UINT32_MAX, VMBI_BLOB_DATA},
    };
    uint64_t cursor = 0;
    uint32_t pack = 0;
    vmbi_pack_blob b;
    vmbi_repo_id id = id_of(4);

    (void)state;
    assert_int_equal(vmbi_restic_index_new(&x, NULL), VMB_OK);
    add(x, 100, v, 4);
    assert_true(vmbi_restic_index_find(x, VMBI_BLOB_DATA, &id, &cursor, &pack, &b));
    assert_true(b.offset == 4000000000 && b.length == 294967295 && b.size == UINT32_MAX);
    assert_int_equal(vmbi_restic_index_pack_blobs(x, 0, &l, NULL), VMB_OK);
    assert_int_equal(l.n, 4);
    assert_memory_equal(l.v, v, sizeof(v)); /* add has sorted v */
    assert_int_equal(vmbi_restic_index_blobs(x), 4);
    vmbi_pack_blobs_free(&l);
    vmbi_restic_index_free(x);
}

static void index_same_pack_again_is_told(void **state)
{
    vmbi_restic_index *x = NULL;
    vmbi_pack_blob v[2] = {{id_of(1), 0, 40, 0, VMBI_BLOB_DATA}, {id_of(2), 40, 50, 9, VMBI_BLOB_DATA}};
    uint64_t cursor = 0;
    uint32_t pack = 0, n = 0;
    vmbi_pack_blob b;
    const vmbi_repo_id id = id_of(1);

    (void)state;
    assert_int_equal(vmbi_restic_index_new(&x, NULL), VMB_OK);
    assert_int_equal(add(x, 100, v, 2), VMBI_INDEX_NEW);
    assert_int_equal(add(x, 100, v, 2), VMBI_INDEX_SAME);
    v[1].size = 10;
    assert_int_equal(add(x, 100, v, 2), VMBI_INDEX_DIFFERS);
    assert_int_equal(add(x, 100, v, 1), VMBI_INDEX_DIFFERS);
    assert_int_equal(add(x, 101, v, 1), VMBI_INDEX_NEW); /* a copy elsewhere */
    assert_int_equal(vmbi_restic_index_blobs(x), 3);
    while (vmbi_restic_index_find(x, VMBI_BLOB_DATA, &id, &cursor, &pack, &b)) {
        n++;
    }
    assert_int_equal(n, 2);
    vmbi_restic_index_free(x);
}

static void index_impossible_packs_are_refused(void **state)
{
    vmbi_restic_index *x = NULL;
    vmbi_pack_blob overlap[2] = {{id_of(1), 0, 40, 0, VMBI_BLOB_DATA}, {id_of(2), 39, 40, 0, VMBI_BLOB_DATA}};
    vmbi_pack_blob tiny[1] = {{id_of(1), 0, 31, 0, VMBI_BLOB_DATA}};
    vmbi_pack_blob beyond[1] = {{id_of(1), UINT32_MAX - 10, 40, 0, VMBI_BLOB_DATA}};
    const vmbi_repo_id id = id_of(9);
    vmbi_index_added how;

    (void)state;
    assert_int_equal(vmbi_restic_index_new(&x, NULL), VMB_OK);
    assert_int_equal(vmbi_restic_index_add(x, &id, overlap, 2, &how, NULL), VMB_E_INVALID);
    assert_int_equal(vmbi_restic_index_add(x, &id, tiny, 1, &how, NULL), VMB_E_INVALID);
    assert_int_equal(vmbi_restic_index_add(x, &id, beyond, 1, &how, NULL), VMB_E_INVALID);
    assert_int_equal(vmbi_restic_index_blobs(x), 0);
    vmbi_restic_index_free(x);
}

/* ---- index files ---- */

typedef struct seen {
    size_t packs, blobs, supersedes;
    vmbi_pack_blob last;
} seen;

static vmb_code see_pack(void *user, const vmbi_repo_id *pack, vmbi_pack_blob *v, size_t n,
                         vmb_error **err)
{
    seen *s = user;

    (void)pack;
    (void)err;
    s->packs++;
    s->blobs += n;
    if (n > 0) {
        s->last = v[n - 1];
    }
    return VMB_OK;
}

static vmb_code see_superseded(void *user, const vmbi_repo_id *index, vmb_error **err)
{
    (void)index;
    (void)err;
    ((seen *)user)->supersedes++;
    return VMB_OK;
}

#define ID1 "fbbd69198637d5360353c39796181175de6311c2a61abe2fe6392c938018660f"
#define ID2 "b3effa6a5c9aa16496d1d64dbe186f804cbd057ac7d9f8ea486dd153e844a768"
#define ID3 "f3e8b7f18a03f13dc9a77a510e40eef1058d07790d92fbe48073dcb37b1d19dc"
static const char index_text[] =
    "{\"packs\":[{\"id\":\"" ID3 "\",\"blobs\":[{\"id\":\"" ID1
    "\",\"type\":\"data\",\"offset\":0,\"length\":45},{\"id\":\"" ID2
    "\",\"type\":\"tree\",\"offset\":45,\"length\":72,\"uncompressed_length\":31}]}]}\n";

static void index_file_known_one_is_read_and_written(void **state)
{
    vmbi_buf out = VMBI_BUF_INIT(4096);
    seen s = {0};
    vmbi_pack_blob v[2] = {{{{0}}, 0, 45, 0, VMBI_BLOB_DATA}, {{{0}}, 45, 72, 31, VMBI_BLOB_TREE}};
    vmbi_repo_id pack;

    (void)state;
    assert_int_equal(vmbi_indexfile_parse(index_text, strlen(index_text), see_pack, see_superseded,
                                          &s, NULL), VMB_OK);
    assert_int_equal(s.packs, 1);
    assert_int_equal(s.blobs, 2);
    assert_int_equal(s.last.size, 31);
    assert_int_equal(s.last.type, VMBI_BLOB_TREE);
    assert_true(vmbi_repo_id_parse(ID1, 64, &v[0].id));
    assert_true(vmbi_repo_id_parse(ID2, 64, &v[1].id));
    assert_true(vmbi_repo_id_parse(ID3, 64, &pack));
    vmbi_indexfile_begin(&out);
    vmbi_indexfile_pack(&out, true, &pack, v, 2);
    vmbi_indexfile_end(&out);
    assert_string_equal(out.data, index_text);
    vmbi_buf_free(&out);
}

static vmb_code parse_index(const char *text)
{
    seen s = {0};

    return vmbi_indexfile_parse(text, strlen(text), see_pack, see_superseded, &s, NULL);
}

static void index_file_odd_ones_are_judged(void **state)
{
    seen s = {0};
    static const char with_more[] = "{\"supersedes\":[\"" ID1 "\",\"" ID2 "\"],\"packs\":[],\"x\":{}}";

    (void)state;
    assert_int_equal(vmbi_indexfile_parse(with_more, strlen(with_more), see_pack, see_superseded, &s,
                                          NULL), VMB_OK);
    assert_int_equal(s.supersedes, 2);
    assert_int_equal(parse_index("{\"packs\":null}"), VMB_OK);
    assert_int_equal(parse_index("{}"), VMB_E_PARSE);
    assert_int_equal(parse_index(""), VMB_E_PARSE);
    assert_int_equal(parse_index("[]"), VMB_E_PARSE);
    assert_int_equal(parse_index("{\"packs\":[{\"id\":\"" ID3 "\"}]}"), VMB_E_INVALID);
    assert_int_equal(parse_index("{\"packs\":[{\"blobs\":[]}]}"), VMB_E_INVALID);
    assert_int_equal(parse_index("{\"packs\":[{\"id\":\"" ID3 "\",\"blobs\":[{}]}]}"), VMB_E_INVALID);
    assert_int_equal(parse_index("{\"packs\":[{\"id\":\"" ID3 "\",\"blobs\":[{\"id\":\"" ID1
                                 "\",\"type\":\"data\",\"offset\":-1,\"length\":45}]}]}"),
                     VMB_E_INVALID);
    assert_int_equal(parse_index("{\"packs\":[{\"id\":\"" ID3 "\",\"blobs\":[{\"id\":\"" ID1
                                 "\",\"type\":\"data\",\"offset\":0,\"length\":4294967296}]}]}"),
                     VMB_E_INVALID);
    assert_int_equal(parse_index("{\"packs\":[{\"id\":\"" ID3 "\",\"blobs\":[{\"id\":\"" ID1
                                 "\",\"type\":\"what\",\"offset\":0,\"length\":45}]}]}"),
                     VMB_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seal_known_messages_match),
        cmocka_unit_test(open_sealed_gives_the_plaintext_back),
        cmocka_unit_test(open_any_flipped_bit_is_denied),
        cmocka_unit_test(open_zero_nonce_is_refused),
        cmocka_unit_test(keys_all_zero_are_refused),
        cmocka_unit_test(key_of_restic_opens),
        cmocka_unit_test(key_with_raw_r_opens_and_prints_the_same),
        cmocka_unit_test(key_wrong_password_is_denied),
        cmocka_unit_test(key_sealed_here_opens),
        cmocka_unit_test(key_bad_fields_are_refused),
        cmocka_unit_test(config_known_file_opens),
        cmocka_unit_test(config_bad_fields_are_refused),
        cmocka_unit_test(polynomials_known_ones_are_judged),
        cmocka_unit_test(pack_header_known_one_is_read_and_written),
        cmocka_unit_test(pack_header_bad_ones_are_refused),
        cmocka_unit_test(index_many_blobs_are_found_in_bounded_memory),
        cmocka_unit_test(index_packs_of_thousands_keep_their_places),
        cmocka_unit_test(index_large_blobs_and_gaps_keep_their_places),
        cmocka_unit_test(index_same_pack_again_is_told),
        cmocka_unit_test(index_impossible_packs_are_refused),
        cmocka_unit_test(index_file_known_one_is_read_and_written),
        cmocka_unit_test(index_file_odd_ones_are_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
