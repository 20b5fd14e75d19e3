/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/yaml_events.h"

#include <string.h>

#include <yaml.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "codec/yaml_scalar.h"

/* What strings and keys may grow to, beyond their own text, by the expansion of aliases. */
enum { MAX_EXPANDED_BYTES = 4 * VMBI_DOC_MAX_BYTES };

typedef struct cost {
    size_t nodes, bytes;
} cost;

typedef struct anchor {
    uint64_t id;      /* names may be given again: this tells the anchors apart */
    vmbi_json *value; /* NULL while its node is being read */
    uint32_t first_child;
    cost size;
} anchor;

struct vmbi_yaml_reader {
    yaml_parser_t parser;
    const char *text;
    size_t len;
    const char *what;
    vmbi_doc_hint hint;
    vmbi_map anchors; /* of the current document */
    uint64_t last_id;
    vmbi_positions *places;
    cost total;
    size_t max_nodes;
};

/* One node: its value and its place. The place's key is set by the parent. */
typedef struct node {
    vmbi_json *value;
    uint32_t place;
} node;

static vmb_code read_node(vmbi_yaml_reader *r, yaml_event_t *e, const char *key,
                          const yaml_mark_t *key_mark, unsigned depth, node *out, vmb_error **err);

static void free_anchor(void *p)
{
    anchor *a = p;

    vmbi_json_free(a->value);
    vmbi_free(a);
}

vmb_code vmbi_yaml_reader_new(const char *text, size_t len, const char *what, vmbi_doc_hint hint,
                              size_t max_nodes, vmbi_yaml_reader **out, vmb_error **err)
{
    vmbi_yaml_reader *r = vmbi_zalloc(sizeof(*r));

    if (r == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (!yaml_parser_initialize(&r->parser)) {
        vmbi_free(r);
        return vmbi_fail_nomem(err);
    }
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    r->text = text;
    r->len = len;
    r->what = what;
    r->hint = hint;
    r->max_nodes = max_nodes;
    r->anchors = (vmbi_map)VMBI_MAP_INIT(free_anchor);
    *out = r;
    return VMB_OK;
}

void vmbi_yaml_reader_free(vmbi_yaml_reader *r)
{
    if (r != NULL) {
        yaml_parser_delete(&r->parser);
        vmbi_map_free(&r->anchors);
        vmbi_positions_free(r->places);
        vmbi_free(r);
    }
}

/* Errors. */

static int line_of(const yaml_mark_t *m)
{
    return (int)m->line + 1; /* the text is far below 2^31 bytes */
}

static int column_of(const yaml_mark_t *m)
{
    return (int)m->column + 1;
}

static vmb_code fail_at(const vmbi_yaml_reader *r, const yaml_mark_t *m, vmb_code code,
                        const char *why, vmb_error **err)
{
    return vmbi_fail(err, code, "%s: line %d column %d: %s", r->what, line_of(m), column_of(m),
                     why);
}

static vmb_code fail_syntax(const vmbi_yaml_reader *r, vmb_error **err)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem == NULL ? "malformed document" : p->problem;
    const char *remedy = NULL;
    int line = line_of(&p->problem_mark);
    int column = column_of(&p->problem_mark);

    if (p->error == YAML_MEMORY_ERROR) {
        return vmbi_fail_nomem(err);
    }
    if (p->error == YAML_READER_ERROR) { /* these come with an offset only */
        vmbi_cursor c = {r->text, 1, 1};
        size_t at = p->problem_offset < r->len ? p->problem_offset : r->len;

        vmbi_cursor_move(&c, r->text + at);
        line = c.line;
        column = c.column;
    }
    if (r->hint != NULL) {
        remedy = r->hint(r->text, r->len, line, column, problem);
    }
    return vmbi_fail(err, VMB_E_PARSE, "%s: line %d column %d: %s%s%s%s%s", r->what, line, column,
                     problem, p->context == NULL ? "" : " ", p->context == NULL ? "" : p->context,
                     remedy == NULL ? "" : "; ", remedy == NULL ? "" : remedy);
}

static vmb_code next_event(vmbi_yaml_reader *r, yaml_event_t *e, vmb_error **err)
{
    return yaml_parser_parse(&r->parser, e) ? VMB_OK : fail_syntax(r, err);
}

/* Counts what the tree is about to hold. */
static vmb_code charge(vmbi_yaml_reader *r, const yaml_mark_t *m, cost more, vmb_error **err)
{
    r->total.nodes += more.nodes; /* each step is bounded by the limits: no overflow */
    r->total.bytes += more.bytes;
    if (r->total.nodes > r->max_nodes || r->total.bytes > r->len + MAX_EXPANDED_BYTES) {
        return fail_at(r, m, VMB_E_LIMIT, "the document is too large once its aliases are expanded",
                       err);
    }
    return VMB_OK;
}

static vmb_code read_scalar(vmbi_yaml_reader *r, const yaml_event_t *e, vmbi_json **out,
                            vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code code =
        vmbi_yaml_scalar((const char *)e->data.scalar.tag, e->data.scalar.plain_implicit,
                         (const char *)e->data.scalar.value, e->data.scalar.length, out, &why);

    if (code == VMB_E_INVALID) {
        code = fail_at(r, &e->start_mark, code, vmb_error_message(why), err);
    } else if (code != VMB_OK) {
        vmbi_error_move(err, &why);
    }
    vmb_error_free(why);
    return code;
}

/* Anchors. */

/* Registers the anchor before its node is read, so that an alias inside is noticed. *id is 0
 * without an anchor. */
static vmb_code open_anchor(vmbi_yaml_reader *r, const yaml_char_t *name, uint64_t *id,
                            vmb_error **err)
{
    anchor *a;
    vmb_code code;

    *id = 0;
    if (name == NULL) {
        return VMB_OK;
    }
    a = vmbi_zalloc(sizeof(*a));
    if (a == NULL) {
        return vmbi_fail_nomem(err);
    }
    code = vmbi_map_set(&r->anchors, (const char *)name, a, err);
    if (code != VMB_OK) {
        vmbi_free(a);
        return code;
    }
    a->id = ++r->last_id;
    *id = a->id;
    return VMB_OK;
}

static void close_anchor(vmbi_yaml_reader *r, const yaml_char_t *name, uint64_t id, cost before,
                         const node *n)
{
    anchor *a = id == 0 ? NULL : vmbi_map_get(&r->anchors, (const char *)name);

    /* the same name may have been given again inside, which replaced ours */
    if (a == NULL || a->id != id) {
        return;
    }
    a->value = vmbi_json_ref(n->value);
    a->first_child = r->places->nodes[n->place].first_child;
    a->size = (cost){r->total.nodes - before.nodes, r->total.bytes - before.bytes};
}

static vmb_code read_alias(vmbi_yaml_reader *r, const yaml_event_t *e, node *n, vmb_error **err)
{
    const anchor *a = vmbi_map_get(&r->anchors, (const char *)e->data.alias.anchor);
    vmb_code code;

    if (a == NULL || a->value == NULL) {
        return fail_at(r, &e->start_mark, VMB_E_INVALID,
                       a == NULL ? "alias of an unknown anchor" : "anchor contains itself", err);
    }
    code = charge(r, &e->start_mark, a->size, err);
    if (code != VMB_OK) {
        return code;
    }
    n->value = vmbi_json_copy(a->value);
    if (n->value == NULL) {
        return vmbi_fail_nomem(err);
    }
    r->places->nodes[n->place].first_child = a->first_child;
    return VMB_OK;
}

/* Collections. */

static vmb_code read_sequence(vmbi_yaml_reader *r, unsigned depth, node *n, vmb_error **err)
{
    uint32_t last = 0;
    vmb_code code = VMB_OK;

    n->value = vmbi_json_array();
    if (n->value == NULL) {
        return vmbi_fail_nomem(err);
    }
    while (code == VMB_OK) {
        yaml_event_t e;
        node item = {NULL, 0};

        code = next_event(r, &e, err);
        if (code != VMB_OK) {
            break;
        }
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            break;
        }
        code = read_node(r, &e, NULL, NULL, depth, &item, err);
        yaml_event_delete(&e);
        if (code == VMB_OK) {
            vmbi_positions_link(r->places, n->place, &last, item.place);
            if (!vmbi_json_append(n->value, item.value)) {
                code = vmbi_fail_nomem(err);
            }
        }
    }
    return code;
}

/* A key as text: JSON has no other keys. */
static vmb_code key_text(vmbi_yaml_reader *r, const yaml_event_t *e, const vmbi_json *v, char **out,
                         vmb_error **err)
{
    size_t len;

    if (vmbi_json_is_string(v)) {
        *out = vmbi_strndup(vmbi_json_str(v), vmbi_json_str_len(v));
        return *out == NULL ? vmbi_fail_nomem(err) : VMB_OK;
    }
    if (vmbi_json_is_int(v) || vmbi_json_is_bool(v) || vmbi_json_is_real(v)) {
        return vmbi_json_to_text(v, out, &len, err);
    }
    return fail_at(r, &e->start_mark, VMB_E_INVALID, "a key must be a string", err);
}

/* Reads the key that e begins. *merge: it is "<<". */
static vmb_code read_key(vmbi_yaml_reader *r, const yaml_event_t *e, char **key, bool *merge,
                         vmb_error **err)
{
    vmbi_json *v = NULL;
    uint64_t id = 0;
    cost before = r->total;
    node n = {NULL, 0};
    vmb_code code;

    *merge = false;
    if (e->type == YAML_ALIAS_EVENT || e->type == YAML_SCALAR_EVENT) {
        code = vmbi_positions_add(r->places, NULL, line_of(&e->start_mark),
                                  column_of(&e->start_mark), &n.place, err);
    } else {
        code = fail_at(r, &e->start_mark, VMB_E_INVALID, "a key must be a string", err);
    }
    if (code == VMB_OK && e->type == YAML_ALIAS_EVENT) {
        code = read_alias(r, e, &n, err);
    } else if (code == VMB_OK) {
        *merge = e->data.scalar.plain_implicit && e->data.scalar.length == 2 &&
                 memcmp(e->data.scalar.value, "<<", 2) == 0;
        code = charge(r, &e->start_mark, (cost){1, e->data.scalar.length}, err);
        if (code == VMB_OK) {
            code = open_anchor(r, e->data.scalar.anchor, &id, err);
        }
        if (code == VMB_OK) {
            code = read_scalar(r, e, &n.value, err);
        }
        if (code == VMB_OK) {
            close_anchor(r, e->data.scalar.anchor, id, before, &n);
        }
    }
    v = n.value;
    if (code == VMB_OK) {
        code = key_text(r, e, v, key, err);
    }
    vmbi_json_free(v);
    return code;
}

/* A mapping while it is read. */
typedef struct mapping {
    node *n;
    uint32_t last; /* child that was linked last */
    node merged;   /* value of "<<": applied at the end, where it yields to all keys */
    yaml_mark_t merge_mark;
    bool has_merge;
} mapping;

static vmb_code fail_duplicate(vmbi_yaml_reader *r, const mapping *m, const yaml_event_t *e,
                               const char *key, vmb_error **err)
{
    uint32_t first = vmbi_positions_child(r->places, m->n->place, key, strlen(key));
    int line = first != 0 ? r->places->nodes[first].line : line_of(&m->merge_mark);

    return vmbi_fail(err, VMB_E_INVALID,
                     "%s: line %d column %d: key \"%.100s\" stands twice, first on line %d",
                     r->what, line_of(&e->start_mark), column_of(&e->start_mark), key, line);
}

/* Value behind a key; e is the event of the key. */
static vmb_code read_value(vmbi_yaml_reader *r, const yaml_event_t *key_event, const char *key,
                           bool merge, unsigned depth, mapping *m, vmb_error **err)
{
    yaml_event_t e;
    node value = {NULL, 0};
    vmb_code code;

    if (merge ? m->has_merge : vmbi_json_get(m->n->value, key) != NULL) {
        return fail_duplicate(r, m, key_event, key, err);
    }
    code = next_event(r, &e, err);
    if (code != VMB_OK) {
        return code;
    }
    code = read_node(r, &e, key, &key_event->start_mark, depth, &value, err);
    yaml_event_delete(&e);
    if (code != VMB_OK) {
        return code;
    }
    if (merge) {
        m->has_merge = true;
        m->merged = value;
        m->merge_mark = key_event->start_mark;
        return VMB_OK;
    }
    vmbi_positions_link(r->places, m->n->place, &m->last, value.place);
    return vmbi_json_set(m->n->value, key, value.value) ? VMB_OK : vmbi_fail_nomem(err);
}

/* Adds the members of an object that the mapping lacks. Members and places stand in one order. */
static vmb_code merge_object(vmbi_yaml_reader *r, mapping *m, const vmbi_json *from, uint32_t place,
                             vmb_error **err)
{
    uint32_t child = r->places->nodes[place].first_child;

    for (void *it = vmbi_json_iter(from); it != NULL; it = vmbi_json_iter_next(from, it)) {
        const char *key = vmbi_json_iter_key(it);
        vmbi_position was = r->places->nodes[child];
        uint32_t copy;
        vmb_code code;

        child = was.next;
        if (vmbi_json_get(m->n->value, key) != NULL) {
            continue;
        }
        code = vmbi_positions_add(r->places, key, was.line, was.column, &copy, err);
        if (code != VMB_OK) {
            return code;
        }
        r->places->nodes[copy].first_child = was.first_child;
        vmbi_positions_link(r->places, m->n->place, &m->last, copy);
        if (!vmbi_json_set(m->n->value, key, vmbi_json_ref(vmbi_json_iter_value(it)))) {
            return vmbi_fail_nomem(err);
        }
    }
    return VMB_OK;
}

static vmb_code apply_merge(vmbi_yaml_reader *r, mapping *m, vmb_error **err)
{
    const vmbi_json *v = m->merged.value;
    uint32_t place = m->merged.place;
    vmb_code code = VMB_OK;

    if (vmbi_json_is_object(v)) {
        return merge_object(r, m, v, place, err);
    }
    bool fits = vmbi_json_is_array(v);
    for (size_t i = 0; fits && i < vmbi_json_len(v); i++) {
        fits = vmbi_json_is_object(vmbi_json_at(v, i));
    }
    if (!fits) {
        return fail_at(r, &m->merge_mark, VMB_E_INVALID,
                       "the value of \"<<\" must be a mapping or a list of mappings", err);
    }
    place = r->places->nodes[place].first_child;
    for (size_t i = 0; i < vmbi_json_len(v) && code == VMB_OK; i++) {
        code = merge_object(r, m, vmbi_json_at(v, i), place, err);
        place = r->places->nodes[place].next;
    }
    return code;
}

static vmb_code read_mapping(vmbi_yaml_reader *r, unsigned depth, node *n, vmb_error **err)
{
    mapping m = {.n = n};
    vmb_code code = VMB_OK;

    n->value = vmbi_json_object();
    if (n->value == NULL) {
        return vmbi_fail_nomem(err);
    }
    while (code == VMB_OK) {
        yaml_event_t e;
        char *key = NULL;
        bool merge, end;

        code = next_event(r, &e, err);
        if (code != VMB_OK) {
            break;
        }
        end = e.type == YAML_MAPPING_END_EVENT;
        if (!end) {
            code = read_key(r, &e, &key, &merge, err);
        }
        if (!end && code == VMB_OK) {
            code = read_value(r, &e, key, merge, depth, &m, err);
        }
        vmbi_free(key);
        yaml_event_delete(&e);
        if (end) {
            break;
        }
    }
    if (code == VMB_OK && m.has_merge) {
        code = apply_merge(r, &m, err);
    }
    vmbi_json_free(m.merged.value);
    return code;
}

static vmb_code read_content(vmbi_yaml_reader *r, yaml_event_t *e, unsigned depth, node *n,
                             vmb_error **err)
{
    cost before = r->total;
    uint64_t id = 0;
    const yaml_char_t *name = NULL;
    vmb_code code;

    if (e->type == YAML_ALIAS_EVENT) {
        return read_alias(r, e, n, err);
    }
    code = charge(r, &e->start_mark,
                  (cost){1, e->type == YAML_SCALAR_EVENT ? e->data.scalar.length : 0}, err);
    if (code != VMB_OK) {
        return code;
    }
    name = e->type == YAML_SCALAR_EVENT           ? e->data.scalar.anchor
           : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor
                                                  : e->data.mapping_start.anchor;
    code = open_anchor(r, name, &id, err);
    if (code != VMB_OK) {
        return code;
    }
    if (e->type == YAML_SCALAR_EVENT) {
        code = read_scalar(r, e, &n->value, err);
    } else {
        bool seq = e->type == YAML_SEQUENCE_START_EVENT;
        const yaml_char_t *tag = seq ? e->data.sequence_start.tag : e->data.mapping_start.tag;

        if (!vmbi_yaml_tag_fits_collection((const char *)tag, seq)) {
            code = fail_at(r, &e->start_mark, VMB_E_INVALID, "this tag is not supported", err);
        } else if (depth >= VMBI_DOC_MAX_DEPTH) {
            code = fail_at(r, &e->start_mark, VMB_E_LIMIT, "nested too deeply", err);
        } else {
            code = seq ? read_sequence(r, depth + 1, n, err) : read_mapping(r, depth + 1, n, err);
        }
    }
    if (code == VMB_OK) {
        close_anchor(r, name, id, before, n);
    }
    return code;
}

/* The node that e begins. Its place is that of its own text; a value that begins on a later line
 * than its key is placed at the key, where a reader looks for it. */
static vmb_code read_node(vmbi_yaml_reader *r, yaml_event_t *e, const char *key,
                          const yaml_mark_t *key_mark, unsigned depth, node *out, vmb_error **err)
{
    const yaml_mark_t *m = &e->start_mark;
    node n = {NULL, 0};
    vmb_code code;

    if (key_mark != NULL && key_mark->line != m->line) {
        m = key_mark;
    }
    code = vmbi_positions_add(r->places, key, line_of(m), column_of(m), &n.place, err);
    if (code == VMB_OK) {
        code = read_content(r, e, depth, &n, err);
    }
    if (code != VMB_OK) {
        vmbi_json_free(n.value);
        return code;
    }
    *out = n;
    return VMB_OK;
}

/* Documents. */

/* Reads the root node and the end of the document. */
static vmb_code read_document(vmbi_yaml_reader *r, node *root, int *line, vmb_error **err)
{
    yaml_event_t e;
    vmb_code code = next_event(r, &e, err);

    if (code != VMB_OK) {
        return code;
    }
    *line = line_of(&e.start_mark);
    code = read_node(r, &e, NULL, NULL, 0, root, err);
    yaml_event_delete(&e);
    if (code == VMB_OK) {
        code = next_event(r, &e, err); /* can only be the end of the document */
        if (code == VMB_OK) {
            yaml_event_delete(&e);
        }
    }
    return code;
}

/* Passes stream start; *more tells whether a document begins. */
static vmb_code find_document(vmbi_yaml_reader *r, bool *more, vmb_error **err)
{
    yaml_event_type_t type;

    do {
        yaml_event_t e;
        vmb_code code = next_event(r, &e, err);

        if (code != VMB_OK) {
            return code;
        }
        type = e.type;
        yaml_event_delete(&e);
    } while (type == YAML_STREAM_START_EVENT);
    *more = type == YAML_DOCUMENT_START_EVENT;
    return VMB_OK;
}

vmb_code vmbi_yaml_reader_next(vmbi_yaml_reader *r, vmbi_json **doc, int *line,
                               vmbi_positions **positions, vmb_error **err)
{
    node root = {NULL, 0};
    bool more = false;
    vmb_code code = find_document(r, &more, err);

    if (code != VMB_OK || !more) {
        if (code == VMB_OK) {
            *doc = NULL;
        }
        return code;
    }
    vmbi_map_free(&r->anchors);
    r->anchors = (vmbi_map)VMBI_MAP_INIT(free_anchor);
    r->total = (cost){0, 0};
    vmbi_positions_free(r->places);
    r->places = NULL;
    code = vmbi_positions_new(&r->places, err);
    if (code == VMB_OK) {
        code = read_document(r, &root, line, err);
    }
    if (code != VMB_OK) {
        vmbi_json_free(root.value);
        return code;
    }
    r->places->root = root.place;
    *doc = root.value;
    if (positions != NULL) {
        *positions = vmbi_steal(&r->places);
    }
    return VMB_OK;
}
