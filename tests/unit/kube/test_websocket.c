/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames and handshakes, of good and of hostile servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/error.h"
#include "kube/websocket.h"

/* What the data function saw: each message begins with '<'. */
typedef struct heard {
    vmbi_buf text;
    size_t fail_at;
    size_t calls;
} heard;

static vmb_code on_data(void *user, bool first, const uint8_t *data, size_t len, vmb_error **err)
{
    heard *h = user;
    if (++h->calls == h->fail_at) {
        return vmbi_fail(err, VMB_E_FULL, "full");
    }
    if (first) {
        vmbi_buf_addc(&h->text, '<');
    }
    vmbi_buf_add(&h->text, data, len);
    return VMB_OK;
}

typedef struct fixture {
    heard h;
    vmbi_ws *ws;
    vmb_error *err;
} fixture;

static void open_ws(fixture *f)
{
    *f = (fixture){.h = {.text = VMBI_BUF_INIT(1 << 20)}};
    vmbi_buf_adds(&f->h.text, "");
    assert_int_equal(vmbi_ws_new(on_data, &f->h, &f->ws, NULL), VMB_OK);
}

static void close_ws(fixture *f)
{
    vmbi_ws_free(f->ws);
    vmb_error_free(f->err);
    vmbi_buf_free(&f->h.text);
}

#define FEED(f, bytes) vmbi_ws_feed((f)->ws, bytes, sizeof(bytes) - 1, &(f)->err)

static void frame_binary_is_delivered(void **state)
{
    fixture f;
    (void)state;
    open_ws(&f);
    assert_int_equal(FEED(&f, "\x82\x03\x01hi\x82\x01\x03"), VMB_OK);
    assert_string_equal(f.h.text.data, "<\x01hi<\x03");
    assert_int_equal(vmbi_ws_pending(f.ws)->len, 0);
    assert_false(vmbi_ws_is_closed(f.ws));
    close_ws(&f);
}

static void frame_fed_byte_by_byte_is_delivered(void **state)
{
    static const char bytes[] = "\x82\x04\x01"
                                "abc\x02\x02\x02x\x80\x01y\x89\x00\x82\x00";
    fixture f;
    (void)state;
    open_ws(&f);
    for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
        assert_int_equal(vmbi_ws_feed(f.ws, bytes + i, 1, NULL), VMB_OK);
    }
    assert_string_equal(f.h.text.data, "<\x01"
                                       "abc<\x02xy");
    close_ws(&f);
}

static void frame_fragments_with_ping_between_are_one_message(void **state)
{
    fixture f;
    (void)state;
    open_ws(&f);
    assert_int_equal(FEED(&f, "\x02\x02\x01"
                              "a\x89\x02pi\x00\x01"
                              "b\x80\x01"
                              "c\x82\x02\x02z"),
                     VMB_OK);
    assert_string_equal(f.h.text.data, "<\x01"
                                       "abc<\x02z");
    /* the pong: final, masked, same payload */
    const vmbi_buf *pong = vmbi_ws_pending(f.ws);
    assert_int_equal(pong->len, 2 + 4 + 2);
    assert_int_equal((uint8_t)pong->data[0], 0x8a);
    assert_int_equal((uint8_t)pong->data[1], 0x82);
    assert_int_equal(pong->data[6] ^ pong->data[2], 'p');
    assert_int_equal(pong->data[7] ^ pong->data[3], 'i');
    close_ws(&f);
}

static void frame_long_lengths_are_streamed(void **state)
{
    static char payload[70000];
    fixture f;
    (void)state;
    open_ws(&f);
    memset(payload, 'x', sizeof(payload));
    assert_int_equal(FEED(&f, "\x82\x7e\x01\x00"), VMB_OK); /* 256 bytes */
    assert_int_equal(vmbi_ws_feed(f.ws, payload, 256, NULL), VMB_OK);
    assert_int_equal(FEED(&f, "\x82\x7f\0\0\0\0\0\x01\x11\x70"), VMB_OK); /* 70000 bytes */
    assert_int_equal(vmbi_ws_feed(f.ws, payload, sizeof(payload), NULL), VMB_OK);
    assert_int_equal(f.h.text.len, 1 + 256 + 1 + 70000);
    close_ws(&f);
}

static void close_is_answered(void **state)
{
    fixture f;
    (void)state;
    open_ws(&f);
    assert_int_equal(FEED(&f, "\x82\x01\x01\x88\x05\x03\xf3"
                              "bye"),
                     VMB_OK);
    assert_true(vmbi_ws_is_closed(f.ws));
    assert_int_equal(vmbi_ws_close_code(f.ws), 1011);
    assert_string_equal(vmbi_ws_close_reason(f.ws), "bye");
    assert_true(vmbi_ws_pending(f.ws)->len >= 8);
    assert_int_equal((uint8_t)vmbi_ws_pending(f.ws)->data[0], 0x88);
    /* what comes after it is not looked at */
    assert_int_equal(FEED(&f, "\x82\x02\x01z"), VMB_OK);
    assert_string_equal(f.h.text.data, "<\x01");
    close_ws(&f);
}

static void close_without_code_is_closed(void **state)
{
    fixture f;
    (void)state;
    open_ws(&f);
    assert_int_equal(FEED(&f, "\x88\x00"), VMB_OK);
    assert_true(vmbi_ws_is_closed(f.ws));
    assert_int_equal(vmbi_ws_close_code(f.ws), 0);
    assert_string_equal(vmbi_ws_close_reason(f.ws), "");
    close_ws(&f);
}

static void hostile_frames_break_the_protocol(void **state)
{
    static const struct {
        const char *what, *bytes;
        size_t len;
    } table[] = {
#define ROW(what, bytes) {what, bytes, sizeof(bytes) - 1}
        ROW("masked by the server", "\x82\x82\x01\x02\x03\x04zz"),
        ROW("reserved bit 1", "\xc2\x01\x01"),
        ROW("reserved bit 3", "\x92\x01\x01"),
        ROW("reserved opcode", "\x83\x01\x01"),
        ROW("reserved control opcode", "\x8b\x00"),
        ROW("text", "\x81\x01x"),
        ROW("fragmented ping", "\x09\x00"),
        ROW("long ping", "\x89\x7e\x00\x80"),
        ROW("continuation of nothing", "\x80\x01x"),
        ROW("new message inside a message", "\x02\x01\x01\x82\x01\x01"),
        ROW("length with the top bit", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
        ROW("message of exabytes", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff\x01"),
#undef ROW
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        fixture f;
        open_ws(&f);
        if (vmbi_ws_feed(f.ws, table[i].bytes, table[i].len, &f.err) != VMB_E_PROTOCOL) {
            fail_msg("%s was taken", table[i].what);
        }
        assert_int_equal(vmb_error_code(f.err), VMB_E_PROTOCOL);
        close_ws(&f);
    }
}

/* Whatever a close frame holds, the conversation is over and nothing is read behind its end. */
static void close_malformed_still_ends(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } table[] = {
        {"\x88\x01\x03", 3},                 /* half a code */
        {"\x88\x02\x03\xed", 4},             /* 1005, which may not be sent */
        {"\x88\x04\x03\xe8\xff\xfe", 6},     /* a reason that is no UTF-8 */
        {"\x88\x04\x03\xe8\x07\x7f", 6},     /* control bytes */
    };
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        fixture f;
        open_ws(&f);
        vmb_code rc = vmbi_ws_feed(f.ws, table[i].bytes, table[i].len, &f.err);
        assert_true(rc == VMB_E_PROTOCOL || (rc == VMB_OK && vmbi_ws_is_closed(f.ws)));
        for (const char *p = vmbi_ws_close_reason(f.ws); *p != '\0'; p++) {
            assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
        }
        close_ws(&f);
    }
}

static void hostile_ping_flood_is_bounded(void **state)
{
    static char pings[4096];
    fixture f;
    vmb_code rc = VMB_OK;
    (void)state;
    open_ws(&f);
    for (size_t i = 0; i < sizeof(pings); i += 2) {
        memcpy(pings + i, "\x89\x00", 2);
    }
    for (int i = 0; i < 2000 && rc == VMB_OK; i++) { /* nobody sends what is pending */
        rc = vmbi_ws_feed(f.ws, pings, sizeof(pings), &f.err);
    }
    assert_int_equal(rc, VMB_E_LIMIT);
    assert_true(vmbi_ws_pending(f.ws)->len <= 4 << 20);
    close_ws(&f);
}

static void hostile_random_bytes_never_crash(void **state)
{
    uint32_t x = 12345;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[64];
        fixture f;
        open_ws(&f);
        for (size_t i = 0; i < sizeof(bytes); i++) {
            x = x * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(x >> 24);
        }
        bytes[0] = (uint8_t)(round & 1 ? 0x82 : bytes[0]);
        vmb_code rc = vmbi_ws_feed(f.ws, bytes, sizeof(bytes), &f.err);
        assert_true(rc == VMB_OK || rc == VMB_E_PROTOCOL);
        close_ws(&f);
    }
}

static void receiver_failure_ends_with_its_code(void **state)
{
    fixture f;
    (void)state;
    open_ws(&f);
    f.h.fail_at = 2;
    assert_int_equal(FEED(&f, "\x82\x01\x01\x82\x01\x01\x82\x01\x01"), VMB_E_FULL);
    assert_string_equal(vmb_error_message(f.err), "full");
    assert_int_equal(f.h.calls, 2);
    close_ws(&f);
}

static void ping_and_close_are_masked_frames(void **state)
{
    fixture f;
    (void)state;
    open_ws(&f);
    assert_int_equal(vmbi_ws_ping(f.ws, NULL), VMB_OK);
    assert_int_equal(vmbi_ws_pending(f.ws)->len, 6);
    assert_memory_equal(vmbi_ws_pending(f.ws)->data, "\x89\x80", 2);
    vmbi_buf_reset(vmbi_ws_pending(f.ws));
    assert_int_equal(vmbi_ws_close(f.ws, NULL), VMB_OK);
    assert_int_equal(vmbi_ws_pending(f.ws)->len, 8);
    assert_memory_equal(vmbi_ws_pending(f.ws)->data, "\x88\x82", 2);
    close_ws(&f);
}

/* ---- handshake ------------------------------------------------------------------------------- */

/* The example of RFC 6455, section 1.3. */
static const char sample_key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char sample_head[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                  "upgrade: WebSocket\r\n"
                                  "Connection: keep-alive, Upgrade\r\n"
                                  "Sec-WebSocket-Accept:s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n"
                                  "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";
static const char *const offered[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};

static vmb_code check_head(const char *text, vmb_error **err)
{
    vmbi_ws_head head;
    assert_int_equal(vmbi_ws_head_parse(text, strlen(text), &head), 1);
    return vmbi_ws_head_check(&head, sample_key, offered, 2, err);
}

static void head_good_is_taken(void **state)
{
    vmbi_ws_head head;
    (void)state;
    assert_int_equal(vmbi_ws_head_parse(sample_head, sizeof(sample_head) - 1, &head), 1);
    assert_int_equal(head.status, 101);
    assert_int_equal(head.head_len, sizeof(sample_head) - 1);
    assert_int_equal(check_head(sample_head, NULL), VMB_OK);
}

static void head_cut_anywhere_wants_more(void **state)
{
    vmbi_ws_head head;
    (void)state;
    for (size_t n = 0; n < sizeof(sample_head) - 1; n++) {
        assert_int_equal(vmbi_ws_head_parse(sample_head, n, &head), 0);
    }
}

static void head_nonsense_is_refused(void **state)
{
    static const char *const table[] = {
        "SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\n\r\n",     "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1x200 OK\r\n\r\n",
    };
    vmbi_ws_head head;
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        assert_int_equal(vmbi_ws_head_parse(table[i], strlen(table[i]), &head), -1);
    }
}

static void head_bad_parts_are_refused(void **state)
{
#define START "HTTP/1.1 101 x\r\n"
#define UP "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define PROTO "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
    static const char *const table[] = {
        START "\r\n",
        START ACCEPT PROTO "\r\n",
        START "Upgrade: SPDY/3.1\r\nConnection: Upgrade\r\n" ACCEPT PROTO "\r\n",
        START "Upgrade: websocket\r\nConnection: close\r\n" ACCEPT PROTO "\r\n",
        START "Upgrade: websocket\r\nConnection: upgraded\r\n" ACCEPT PROTO "\r\n",
        START UP PROTO "\r\n",
        START UP "Sec-WebSocket-Accept: AAAALMBiTxaQ9kYGzzhZRbK+xOo=\r\n" PROTO "\r\n",
        START UP ACCEPT "\r\n",
        START UP ACCEPT "Sec-WebSocket-Protocol: channel.k8s.io\r\n\r\n",
        START UP ACCEPT "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n\r\n",
    };
    (void)state;
    assert_int_equal(check_head(START UP ACCEPT PROTO "\r\n", NULL), VMB_OK);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(table); i++) {
        assert_int_equal(check_head(table[i], NULL), VMB_E_PROTOCOL);
    }
}

static void head_find_trims_and_bounds(void **state)
{
    static const char text[] = "HTTP/1.1 403 Forbidden\r\nA:  b c \r\nLong: 0123456789\r\nE:\r\n\r\n";
    vmbi_ws_head head;
    char value[8];
    (void)state;
    assert_int_equal(vmbi_ws_head_parse(text, sizeof(text) - 1, &head), 1);
    assert_true(vmbi_ws_head_find(&head, "a", value, sizeof(value)));
    assert_string_equal(value, "b c");
    assert_true(vmbi_ws_head_find(&head, "E", value, sizeof(value)));
    assert_string_equal(value, "");
    assert_false(vmbi_ws_head_find(&head, "Long", value, sizeof(value)));
    assert_false(vmbi_ws_head_find(&head, "Lon", value, sizeof(value)));
    assert_false(vmbi_ws_head_find(&head, "None", value, sizeof(value)));
}

/* A header's name ends where ours does, whatever a server puts behind it. */
static void head_find_stops_at_the_end_of_the_name(void **state)
{
    static const char text[] = "HTTP/1.1 101 S\r\nE\0\0: v\r\n\r\n";
    static const char name[] = "E\0\0\0";
    vmbi_ws_head head;
    char value[8];
    (void)state;
    assert_int_equal(vmbi_ws_head_parse(text, sizeof(text) - 1, &head), 1);
    assert_false(vmbi_ws_head_find(&head, name, value, sizeof(value)));
}

static void key_is_random_and_well_formed(void **state)
{
    char a[VMBI_WS_KEY_SIZE];
    char b[VMBI_WS_KEY_SIZE];
    (void)state;
    vmbi_ws_new_key(a);
    vmbi_ws_new_key(b);
    assert_int_equal(strlen(a), 24);
    assert_string_equal(a + 22, "==");
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_binary_is_delivered),
        cmocka_unit_test(frame_fed_byte_by_byte_is_delivered),
        cmocka_unit_test(frame_fragments_with_ping_between_are_one_message),
        cmocka_unit_test(frame_long_lengths_are_streamed),
        cmocka_unit_test(close_is_answered),
        cmocka_unit_test(close_without_code_is_closed),
        cmocka_unit_test(hostile_frames_break_the_protocol),
        cmocka_unit_test(close_malformed_still_ends),
        cmocka_unit_test(hostile_ping_flood_is_bounded),
        cmocka_unit_test(hostile_random_bytes_never_crash),
        cmocka_unit_test(receiver_failure_ends_with_its_code),
        cmocka_unit_test(ping_and_close_are_masked_frames),
        cmocka_unit_test(head_good_is_taken),
        cmocka_unit_test(head_cut_anywhere_wants_more),
        cmocka_unit_test(head_nonsense_is_refused),
        cmocka_unit_test(head_bad_parts_are_refused),
        cmocka_unit_test(head_find_trims_and_bounds),
        cmocka_unit_test(head_find_stops_at_the_end_of_the_name),
        cmocka_unit_test(key_is_random_and_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
